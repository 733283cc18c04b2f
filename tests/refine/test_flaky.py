"""Flaky tests: red and green on the same code, so that neither tells anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from oci_lsp.refine.regressions import Regressions
from oci_lsp.refine.runs import Runs
from oci_lsp.refine.task import Baseline, Event
from oci_lsp.settings import RefineSettings, VerifySettings
from oci_lsp.verify.pool import Verifier
from oci_lsp.verify.verdict import Report, Run
from tests.projects import BUGGY, RIGHT, TEST, calc, fenced, task, write
from tests.refine.solving import solve
from tests.scripted_engine import ScriptedEngine

# The state of something outside that the test should not lean on, but does.
READS_STATE = (
    "import pathlib\n\nSTATE = pathlib.Path(__file__).with_name('state.txt')\n\n\n"
    "def is_up():\n    return STATE.read_text() == 'up'\n\n\n"
)


async def test_a_red_that_turns_green_by_itself_is_no_pass(tmp_path):
    root = calc(tmp_path)
    flaky = "from calc import add\n" + READS_STATE
    flaky += "def test_add():\n    add(1, 1)\n    assert is_up()\n"
    write(root, {"test_calc.py": flaky, "state.txt": "down"})

    def observe(event: Event) -> None:
        if isinstance(event, Baseline):
            (root / "state.txt").write_text("up")

    with ScriptedEngine([fenced(RIGHT)]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine, observe)
    assert (result.outcome, result.text) == ("broken_test", None)
    assert result.message.startswith("Flaky: red and then green on the same code")
    assert "test_calc.py::test_add" in result.message
    assert (root / "calc.py").read_text() == BUGGY


async def test_a_red_that_stays_red_beside_a_flaky_one_decides(tmp_path):
    root = calc(tmp_path)
    flaky = TEST + READS_STATE + "\ndef test_flaky():\n    add(1, 1)\n    assert is_up()\n"
    write(root, {"test_calc.py": flaky, "state.txt": "down"})

    def observe(event: Event) -> None:
        if isinstance(event, Baseline):
            (root / "state.txt").write_text("up")

    with ScriptedEngine([fenced(RIGHT)]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine, observe)
    assert result.outcome == "passed", result.message


class ChangingWorld:
    """A verifier in whose world the state is another one with each run."""

    note = ""

    def __init__(self, verifier: Verifier, state: Path, words: list[str]) -> None:
        self._verifier = verifier
        self._state = state
        self._words = words

    async def prepare(self, sources: Iterable[Path] = ()) -> None:
        await self._verifier.prepare(sources)

    async def run(self, run: Run) -> Report:
        self._state.write_text(self._words.pop(0))
        return await self._verifier.run(run)


async def test_another_test_that_is_flaky_is_no_regression_but_is_named(tmp_path):
    root = calc(tmp_path, RIGHT)
    other = "from calc import add\n" + READS_STATE
    other += "def test_other():\n    assert add(1, 1) == 2 and is_up()\n"
    write(root, {"test_other.py": other, "state.txt": ""})
    job = task(root, "calc.py", "add")
    async with Verifier(root, VerifySettings()) as verifier:
        # Red with the candidate, green on today's code, green with the candidate.
        world = ChangingWorld(verifier, root / "state.txt", ["down", "up", "up"])
        regressions = Regressions(job, world, Runs(job, VerifySettings()), RefineSettings())
        assert await regressions.turned_red(RIGHT) is None
        assert regressions.notes == (
            "Flaky, red and green on the same code: test_other.py::test_other.",
        )
        world = ChangingWorld(verifier, root / "state.txt", ["down", "up", "down"])
        regressions = Regressions(job, world, Runs(job, VerifySettings()), RefineSettings())
        turned = await regressions.turned_red(RIGHT)
    assert turned is not None
    assert [test.id for test in turned.tests] == ["test_other.py::test_other"]


async def test_other_tests_that_the_budget_did_not_suffice_for_are_counted(tmp_path):
    root = calc(tmp_path, RIGHT)
    slow = "import time\nfrom calc import add\n\n\n"
    slow += "".join(
        f"def test_{n}():\n    time.sleep({6 if n else 0})\n    assert add(1, 1) == 2\n\n\n"
        for n in range(4)
    )
    write(root, {"test_other.py": slow})
    job = task(root, "calc.py", "add")
    async with Verifier(root, VerifySettings()) as verifier:
        limits = RefineSettings(regression_seconds=8)
        regressions = Regressions(job, verifier, Runs(job, VerifySettings()), limits)
        await asyncio.wait_for(regressions.turned_red(RIGHT), 120)
    (note,) = regressions.notes
    assert "not reached within 8 s" in note
