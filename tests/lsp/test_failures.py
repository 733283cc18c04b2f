"""Failing tests in the editor: diagnostics, the quick fix at the assert, lenses, `runTest`."""

from __future__ import annotations

from lsprotocol import types as lsp

from tests.lsp.editor import capabilities, editor
from tests.projects import fenced, write
from tests.scripted_engine import ScriptedEngine

BUGGY = (
    'def add(a, b):\n    """\N{GRINNING FACE}"""\n    return a - b\n\n\ndef alone():\n    pass\n'
)
RIGHT = BUGGY.partition("\n\n\n")[0].replace("-", "+")
TEST = (
    "from calc import add\n\n\ndef test_add():\n    total = add(2, 3)\n"
    "    assert total == 5, '\N{GRINNING FACE}'\n"
)
WRONG = fenced(RIGHT.replace("+", "*"))


def places(ed, name: str) -> list[tuple[int, int, str | None]]:
    found = ed.diagnostics.get(ed.uri(name), [])
    return [(d.range.start.line, d.range.start.character, d.source) for d in found]


async def test_a_failed_test_is_shown_at_its_assert_and_in_the_function(tmp_path):
    root = write(tmp_path / "p", {"calc.py": BUGGY, "test_calc.py": TEST})
    with ScriptedEngine([WRONG, WRONG, fenced(RIGHT)]) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("calc.py")
            assert (await ed.job("fixFunction", "calc.py", "add"))["outcome"] == "failed"
            # The test's file is not even open.
            assert places(ed, "test_calc.py") == [(5, 4, "oci-lsp")]
            assert places(ed, "calc.py") == [(0, 0, "oci-lsp")]
            (at_assert,) = ed.diagnostics[ed.uri("test_calc.py")]
            assert "-1" in at_assert.message
            assert at_assert.severity == lsp.DiagnosticSeverity.Error
            (in_function,) = ed.diagnostics[ed.uri("calc.py")]
            assert in_function.message.startswith("test_calc.py::test_add fails: ")
            assert in_function.related_information
            assert in_function.related_information[0].location.range.start.line == 5

            # From the assert the function can be mended; our own diagnostic is no extra wish.
            ed.open("test_calc.py")
            (action, *_) = await ed.actions("test_calc.py", "assert", diagnostics=[at_assert])
            assert (action.title, action.kind) == ("Fix add until its tests pass", "quickfix")
            answer = await ed.execute(action.command.command, *action.command.arguments)
            end = await ed.ended(answer["jobId"])
            assert end["outcome"] == "passed", end
            assert "diagnostic" not in end["message"]
            assert (places(ed, "test_calc.py"), places(ed, "calc.py")) == ([], [])


async def test_each_failure_of_an_assert_is_offered_its_own_function(tmp_path):
    """They lie in lines of one number, in files of their own."""
    source = "def add(a, b): return a - b\ndef twice(n): return n\n"
    test = "from calc import add, twice\ndef test_both(): assert add(twice(2), 1) == 5\n"
    root = write(tmp_path / "p", {"calc.py": source, "test_calc.py": test})
    async with editor(root) as ed:
        ed.open("calc.py")
        ed.open("test_calc.py")
        for name in ("add", "twice"):
            assert (await ed.job("runTest", "calc.py", name))["outcome"] == "failed"
        found = ed.diagnostics[ed.uri("test_calc.py")]
        actions = await ed.actions("test_calc.py", "assert", diagnostics=found)
        assert [(action.title, list(action.diagnostics)) for action in actions] == [
            ("Fix add until its tests pass", [found[0]]),
            ("Fix twice until its tests pass", [found[1]]),
        ]


async def test_a_test_is_never_what_is_changed(tmp_path):
    root = write(tmp_path / "p", {"calc.py": BUGGY, "test_calc.py": TEST})
    async with editor(root) as ed:
        ed.open("test_calc.py")
        assert await ed.actions("test_calc.py", "assert", only=["refactor"]) == []
        end = await ed.job("fixFunction", "test_calc.py", "test_add")
        assert (end["outcome"], end["attempts"]) == ("error", [])
        assert "tests are never changed" in end["message"]


async def test_a_change_of_either_text_clears_them(tmp_path):
    root = write(tmp_path / "p", {"calc.py": BUGGY, "test_calc.py": TEST})
    async with editor(root) as ed:
        ed.open("calc.py")
        ed.open("test_calc.py")
        for name, old in (("calc.py", "pass"), ("test_calc.py", "total")):
            assert (await ed.job("runTest", "calc.py", "add"))["outcome"] == "failed"
            assert places(ed, "test_calc.py") == [(5, 4, "oci-lsp")]
            ed.type(name, old, old + " ")
            await ed.until(lambda: not places(ed, "test_calc.py"), "no diagnostics")
            await ed.until(lambda: not places(ed, "calc.py"), "no diagnostics")


async def test_the_line_that_raised_in_the_function(tmp_path):
    source = "def first(items):\n    '''\n    >>> first([1])\n    1\n    '''\n    return items[5]\n"
    root = write(tmp_path / "p", {"m.py": source})
    async with editor(root) as ed:
        ed.open("m.py")
        end = await ed.job("runTest", "m.py", "first")
        assert end["outcome"] == "failed"
        assert "IndexError" in end["message"]
        assert [line for line, *_ in places(ed, "m.py")] == [2, 5]


