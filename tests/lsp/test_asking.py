"""No test is found: the client's user is asked, and what is answered decides."""

from __future__ import annotations

import pytest

from tests.lsp.editor import capabilities, editor
from tests.lsp.recordings import RECORDED, offered, recorded, speaker, was_offered
from tests.projects import BUGGY, RIGHT, fenced, write
from tests.scripted_engine import ScriptedEngine

# Reaches the function in a way that no reading of the text finds.
HIDDEN = (
    "import importlib\n\n\ndef test_sums():\n"
    "    module = importlib.import_module('ca' + 'lc')\n"
    "    assert getattr(module, 'a' + 'dd')(2, 3) == 5\n"
)
OWN = capabilities(own={"input": True, "pick": True})


def project(root, **more):
    return write(root, {"calc.py": BUGGY, "checks/test_hidden.py": HIDDEN, **more})


async def test_a_test_is_picked_by_its_button_and_pinned(tmp_path):
    root = project(tmp_path)
    node_id = "checks/test_hidden.py::test_sums"
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("calc.py")
            ed.answers = [node_id, "Pin"]
            end = await ed.job("fixFunction", "calc.py", "add")
            assert end["outcome"] == "passed", end
            assert ed.text("calc.py") == RIGHT
            assert ed.buttons[0] == [node_id, "Create checks/test_calc.py", "Cancel"]
            assert "no test for add" in ed.questions[0]
            await ed.until(lambda: "pinned in" in "".join(ed.messages), "the pin")
            # The pin is found: nobody is asked again.
            ed.type("calc.py", "a + b", "a - b")
            ed.answers = []
            engine.add(fenced(RIGHT))
            end = await ed.job("fixFunction", "calc.py", "add")
            assert end["outcome"] == "passed"
            assert len(ed.questions) == 2
    assert f'[tool.oci-lsp.tests]\n"calc.py::add" = ["{node_id}"]\n' in (
        root / "pyproject.toml"
    ).read_text("utf-8")


@pytest.mark.parametrize("answer", ["Not now", None])
async def test_no_pin_is_written_unasked(tmp_path, answer):
    root = project(tmp_path)
    before = (root / "pyproject.toml").read_bytes()
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("calc.py")
            ed.answers = ["checks/test_hidden.py::test_sums", answer]
            assert (await ed.job("fixFunction", "calc.py", "add"))["outcome"] == "passed"
            await ed.until(lambda: len(ed.questions) == 2, "the question")
    assert (root / "pyproject.toml").read_bytes() == before


async def test_asserts_are_typed_until_they_can_run(tmp_path):
    root = write(tmp_path, {"calc.py": BUGGY})
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        async with editor(root, engine.url, client=OWN) as ed:
            ed.open("calc.py")
            ed.answers = ["Type asserts", "Pin"]
            ed.typed = [{"text": "assert add(1, 1 = 2"}, {"text": "adding"}]
            ed.typed.append({"text": "assert add(1, 1) == 2\nassert add(2, 3) == 5"})
            end = await ed.job("fixFunction", "calc.py", "add")
            assert end["outcome"] == "passed", end
            assert ed.text("calc.py") == RIGHT
            assert ed.buttons[0] == ["Type asserts", "Create test_calc.py", "Cancel"]
            first, second, third = ed.prompts
            assert "assert add(...) == ..." in first["prompt"]
            assert "is not Python" in second["prompt"]
            assert second["value"] == "assert add(1, 1 = 2"
            assert "'adding' is no test" in third["prompt"]
            await ed.until(lambda: "pinned in" in "".join(ed.messages), "the pin")
            ed.type("calc.py", "a + b", "a - b")
            engine.add(fenced(RIGHT))
            assert (await ed.job("fixFunction", "calc.py", "add"))["outcome"] == "passed"
    assert "assert add(1, 1) == 2" in engine.prompts[0]


async def test_several_tests_are_picked_from_a_list(tmp_path):
    more = HIDDEN.replace("test_sums", "test_more").replace("(2, 3) == 5", "(1, 1) == 2")
    root = project(tmp_path, **{"checks/test_more.py": more, "checks/test_z.py": "import calc\n"})
    names = ["checks/test_hidden.py::test_sums", "checks/test_more.py::test_more"]
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        async with editor(root, engine.url, client=OWN) as ed:
            ed.open("calc.py")
            ed.answers = ["Pick a test"]
            ed.picks = [{"ids": [*reversed(names), "unknown"]}]
            end = await ed.job("fixFunction", "calc.py", "add")
            assert end["outcome"] == "passed", end
            assert "2 tests passed" in end["message"]
            (prompt,) = ed.prompts
            assert [item["id"] for item in prompt["items"]] == names
            assert prompt["many"] is True


