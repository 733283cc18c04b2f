"""Human feedback: the same conversation goes on, whatever came before, and may name a test."""

from __future__ import annotations

import pytest

from tests.lsp.editor import editor
from tests.projects import BUGGY, RIGHT, calc, fenced, write
from tests.scripted_engine import Reply, ScriptedEngine

WRONG = "def add(a, b):\n    return a * b\n"
SUM = "def add(a, b):\n    return sum((a, b))\n"
ONE_TURN = {"refine": {"candidates": 1, "turns": 1}, "verify": {"confirm": False}}


def said(request) -> list[str]:
    return [message["role"] for message in request.payload["messages"]]


@pytest.mark.parametrize("history", [True, False])
async def test_a_conversation_outlives_the_server(tmp_path, history):
    root = calc(tmp_path / "p")
    options = {**ONE_TURN, "history": {"enabled": history}}
    with ScriptedEngine([fenced(RIGHT), fenced(SUM)]) as engine:
        async with editor(root, engine.url, options=options) as ed:
            ed.open("calc.py")
            assert (await ed.job("fixFunction", "calc.py", "add"))["outcome"] == "passed"
            fixed = ed.text("calc.py")
        async with editor(root, engine.url, options=options) as ed:
            # What the user adds as a comment for oci-lsp does not make another function of it.
            told = fixed.replace("    return", "    # oci: use sum\n    return")
            ed.open("calc.py", told)
            end = await ed.job("refineWithFeedback", "calc.py", "add")
            assert end["outcome"] == "passed", end
            assert ed.text("calc.py") == SUM
            page = await ed.execute("oci_lsp.showTranscript", {"jobId": end["jobId"]})
    last = engine.requests[1]
    if not history:
        assert said(last) == ["system", "user"]
        return
    assert said(last) == ["system", "user", "assistant", "user"]
    assert "The tests pass on this function" in last.payload["messages"][-1]["content"]
    assert "The user says: use sum" in last.payload["messages"][-1]["content"]
    text = (tmp_path / "page").parent.joinpath(page["uri"].removeprefix("file://")).read_text()
    turns = [line for line in text.splitlines() if line.startswith("## ")]
    assert turns[:5] == [
        "## oci-lsp (system)",
        "## oci-lsp (user)",
        "## The model (assistant)",
        "## You, through oci-lsp (user)",
        "## The model (assistant)",
    ]


async def test_after_a_failure_a_cancellation_and_on_another_function(tmp_path):
    root = calc(tmp_path / "p")
    slow = Reply((fenced(RIGHT),), first_delay=60)
    with ScriptedEngine([fenced(WRONG), slow, fenced(RIGHT), fenced(SUM)]) as engine:
        async with editor(root, engine.url, options=ONE_TURN) as ed:
            ed.open("calc.py")
            assert (await ed.job("fixFunction", "calc.py", "add"))["outcome"] == "failed"
            job = await ed.start("refineWithFeedback", "calc.py", "add", feedback="add them")
            await ed.until(lambda: len(engine.requests) == 2, "the model's turn")
            await ed.execute("oci_lsp.cancel", {"jobId": job})
            assert (await ed.ended(job))["outcome"] == "cancelled"
            end = await ed.job("refineWithFeedback", "calc.py", "add", feedback="no product")
            assert end["outcome"] == "passed", end
            # Undone, and written anew: that is another function.
            ed.type("calc.py", "return a + b", "return b + a")
            end = await ed.job("refineWithFeedback", "calc.py", "add", feedback="use sum")
            assert end["outcome"] == "passed", end
    _, second, third, fourth = engine.requests
    assert said(second) == said(third) == ["system", "user", "assistant", "user"]
    last = third.payload["messages"][-1]["content"]
    assert last.index("add(2, 3) returned 6") < last.index("add them") < last.index("no product")
    assert said(fourth) == ["system", "user"]


async def test_words_may_name_a_test_which_joins_the_others(tmp_path):
    more = "import calc\n\n\ndef test_zero():\n    assert calc.__dict__['a' + 'dd'](0, 4) == 4\n"
    root = write(calc(tmp_path / "p", RIGHT), {"more/test_zero.py": more})
    words = "Let it take one.\nassert add(7) == 7\ntest: more/test_zero.py::test_zero"
    one = "def add(a, b=0):\n    return a + b\n"
    with ScriptedEngine([fenced(one)]) as engine:
        async with editor(root, engine.url, options=ONE_TURN) as ed:
            ed.open("calc.py")
            end = await ed.job("refineWithFeedback", "calc.py", "add", feedback=words)
            assert end["outcome"] == "passed", end
            assert "3 tests passed" in end["message"]
            assert ed.text("calc.py") == one
            end = await ed.job("refineWithFeedback", "calc.py", "add", feedback="test: gone.py::x")
            assert end["outcome"] == "broken_test"
            assert "'gone.py' does not exist" in end["message"]
    assert "def test_zero" in engine.prompts[0]


async def test_a_named_test_is_told_to_the_model_in_a_conversation_that_goes_on(tmp_path):
    root = write(calc(tmp_path / "p"), {"more/test_one.py": "def test_one():\n    assert 1\n"})
    test = "import calc\n\n\ndef test_one():\n    assert calc.add(7) == 7\n"
    one = "def add(a, b=0):\n    return a + b\n"
    with ScriptedEngine([fenced(RIGHT), fenced(one)]) as engine:
        async with editor(root, engine.url, options=ONE_TURN) as ed:
            ed.open("calc.py")
            assert (await ed.job("fixFunction", "calc.py", "add"))["outcome"] == "passed"
            ed.open("more/test_one.py", test)
            words = "One is enough, see more/test_one.py::test_one."
            end = await ed.job("refineWithFeedback", "calc.py", "add", feedback=words)
            assert end["outcome"] == "passed", end
    last = engine.requests[1].payload["messages"][-1]["content"]
    assert "assert calc.add(7) == 7" in last
    assert BUGGY.strip() not in last
