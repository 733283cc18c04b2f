"""The setting `apply`: at once, after a question, after the editor's own preview."""

from __future__ import annotations

import asyncio

import pytest

from tests.lsp.editor import capabilities, editor
from tests.projects import fenced, write
from tests.scripted_engine import ScriptedEngine

BUGGY = "def add(a, b):\n    return a - b\n"
RIGHT = BUGGY.replace("-", "+")
TEST = "from calc import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n"
ANNOTATES = capabilities(annotations=True, show_document=True)
PLAIN = capabilities(show_document=True)


@pytest.fixture
def root(tmp_path):
    return write(tmp_path / "p", {"calc.py": BUGGY, "test_calc.py": TEST})


@pytest.fixture
def engine():
    with ScriptedEngine([fenced(RIGHT)] * 3) as scripted:
        yield scripted


@pytest.mark.parametrize("client", [ANNOTATES, PLAIN], ids=["annotates", "plain"])
async def test_auto_makes_the_edit_at_once_and_says_what_it_is(root, engine, client):
    async with editor(root, engine.url, client=client) as ed:
        ed.open("calc.py")
        assert (await ed.job("fixFunction", "calc.py", "add"))["outcome"] == "passed"
    assert ed.questions == []
    (edit,) = ed.edits
    assert (edit.note is not None) == (client is ANNOTATES)
    if edit.note:
        assert (edit.note.label, edit.note.needs_confirmation) == ("oci-lsp: add", False)
        assert "1 test passed" in (edit.note.description or "")


async def test_preview_leaves_the_yes_to_the_editor(root, engine):
    async with editor(root, engine.url, client=ANNOTATES, options={"apply": "preview"}) as ed:
        ed.open("calc.py")
        ed.refusal = "discarded"
        end = await ed.job("fixFunction", "calc.py", "add")
        assert end["outcome"] == "cancelled"
        assert "not taken in the preview (discarded)" in end["message"]
        assert "a + b" in end["diff"]
        assert ed.text("calc.py") == BUGGY
        ed.refusal = None
        assert (await ed.job("fixFunction", "calc.py", "add"))["outcome"] == "passed"
        assert ed.text("calc.py") == RIGHT
    assert [edit.note.needs_confirmation for edit in ed.edits if edit.note] == [True, True]
    assert ed.questions == []


@pytest.mark.parametrize(
    ("mode", "client"), [("confirm", ANNOTATES), ("confirm", PLAIN), ("preview", PLAIN)]
)
async def test_a_question_where_it_is_asked_for_or_there_is_no_preview(root, engine, mode, client):
    async with editor(root, engine.url, client=client, options={"apply": mode}) as ed:
        ed.open("calc.py")
        ed.answers = ["Show the edit", "Discard", "Apply"]
        end = await ed.job("fixFunction", "calc.py", "add")
        assert end["outcome"] == "cancelled"
        assert "not put in: you did not want it" in end["message"]
        assert ed.text("calc.py") == BUGGY
        (page,) = ed.shown
        assert page.endswith(".diff")
        end = await ed.job("fixFunction", "calc.py", "add")
        assert end["outcome"] == "passed"
        assert ed.text("calc.py") == RIGHT
    assert len(ed.questions) == 3
    assert all("add: 1 test passed" in question for question in ed.questions)
    assert all(edit.note is None or not edit.note.needs_confirmation for edit in ed.edits)


async def test_a_job_that_waits_for_an_answer_can_be_cancelled_and_holds_up_nobody(root, engine):
    """The question stays on the screen; what is answered later means nothing."""
    write(root, {"other.py": BUGGY, "test_other.py": TEST.replace("calc", "other")})
    async with editor(root, engine.url, options={"apply": "confirm"}) as ed:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ed.client.protocol.fm.features.pop("window/showMessageRequest")

        @ed.client.feature("window/showMessageRequest")
        async def asked(params):
            ed.questions.append(params.message)
            await answer

        ed.open("calc.py")
        job = await ed.start("fixFunction", "calc.py", "add")
        await ed.until(lambda: ed.questions, "the question")
        await ed.stage("waiting for your answer")
        await ed.execute("oci_lsp.cancel", {"jobId": job})
        assert (await ed.ended(job))["outcome"] == "cancelled"
        waiting = await ed.start("fixFunction", "calc.py", "add")
        await ed.until(lambda: len(ed.questions) == 2, "the second question")
        ed.open("other.py")
        assert (await ed.job("runTest", "other.py", "add"))["outcome"] == "failed"
        answer.set_result(None)
        assert (await ed.ended(waiting))["outcome"] == "cancelled"
    assert ed.edits == []