@pytest.mark.parametrize("creates", [False, True])
async def test_a_test_file_is_made_opened_and_filled_in(tmp_path, creates):
    root = write(tmp_path, {"pkg/calc.py": BUGGY, "tests/__init__.py": "", "pkg/__init__.py": ""})
    client = capabilities(creates=creates, show_document=True)
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        async with editor(root, engine.url, client=client) as ed:
            ed.open("pkg/calc.py")
            ed.answers = ["Create tests/test_calc.py", "Open tests/test_calc.py"]
            end = await ed.job("fixFunction", "pkg/calc.py", "add")
            assert end["outcome"] == "no_test"
            assert "Say in tests/test_calc.py what add must do" in end["message"]
            assert engine.requests == []
            if not creates:
                ed.open("tests/test_calc.py")
            assert ed.text("tests/test_calc.py").startswith("from pkg.calc import add\n")
            # Not filled in yet: it is opened once more, and nothing else is made.
            assert (await ed.job("fixFunction", "pkg/calc.py", "add"))["outcome"] == "no_test"
            assert ed.shown == [ed.uri("tests/test_calc.py")] * 2
            to_do = 'raise NotImplementedError("say here what add must do")'
            ed.type("tests/test_calc.py", to_do, "assert add(2, 3) == 5")
            end = await ed.job("fixFunction", "pkg/calc.py", "add")
            assert end["outcome"] == "passed", end
            assert ed.text("pkg/calc.py") == RIGHT
    assert len(list((root / "tests").iterdir())) == 2


@pytest.mark.parametrize("name", RECORDED)
async def test_each_editor_is_asked_for_what_it_can(tmp_path, name):
    client = recorded(name)
    root = project(tmp_path)
    speaking, protocol = speaker(client)
    async with editor(root, client=client, speaking=speaking) as ed:
        ed.open("calc.py")
        ed.answers = ["Create checks/test_calc.py"]
        end = await ed.job("fixFunction", "calc.py", "add")
        assert end["outcome"] == "no_test"
        assert "Say in checks/test_calc.py" in end["message"]
        made = ed.uri("checks/test_calc.py")
        assert ed.shown == ([made] if offered(client)["documents"] else [])
        assert [m for m, p in protocol.asked if not was_offered(client, m, p)] == []
        text = ed.texts.get(made) or (root / "checks/test_calc.py").read_text()
    assert text.startswith("from calc import add\n")


async def test_a_refused_file_is_told(tmp_path):
    root = write(tmp_path, {"calc.py": BUGGY})
    async with editor(root, client=capabilities(creates=True)) as ed:
        ed.open("calc.py")
        ed.answers = ["Create test_calc.py"]
        ed.refusal = "read-only"
        end = await ed.job("fixFunction", "calc.py", "add")
    assert end["outcome"] == "error"
    assert "read-only" in end["message"]
    assert not (root / "test_calc.py").exists()


@pytest.mark.parametrize("answer", ["Cancel", None])
async def test_no_answer_ends_with_advice(tmp_path, answer):
    root = project(tmp_path)
    async with editor(root) as ed:
        ed.open("calc.py")
        ed.answers = [answer]
        end = await ed.job("fixFunction", "calc.py", "add")
    assert end["outcome"] == "no_test"
    assert "# test: NODEID" in end["message"]


async def test_nobody_is_asked_where_the_file_cannot_be_read(tmp_path):
    root = write(tmp_path, {"calc.py": BUGGY + "\n\ndef (\n"})
    async with editor(root) as ed:
        ed.open("calc.py")
        end = await ed.job("fixFunction", "calc.py", "add")
    assert (end["outcome"], ed.questions) == ("error", [])


async def test_open_questions_hold_up_no_other_job_and_can_be_cancelled(tmp_path):
    functions = "".join(f"def f{i}(a, b):\n    return a - b\n\n\n" for i in range(4))
    tested = {"other.py": BUGGY, "test_other.py": "import other\n\n\ndef test_add():\n"}
    tested["test_other.py"] += "    assert other.add(2, 3) == 5\n"
    root = write(tmp_path, {"calc.py": functions, **tested})
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("calc.py")
            ed.open("other.py")
            ed.decided.clear()
            waiting = [await ed.start("fixFunction", "calc.py", f"f{i}") for i in range(4)]
            await ed.until(lambda: len(ed.questions) == 4, "four questions")
            assert (await ed.job("fixFunction", "other.py", "add"))["outcome"] == "passed"
            for job in waiting:
                await ed.execute("oci_lsp.cancel", {"jobId": job})
                assert (await ed.ended(job))["outcome"] == "cancelled"
            # Answers that come too late do no harm.
            ed.decided.set()
            assert (await ed.job("fixFunction", "other.py", "add"))["outcome"] == "already_passing"
    assert ed.server.returncode == 0