async def test_the_setting_switches_them_off(tmp_path):
    root = write(tmp_path / "p", {"calc.py": BUGGY, "test_calc.py": TEST})
    async with editor(root, options={"diagnostics": False}) as ed:
        ed.open("calc.py")
        assert (await ed.job("runTest", "calc.py", "add"))["outcome"] == "failed"
        assert ed.diagnostics == {}
        titles = [title for _, title, _ in await ed.lenses("calc.py")]
        assert "Run its test again" in titles


async def test_running_a_test_needs_no_model_and_changes_nothing(tmp_path):
    files = {"calc.py": BUGGY.replace("-", "+"), "test_calc.py": TEST}
    root = write(tmp_path / "p", files)
    async with editor(root) as ed:
        ed.open("calc.py")
        end = await ed.job("runTest", "calc.py", "add")
        assert (end["outcome"], end["attempts"]) == ("already_passing", [])
        assert end["message"] == "add: 1 test passed."
        end = await ed.job("runTest", "calc.py", "alone")
        assert end["outcome"] == "no_test"
        assert ed.edits == []


async def test_lenses_stand_over_functions_with_a_test(tmp_path):
    source = (
        f"{BUGGY}\n\nclass Box:\n    def size(self):\n        '''>>> Box().size()\n        1'''\n"
        "        def inner(): pass\n        return 1\n\n\ndef pinned():\n    ...\n"
    )
    pin = '[tool.oci-lsp.tests]\n"calc.py::pinned" = "test_calc.py::test_add"\n'
    root = write(tmp_path / "p", {"calc.py": source, "test_calc.py": TEST, "pyproject.toml": pin})
    refreshing = capabilities(lens_refresh=True)
    async with editor(root, client=refreshing) as ed:
        ed.open("calc.py")
        ed.open("test_calc.py")
        found = await ed.lenses("calc.py")
        lines = source.splitlines()
        assert [(lines[line].strip(), title) for line, title, _ in found] == [
            ("def add(a, b):", "Fix until green"),
            ("def add(a, b):", "Run its test"),
            ("def size(self):", "Fix until green"),
            ("def size(self):", "Run its test"),
            ("def pinned():", "Write until green"),
        ]
        assert await ed.lenses("test_calc.py") == []
        command = found[1][2]
        answer = await ed.execute(command.command, *(command.arguments or ()))
        assert (await ed.ended(answer["jobId"]))["outcome"] == "failed"
        await ed.until(lambda: ed.lens_refreshes, "a refresh")
        assert (await ed.lenses("calc.py"))[1][1] == "Run its test again"


async def test_lenses_are_off_where_the_editor_has_a_test_view(tmp_path):
    root = write(tmp_path / "p", {"calc.py": BUGGY, "test_calc.py": TEST})
    name = lsp.ClientInfo("Visual Studio Code", "1.100")
    async with editor(root, client_info=name) as ed:
        ed.open("calc.py")
        assert await ed.lenses("calc.py") == []
    async with editor(root, client_info=name, options={"codeLens": "on"}) as ed:
        ed.open("calc.py")
        assert len(await ed.lenses("calc.py")) == 2
    async with editor(root, options={"codeLens": "off"}) as ed:
        ed.open("calc.py")
        assert await ed.lenses("calc.py") == []


async def test_what_a_job_does_is_logged_and_traced_as_asked(tmp_path):
    root = write(tmp_path / "p", {"calc.py": BUGGY, "test_calc.py": TEST})
    with ScriptedEngine([fenced(RIGHT)] * 3) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("calc.py")
            traced = []
            for value in (lsp.TraceValue.Off, lsp.TraceValue.Messages, lsp.TraceValue.Verbose):
                ed.client.set_trace(lsp.SetTraceParams(value))
                ed.traced.clear()
                assert (await ed.job("fixFunction", "calc.py", "add"))["outcome"] == "passed"
                traced.append([trace.verbose for trace in ed.traced])
                ed.type("calc.py", "a + b", "a - b")
    off, messages, verbose = traced
    assert off == []
    assert messages
    assert set(messages) == {None}
    assert any("a + b" in (text or "") for text in verbose)
    assert sum("today's code: failed" in line for line in ed.logged) == 3
    assert sum("attempt 1: passed" in line for line in ed.logged) == 3


async def test_progress_shows_the_seconds_of_a_long_step(tmp_path):
    root = write(
        tmp_path / "p",
        {
            "calc.py": BUGGY,
            "test_calc.py": TEST.replace(
                "    total", "    __import__('time').sleep(4)\n    total", 1
            ),
        },
    )
    async with editor(root) as ed:
        ed.open("calc.py")
        assert (await ed.job("runTest", "calc.py", "add"))["outcome"] == "failed"
    seconds = [stage for stage in ed.stages() if stage.endswith(" s") and "\N{MIDDLE DOT}" in stage]
    assert len(seconds) >= 2
    assert seconds[0].startswith("running the test on today's code")
