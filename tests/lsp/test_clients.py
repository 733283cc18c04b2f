"""The whole way as each editor: what it said of itself decides in which form it is answered."""

from __future__ import annotations

from typing import Any

import psutil
import pytest
from lsprotocol import types as lsp

from tests.lsp.editor import editor
from tests.lsp.recordings import RECORDED, check_action, offered, recorded, speaker, was_offered
from tests.projects import fenced, write
from tests.scripted_engine import Reply, ScriptedEngine

# Every line end, an indent of tabs, and characters of one to four bytes before what is edited.
SOURCE = (
    '"""\U0001f600 Größen."""\r\n'
    "\r\n"
    "GRUSS = '\U0001f44b\U0001f3fd'\r\n"
    "\r\n"
    "\r\n"
    "def größe(a, b):\r\n"
    "\t'''\U0001f4cf'''\r\n"
    "\treturn '\U0001f600' and a - b  # \U0001f600 minus?\r\n"
    "\r\n"
    "\r\n"
    "# function: doppelt(n) -> \U0001f600 twice n\r\n"
    "# >>> doppelt(2)\r\n"
    "# 4\r\n"
    "\r\n"
    "ENDE = '\U0001f51a'\r\n"
)
TEST = "from mass import größe\n\n\ndef test_größe():\n    assert größe(2, 3) == 5\n"
FIXED = (
    "def größe(a, b):\n    '''\U0001f4cf'''\n    return '\U0001f600' and a + b  # \U0001f600 plus\n"
)
SUMMED = FIXED.replace("a + b", "sum((a, b))")
TWICE = "def doppelt(n):\n    return 2 * n\n"


def crlf(code: str) -> str:
    """Code of a reply as the file writes it."""
    return code.replace("    ", "\t").replace("\n", "\r\n")


@pytest.mark.parametrize("name", RECORDED)
async def test_the_whole_way(tmp_path, name):
    client = recorded(name)
    can = offered(client)
    root = write(tmp_path / "p", {"mass.py": SOURCE, "test_mass.py": TEST})
    slow = Reply((fenced(FIXED),), first_delay=60)
    said: list[str | Reply] = [
        fenced(FIXED.replace("+", "*")),
        fenced(FIXED),
        fenced(SUMMED),
        fenced(TWICE),
        slow,
    ]
    with ScriptedEngine(said) as engine:
        speaking, protocol = speaker(client)
        once = {"verify": {"confirm": False}}
        async with editor(
            root, engine.url, client=client, speaking=speaking, options=once, trusted=None
        ) as ed:
            ed.answer_to_questions = "Trust this folder"
            assert ed.encoding == can["encoding"]
            uri = ed.open("mass.py")

            async def chosen(marker: str, kind: str, diagnostics=()) -> dict[str, Any]:
                """Pick an action, run its command, and wait for the end."""
                found = await ed.actions("mass.py", marker, diagnostics=diagnostics)
                commands = [check_action(client, action) for action in found]
                if can["literals"]:
                    (command,) = (
                        command
                        for action, command in zip(found, commands, strict=True)
                        if action.kind == kind
                    )
                else:
                    command = commands[0]
                answer = await ed.execute(command.command, *(command.arguments or ()))
                return await ed.ended(answer["jobId"])

            # A diagnostic behind an emoji: fixed in the second turn.
            at = ed.position(SOURCE, SOURCE.index("a - b"))
            here = lsp.Range(at, lsp.Position(at.line, at.character + 5))
            problem = lsp.Diagnostic(here, "minus \U0001f600?", source="lint")
            end = await chosen("a - b", "quickfix", [problem])
            assert end["outcome"] == "passed", end
            assert [attempt["verdict"] for attempt in end["attempts"]] == ["failed", "passed"]
            before, after = SOURCE.index("def größe"), SOURCE.index("\r\n\r\n# function")
            fixed = SOURCE[:before] + crlf(FIXED) + SOURCE[after:]
            assert ed.text("mass.py") == fixed

            # On the function alone there is nothing left to do.
            end = await chosen("a + b", "refactor.rewrite.fix")
            assert end["outcome"] == "already_passing"

            # The user's words, in the conversation of the job before that.
            end = await ed.job(
                "refineWithFeedback", "mass.py", "größe", feedback="Nimm sum \U0001f600"
            )
            assert end["outcome"] == "passed", end
            summed = fixed.replace("a + b", "sum((a, b))")
            assert ed.text("mass.py") == summed
            messages = engine.requests[2].payload["messages"]
            assert messages[-1]["role"] == "user"
            assert "Nimm sum \U0001f600" in messages[-1]["content"]
            assert any("a + b" in m["content"] for m in messages if m["role"] == "assistant")

            # A comment that describes a function.
            end = await chosen("# function", "refactor.rewrite.generate")
            assert end["outcome"] == "passed", end
            written = summed.replace("# 4\r\n", "# 4\r\n" + crlf(TWICE) + "\r\n", 1)
            assert ed.text("mass.py") == written

            # Cancelled at the progress bar where there is one.
            shown = len(ed.progress)
            job = await ed.start("refineWithFeedback", "mass.py", "größe", feedback="Anders")
            await ed.until(lambda: len(engine.requests) == 5, "the model's turn")
            if can["progress"]:
                token = lsp.WorkDoneProgressCancelParams(f"oci-lsp/{job}")
                ed.client.window_work_done_progress_cancel(token)
            else:
                await ed.execute("oci_lsp.cancel", {"jobId": job})
            assert (await ed.ended(job))["outcome"] == "cancelled"
            assert ed.text("mass.py") == written
            assert (len(ed.progress) > shown) == can["progress"]

            # The page of what was said.
            answer = await ed.execute("oci_lsp.showTranscript", {"jobId": job})
            assert ed.shown == ([answer["uri"]] if can["documents"] else [])
            if not can["documents"]:
                await ed.until(lambda: "page is in" in "".join(ed.messages), "the place")

            assert len(ed.questions) == 1
            assert {edit.version is not None for edit in ed.edits} == {can["versions"]}
            assert {edit.uri for edit in ed.edits} == {uri}
            refused = [m for m, p in protocol.asked if not was_offered(client, m, p)]
            assert refused == []
            processes = [psutil.Process(ed.pid), *ed.descendants()]
    assert (root / "mass.py").read_bytes().decode() == SOURCE
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive
    assert ed.server.returncode == 0
