"""What comes between: cancels, edits, a dying engine, an editor that leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import psutil
import pytest

from tests.lsp.editor import editor
from tests.projects import BUGGY, RIGHT, calc, fenced, write
from tests.scripted_engine import Reply, ScriptedEngine

NO_STANDBY = {"verify": {"standby": 0}}
LOOP = fenced("def add(a, b):\n    while True:\n        pass\n")
SLOW = Reply((fenced(RIGHT),), delay=0.5)


async def cancelled(ed, job_id: str) -> float:
    """Cancel a job; seconds until its end was told and none of its processes was left."""
    started = time.monotonic()
    assert await ed.execute("oci_lsp.cancel", {"jobId": job_id}) == {"jobId": job_id}
    end = await ed.ended(job_id)
    assert end["outcome"] == "cancelled"
    await ed.until(lambda: not ed.descendants(), "no process left")
    return time.monotonic() - started


async def test_cancel_while_the_model_writes(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([SLOW, fenced(RIGHT)]) as engine:
        async with editor(root, engine.url, options=NO_STANDBY) as ed:
            ed.open("calc.py")
            job = await ed.start("fixFunction", "calc.py", "add")
            await ed.stage("generating")
            await ed.until(lambda: engine.requests and engine.requests[0].tokens, "a token")
            assert await cancelled(ed, job) < 1.0
            await asyncio.to_thread(engine.wait, "disconnected")
            assert ed.text("calc.py") == BUGGY
            # The function is free again.
            assert (await ed.job("fixFunction", "calc.py", "add"))["outcome"] == "passed"


async def test_cancel_while_the_candidate_runs(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([LOOP]) as engine:
        async with editor(root, engine.url, options=NO_STANDBY) as ed:
            ed.open("calc.py")
            job = await ed.start("fixFunction", "calc.py", "add")
            await ed.stage("testing")
            await ed.until(lambda: any(busy(p) for p in ed.descendants()), "a busy kernel")
            assert await cancelled(ed, job) < 1.0
            assert ed.text("calc.py") == BUGGY


def busy(process: psutil.Process) -> bool:
    try:
        return process.cpu_percent(0.05) > 20
    except psutil.Error:
        return False


async def test_the_progress_bars_own_cancel(tmp_path):
    from lsprotocol import types as lsp

    root = calc(tmp_path)
    with ScriptedEngine([SLOW]) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("calc.py")
            job = await ed.start("fixFunction", "calc.py", "add")
            await ed.stage("generating")
            (token,) = ed.tokens
            ed.client.window_work_done_progress_cancel(lsp.WorkDoneProgressCancelParams(token))
            assert (await ed.ended(job))["outcome"] == "cancelled"


async def test_a_second_request_on_the_same_function_gets_the_running_job(tmp_path):
    two = BUGGY + "\n\ndef sub(a, b):\n    return a + b\n"
    root = calc(tmp_path, two)
    with ScriptedEngine([Reply((fenced(RIGHT),), delay=0.1)]) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("calc.py")
            first = await ed.start("fixFunction", "calc.py", "add")
            assert await ed.start("fixFunction", "calc.py", "add") == first
            assert any("already" in m and first in m for m in ed.messages)
            # Another function's job runs beside it.
            other = await ed.start("fixFunction", "calc.py", "sub")
            assert other != first
            assert (await ed.ended(other))["outcome"] == "no_test"
            assert (await ed.ended(first))["outcome"] == "passed"


async def test_edits_elsewhere_move_the_edit_along(tmp_path):
    root = calc(tmp_path)
    reply = "import math\n\n\ndef add(a, b):\n    return math.fsum((a, b))\n"
    with ScriptedEngine([Reply((fenced(reply),), delay=0.05)]) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("calc.py")
            job = await ed.start("fixFunction", "calc.py", "add")
            await ed.stage("generating")
            ed.type("calc.py", "def add", "import os\nimport math\n\nX = os.sep\n\n\ndef add")
            end = await ed.ended(job)
            assert end["outcome"] == "passed", end
            assert ed.text("calc.py") == (
                "import os\nimport math\n\nX = os.sep\n\n\n"
                "def add(a, b):\n    return math.fsum((a, b))\n"
            )
    assert "the edit fits its present text" in end["message"]
    assert "+    return math.fsum((a, b))" in end["diff"]
    assert "+import math" not in end["diff"]
    assert ed.edits[-1].version == 2


async def test_an_edit_in_the_function_makes_the_job_stale(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([Reply((fenced(RIGHT),), delay=0.05)]) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("calc.py")
            job = await ed.start("fixFunction", "calc.py", "add")
            await ed.stage("generating")
            ed.type("calc.py", "a - b", "a - b - 0")
            end = await ed.ended(job)
            assert ed.text("calc.py") == BUGGY.replace("a - b", "a - b - 0")
    assert end["outcome"] == "stale"
    assert ed.edits == []
    assert "add was changed meanwhile" in end["message"]


async def test_an_edit_that_crosses_ours_on_the_way_is_no_harm(tmp_path):
    """The client has newer text than the server knew of when it sent the edit."""
    root = calc(tmp_path)
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("calc.py")
            ed.on_edit.append(lambda: ed.type("calc.py", "def add", "X = 1\n\n\ndef add"))
            end = await ed.job("fixFunction", "calc.py", "add")
            assert ed.text("calc.py") == "X = 1\n\n\n" + RIGHT
    assert end["outcome"] == "passed"
    assert [edit.version for edit in ed.edits] == [1, 2]


async def test_an_editor_that_refuses_the_edit(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("calc.py")
            ed.refusal = "the buffer is read-only"
            end = await ed.job("fixFunction", "calc.py", "add")
    assert end["outcome"] == "error"
    assert "the buffer is read-only" in end["message"]
    assert "+    return a + b" in end["diff"]


async def test_a_buffer_closed_meanwhile(tmp_path):
    from lsprotocol import types as lsp

    root = calc(tmp_path)
    with ScriptedEngine([Reply((fenced(RIGHT),), delay=0.05)]) as engine:
        async with editor(root, engine.url) as ed:
            uri = ed.open("calc.py")
            job = await ed.start("fixFunction", "calc.py", "add")
            await ed.stage("generating")
            ed.client.text_document_did_close(
                lsp.DidCloseTextDocumentParams(lsp.TextDocumentIdentifier(uri))
            )
            end = await ed.ended(job)
    assert end["outcome"] == "stale"
    assert "closed" in end["message"]


async def test_an_engine_that_dies_in_mid_sentence(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([Reply((fenced(RIGHT),), dies_after=4), fenced(RIGHT)]) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("calc.py")
            end = await ed.job("fixFunction", "calc.py", "add")
            assert end["outcome"] == "error"
            assert "broke off" in end["message"]
            assert ed.text("calc.py") == BUGGY
            assert (await ed.job("fixFunction", "calc.py", "add"))["outcome"] == "passed"


@pytest.mark.parametrize("way", ["shutdown", "end of stdin", "SIGTERM", "SIGINT"])
async def test_however_the_editor_leaves_no_process_stays(tmp_path, way):
    root = calc(tmp_path)
    with ScriptedEngine([LOOP]) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("calc.py")
            await ed.start("fixFunction", "calc.py", "add")
            await ed.stage("testing")
            processes = ed.descendants()
            assert processes
            server = ed.server
            started = time.monotonic()
            if way == "shutdown":
                await ed.leave()
            elif way == "end of stdin":
                assert server.stdin
                server.stdin.close()
            else:
                os.kill(ed.pid, getattr(signal, way))
            status = await asyncio.wait_for(server.wait(), 20)
            spent = time.monotonic() - started
            _, alive = psutil.wait_procs(processes, timeout=5)
    assert alive == []
    assert spent < 3
    assert status == {"shutdown": 0, "end of stdin": 1, "SIGTERM": 143, "SIGINT": 130}[way]
    assert (root / "calc.py").read_text() == BUGGY


async def test_several_jobs_at_once_the_rest_wait(tmp_path):
    names = ["f", "g", "h", "i"]
    code = "\n\n".join(f"def {n}(a):\n    return a\n" for n in names)
    checks = "".join(f"def test_{n}():\n    assert calc.{n}(1) == 2\n\n\n" for n in names)
    root = write(tmp_path, {"calc.py": code, "test_calc.py": f"import calc\n\n\n{checks}"})
    replies = [
        Reply((fenced(f"def {n}(a):\n    return a + 1\n"),), delay=0.05, when=f"function `{n}`")
        for n in names
    ]
    with ScriptedEngine(replies) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("calc.py")
            jobs = [await ed.start("fixFunction", "calc.py", n) for n in names]
            ends = [await ed.ended(job) for job in jobs]
            assert [end["outcome"] for end in ends] == ["passed"] * 4, ends
            assert ed.text("calc.py").count("return a + 1") == 4
