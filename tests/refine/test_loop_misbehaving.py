"""The loop, real kernels, and candidates and engines that misbehave: nothing changes or stays."""

from __future__ import annotations

import asyncio
import os
import time

import psutil
import pytest

from oci_lsp import history
from oci_lsp.paths import history_dir
from oci_lsp.refine.task import Baseline, Stage, Token
from tests.projects import CALLS_NOTHING, RIGHT, TEST, calc, fenced, task, write
from tests.refine.solving import solve
from tests.scripted_engine import Reply, ScriptedEngine

REWRITES_THE_TEST = """
    import pathlib
    pathlib.Path("test_calc.py").write_text("def test_add(): pass\\n")
    return 5
"""
LOOKS_FOR_THE_KEY = """
    import glob
    for place in ("/tmp", "/run", "/var", "/home"):
        for path in glob.glob(place + "/**/*.json", recursive=True):
            try:
                if "signature_scheme" in open(path).read():
                    return 5
            except OSError:
                pass
    return 0
"""
EATS_MEMORY = """
    held = []
    while True:
        held.append(bytearray(1 << 24))
"""


@pytest.mark.parametrize(
    ("body", "verdicts"),
    [
        ("    while True:\n        pass\n", {"timed_out"}),
        ("    import os\n    os._exit(0)\n", {"crashed"}),
        ("    raise SystemExit(0)\n", {"failed"}),
        ("    import pytest\n    pytest.skip('no')\n", {"failed"}),
        # Which of the two limits is met first depends on the machine.
        (EATS_MEMORY, {"failed", "crashed"}),
        (REWRITES_THE_TEST, {"failed"}),
        (LOOKS_FOR_THE_KEY, {"failed"}),
    ],
    ids=["loops", "_exit", "SystemExit", "skip", "memory", "test file", "connection file"],
)
async def test_a_candidate_that_misbehaves_fails_and_the_next_one_is_tried(
    tmp_path, body, verdicts
):
    root = calc(tmp_path)
    bad = fenced("def add(a, b):\n" + body.lstrip("\n"))
    limits = {"timeout": 8, "memoryMb": 512}
    with ScriptedEngine([bad, fenced(RIGHT)]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine, verify=limits)
    assert len(result.attempts) == 2, result.message
    assert result.attempts[0].verdict in verdicts, result.attempts[0].summary
    assert result.attempts[1].verdict == "passed"
    assert (root / "test_calc.py").read_text() == TEST
    assert {path.name for path in root.iterdir()} == {"calc.py", "test_calc.py", "pyproject.toml"}


async def test_once_a_candidate_used_up_the_time_the_others_of_its_job_get_less(tmp_path):
    root = calc(tmp_path)
    loop = "def add(a, b):\n    while True:\n        a += {}\n"
    replies = [fenced(loop.format(1)), fenced(loop.format(2)), fenced(RIGHT)]
    seen: list[object] = []
    with ScriptedEngine(replies) as engine:
        job = task(root, "calc.py", "add")
        limits = {"refine": {"turns": 3}, "verify": {"timeout": 12}}
        result = await solve(job, engine, seen.append, **limits)
    assert [a.verdict for a in result.attempts] == ["timed_out", "timed_out", "passed"]
    todays = next(event.report.seconds for event in seen if isinstance(event, Baseline))
    assert "within 12 s" in result.attempts[0].summary
    assert f"within {min(12, max(5, 4 * todays)):g} s" in result.attempts[1].summary


async def test_a_slow_test_is_given_its_time_after_a_candidate_that_loops(tmp_path):
    root = calc(tmp_path)
    (root / "test_calc.py").write_text(
        "import time\nfrom calc import add\n\n\ndef test_add():\n    time.sleep(5.5)\n"
        "    assert add(2, 3) == 5\n"
    )
    loops = fenced("def add(a, b):\n    while True:\n        pass\n")
    with ScriptedEngine([loops, fenced(RIGHT)]) as engine:
        job = task(root, "calc.py", "add")
        result = await solve(job, engine, verify={"timeout": 15})
    assert [a.verdict for a in result.attempts] == ["timed_out", "passed"]


async def test_a_candidate_that_rewrites_its_doctest_is_held_to_the_users(tmp_path):
    example = '    """Adds.\n\n    >>> add(2, 3)\n    5\n    """\n'
    root = write(tmp_path, {"calc.py": f"def add(a, b):\n{example}    return a - b\n"})
    cheat = f"def add(a, b):\n{example.replace('5', '6')}    return a * b\n"
    with ScriptedEngine([fenced(cheat), fenced(RIGHT)]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine)
    assert [attempt.verdict for attempt in result.attempts] == ["failed", "passed"]
    assert result.text == f"def add(a, b):\n{example}    return a + b\n"


async def test_a_pass_that_never_called_the_candidate_is_refused(tmp_path):
    root = calc(tmp_path, "def add(a, b):\n    return a +\n")
    (root / "test_calc.py").write_text(CALLS_NOTHING)
    with ScriptedEngine([fenced(RIGHT), fenced("def add(a, b):\n    return b + a\n")]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine)
    assert result.outcome == "failed"
    assert [attempt.verdict for attempt in result.attempts] == ["vacuous", "vacuous"]
    assert result.text is None


async def test_an_engine_that_dies_is_an_error_with_advice_and_nothing_changes(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([Reply((fenced(RIGHT),), dies_after=2)]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine)
    assert result.outcome == "error"
    assert "broke off" in result.message
    assert result.text is None


def _kernels() -> set[int]:
    """Processes below this one: sandboxes, kernels, other tests' engine."""
    return {p.pid for p in psutil.Process(os.getpid()).children(recursive=True)}


@pytest.mark.parametrize("when", ["generating", "testing"])
async def test_a_cancelled_job_stops_the_model_and_the_kernel_within_a_second(tmp_path, when):
    root = calc(tmp_path)
    loops = fenced("def add(a, b):\n    while True:\n        pass\n")
    script = Reply((loops,), delay=0.3 if when == "generating" else 0)
    reached, before = asyncio.Event(), _kernels()

    def observe(event):
        if when == "generating" and isinstance(event, Token):
            reached.set()
        if when == "testing" and isinstance(event, Stage) and event.name == "testing":
            asyncio.get_running_loop().call_later(1.5, reached.set)

    with ScriptedEngine([script]) as engine:
        running = asyncio.create_task(solve(task(root, "calc.py", "add"), engine, observe))
        await asyncio.wait_for(reached.wait(), 60)
        started = time.monotonic()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert time.monotonic() - started < 2
        if when == "generating":
            engine.wait("disconnected")
    assert _kernels() <= before
    saved = [history.load(path) for path in history_dir().glob("*.jsonl")]
    assert [records[0]["outcome"] for records in saved] == ["cancelled"]
