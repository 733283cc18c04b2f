"""A job's transcript: what it holds, that it survives the disk, and its page."""

from __future__ import annotations

import dataclasses
import json

import pytest

from oci_lsp import history
from oci_lsp.errors import HistoryError
from oci_lsp.refine.session import Session
from oci_lsp.refine.task import Diagnostic
from oci_lsp.refine.transcript import Transcript, markdown
from tests.projects import BUGGY, RIGHT, TEST, calc, fenced, settings, task, write
from tests.refine.solving import solve, wrong
from tests.scripted_engine import ScriptedEngine


def last() -> Transcript:
    return Transcript.read(history.load(history.find("last").file))


async def test_it_holds_all_that_was_given_said_and_found(tmp_path):
    root = calc(tmp_path)
    job = task(
        root, "calc.py", "add",
        tests=("assert add(2, 3) == 5",),
        feedback=("no loops",),
        diagnostics=(Diagnostic(1, "returns the difference", "lint"),),
        buffers={root / "test_calc.py": TEST},
        green=("test_calc.py::test_add",),
    )  # fmt: skip
    with ScriptedEngine([wrong(0), fenced(RIGHT, prose="So:")]) as engine:
        result = await solve(job, engine, verify={"timeout": 20.0})
    kept = last()
    assert kept.result == dataclasses.replace(result, text=None, seconds=kept.result.seconds)
    assert [attempt.reply for attempt in kept.result.attempts] == [
        wrong(0), fenced(RIGHT, prose="So:"),
    ]  # fmt: skip
    assert "add(2, 3) returned 6, expected 5" in kept.result.attempts[0].feedback
    assert kept.text == BUGGY
    assert (kept.root, kept.path) == (root, root / "calc.py")
    assert kept.settings["verify.timeout"] == 20.0
    assert kept.settings["engine.model"] == "scripted"
    assert set(kept.versions) == {"oci-lsp", "python"}
    assert kept.unsaved == ("test_calc.py",)
    again = kept.task()
    assert again.target == job.target
    assert (again.tests, again.feedback, again.diagnostics, again.green) == (
        job.tests, job.feedback, job.diagnostics, job.green,
    )  # fmt: skip


async def test_the_first_line_tells_the_job_without_code_or_words(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        await solve(task(root, "calc.py", "add", feedback=("be brief",)), engine)
    entry = history.find("last")
    first = entry.file.read_text().splitlines()[0]
    assert len(first) < 1000
    assert "return" not in first and "brief" not in first
    assert (entry.target, entry.outcome, entry.attempts) == ("calc.py::add", "passed", 1)
    assert (entry.model, entry.kind) == ("scripted", "fix")


async def test_no_address_of_an_engine_is_kept(tmp_path):
    root = calc(tmp_path)
    nobody = settings("http://user:hunter2@127.0.0.1:9/v1")
    async with Session(root, nobody) as session:
        result = await session.run(task(root, "calc.py", "add"), lambda event: None, "a1")
    assert result.outcome == "error"
    said = history.find("a1").file.read_text()
    assert "The engine at engine.url cannot be reached" in said
    assert "hunter2" not in said and "127.0.0.1" not in said


async def test_a_comments_job_is_found_again_in_its_text(tmp_path):
    text = "x = 1\n\n# twice the number\n# >>> double(4)\n# 8\n"
    root = write(tmp_path, {"text.py": text})
    job = task(root, "text.py", text.index("# twice"), "generate")
    with ScriptedEngine([fenced("def double(n):\n    return n * 2\n")]) as engine:
        await solve(job, engine)
    assert last().task().target == job.target
    assert last().target == "text.py:3"


async def test_of_two_functions_of_one_name_the_right_one_is_found_again(tmp_path):
    text = "def add(a, b):\n    return 0\n\n\n" + BUGGY
    root = calc(tmp_path, text)
    job = task(root, "calc.py", "add")
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        await solve(job, engine)
    assert last().task().target.span.start == text.rindex("def add")


async def test_the_page_from_the_disk_is_the_page_from_memory(tmp_path):
    root = calc(tmp_path)
    job = task(root, "calc.py", "add", feedback=("no loops",))
    with ScriptedEngine([wrong(0), fenced(RIGHT)]) as engine:
        result = await solve(job, engine)
    kept = last()
    page = markdown(kept)
    assert page == markdown(Transcript.of(kept.id, job, result, created=kept.created))
    assert page.startswith("# calc.py::add: passed\n")
    for said in (
        "## You, through oci-lsp (user)",
        "## The model (assistant)",
        "## Attempt 1 (turn 1): failed",
        "returned 6, expected 5",
        "+    return a + b",
        "Model scripted",
    ):
        assert said in page


async def test_each_line_may_be_lost_but_the_first(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([wrong(0), fenced(RIGHT)]) as engine:
        await solve(task(root, "calc.py", "add"), engine)
    path = history.find("last").file
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) == 10
    for number in range(1, len(lines)):
        kept = "".join(line for at, line in enumerate(lines) if at != number)
        path.write_text(kept + json.dumps({"type": "attempt", "turn": 1}) + "\n")
        assert markdown(last()).startswith("# calc.py::add: passed\n")
    path.write_text(lines[0])
    with pytest.raises(HistoryError, match="shown and exported, but not replayed"):
        last().task()


def test_a_job_of_another_version_is_told():
    with pytest.raises(HistoryError, match="of another version"):
        Transcript.read([{"type": "job", "id": "a1"}])


async def test_a_state_folder_that_cannot_be_had_loses_no_fix(tmp_path, monkeypatch):
    root = calc(tmp_path / "project")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OCI_LSP_STATE_DIR", str(tmp_path / "file" / "state"))
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine)
    assert (result.outcome, result.text) == ("passed", RIGHT)
