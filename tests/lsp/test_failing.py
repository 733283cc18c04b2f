"""oci_lsp.fixFailing: all that fails in a file or a folder, in one edit."""

from __future__ import annotations

import pytest

from tests.lsp.editor import capabilities, editor
from tests.projects import fenced, write
from tests.scripted_engine import Reply, ScriptedEngine

CART = (
    "RATE = '\N{SHOPPING TROLLEY}'\r\n\r\n\r\n"
    "def total(prices):\r\n    '\N{SHOPPING TROLLEY}'\r\n    return sum(prices) + 1\r\n"
)
TEXT = "def slug(text):\n    return text.upper()\n"
TESTS = (
    "from cart import total\nfrom text import slug\n\n\n"
    "def test_total():\n    assert total([1, 2]) == 3\n\n\n"
    "def test_slug():\n    assert slug('A B') == 'a-b'\n"
)
RIGHT = "def slug(text):\n    return text.lower().replace(' ', '-')\n"
TOTAL = Reply((fenced("def total(prices):\n    return sum(prices)\n"),), when="sum(prices) + 1")
SLUG = Reply((fenced(RIGHT),), when="text.upper()")
CART_RIGHT = CART.replace(" + 1", "")


@pytest.fixture
def root(tmp_path):
    return write(tmp_path / "p", {"cart.py": CART, "text.py": TEXT, "test_shop.py": TESTS})


@pytest.fixture
def engine():
    with ScriptedEngine([TOTAL, SLUG]) as scripted:
        yield scripted


async def fix(ed, **argument):
    return await ed.ended((await ed.execute("oci_lsp.fixFailing", argument))["jobId"])


@pytest.mark.parametrize(
    "client",
    [
        capabilities(annotations=True, encodings=["utf-8"]),
        capabilities(encodings=["utf-32"]),
        capabilities(document_changes=False),
    ],
    ids=["annotates", "versions", "plain"],
)
async def test_the_folder_is_mended_by_one_edit_of_open_and_closed_files(root, engine, client):
    applied = []
    async with editor(root, engine.url, client=client) as ed:
        ed.open("cart.py")
        ed.on_edit.append(lambda: applied.append(len(ed.edits)))
        end = await fix(ed)
        assert end["outcome"] == "passed", end["message"]
        assert (ed.text("cart.py"), ed.text("text.py")) == (CART_RIGHT, RIGHT)
        assert len(ed.edits) == 2
        assert applied == [2]
        assert "--- a/cart.py" in end["diff"]
        assert "--- a/text.py" in end["diff"]
        assert len(end["attempts"]) == 2
        assert "2 functions repaired" in end["message"]
        assert any("slug: attempt 1/2: testing" in stage for stage in ed.stages())
    versions = {edit.uri.rpartition("/")[2]: edit.version for edit in ed.edits}
    versioned = client.workspace.workspace_edit.document_changes
    assert versions == {"cart.py": 1 if versioned else None, "text.py": None}
    assert (root / "text.py").read_text() == TEXT


async def test_a_file_by_its_code_action_with_unsaved_text(root, engine):
    unsaved = TEXT + "\n\nVERSION = 2\n"
    async with editor(root, engine.url) as ed:
        ed.open("text.py", unsaved)
        (action,) = await ed.actions("text.py", "VERSION")
        assert (action.title, action.kind) == (
            "Fix all failing functions of this file",
            "source.fixFailing",
        )
        (same,) = await ed.actions("text.py", "slug", only=["source"])
        assert same.command == action.command
        assert "source.fixFailing" not in [a.kind for a in await ed.actions("text.py", "slug")]
        end = await ed.ended(
            (await ed.execute(action.command.command, *action.command.arguments))["jobId"]
        )
        assert end["outcome"] == "passed", end["message"]
        assert "Failing elsewhere: test_shop.py::test_total." in end["message"]
        assert ed.text("text.py") == unsaved.replace(TEXT, RIGHT)
    assert len(ed.edits) == 1


async def test_what_was_typed_elsewhere_meanwhile_stays_and_the_repairs_fit_in(root):
    late = Reply(SLUG.texts, first_delay=2, when=SLUG.when)
    with ScriptedEngine([TOTAL, late]) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("cart.py")
            job = (await ed.execute("oci_lsp.fixFailing", {}))["jobId"]
            await ed.until(lambda: len(engine.requests) == 2, "the second prompt")
            ed.type("cart.py", "RATE = ", "BEST = RATE = ")
            end = await ed.ended(job)
            assert end["outcome"] == "passed", end["message"]
            assert ed.text("cart.py") == CART_RIGHT.replace("RATE", "BEST = RATE")


async def test_a_repaired_function_that_was_changed_meanwhile_leaves_all_as_it_is(root):
    late = Reply(SLUG.texts, first_delay=2, when=SLUG.when)
    with ScriptedEngine([TOTAL, late]) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("cart.py")
            job = (await ed.execute("oci_lsp.fixFailing", {}))["jobId"]
            await ed.until(lambda: len(engine.requests) == 2, "the second prompt")
            ed.type("cart.py", "+ 1", "+ 2")
            end = await ed.ended(job)
            assert end["outcome"] == "stale"
            assert "cart.py was changed meanwhile" in end["message"]
            assert "+    return sum(prices)" in end["diff"]
            assert ed.text("cart.py") == CART.replace("+ 1", "+ 2")
    assert ed.edits == []


async def test_a_cancel_leaves_all_as_it_is_and_shows_what_was_repaired(root):
    with ScriptedEngine([TOTAL, Reply(SLUG.texts, first_delay=60)]) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("cart.py")
            job = (await ed.execute("oci_lsp.fixFailing", {}))["jobId"]
            await ed.until(lambda: len(engine.requests) == 2, "the second prompt")
            again = await ed.execute("oci_lsp.fixFailing", {})
            assert again["jobId"] == job
            await ed.execute("oci_lsp.cancel", {"jobId": job})
            end = await ed.ended(job)
            assert end["outcome"] == "cancelled"
            assert "+    return sum(prices)" in end["diff"]
    assert ed.edits == []


async def test_the_users_no_and_the_editors_refusal_leave_all_as_it_is(root, engine):
    engine.add(TOTAL, SLUG)
    async with editor(root, engine.url, options={"apply": "confirm"}) as ed:
        ed.answers = ["Discard", "Apply"]
        assert (await fix(ed))["outcome"] == "cancelled"
        ed.refusal = "busy"
        end = await fix(ed)
        assert end["outcome"] == "error"
        assert "did not take it: busy" in end["message"]
    assert all("2 functions repaired" in question for question in ed.questions)


async def test_a_place_that_does_not_exist_is_told(root, engine):
    async with editor(root, engine.url) as ed:
        end = await fix(ed, uri=ed.uri("absent.py"))
        assert end["outcome"] == "error"
        assert "no file or folder" in end["message"]
