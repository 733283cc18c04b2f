"""The whole way with nothing scripted: an LSP client, the server, the 0.5B in NF4, real kernels.

What the model writes is its own; what is asserted is what must hold of any reply that passed.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from lsprotocol import types as lsp

from tests.lsp.editor import editor
from tests.lsp.recordings import recorded, speaker
from tests.projects import write

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]

# Six candidates and three turns: the smallest model must have its chances on a loaded machine.
REFINE = {"candidates": 6, "turns": 3, "seconds": 800.0, "maxTokens": 400}
SECONDS = 850.0

MEDIAN = '''def median(numbers):
    """The middle number; of an even count, the mean of the two in the middle."""
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    return ordered[middle]
'''
TEST_MEDIAN = """from stats import median


def test_odd():
    assert median([5, 1, 3]) == 3


def test_even():
    assert median([4, 1, 3, 2]) == 2.5
"""
COMMENT = """# function: is_even(number) -> True if the number is even, else False
# >>> is_even(4)
# True
# >>> is_even(7)
# False
"""


async def finish(made, job_id):
    await made.until(lambda: job_id in made.finished, f"the end of {job_id}", SECONDS)
    return made.finished[job_id]


async def run_action(made, action):
    command = action.command
    job_id = (await made.execute(command.command, *command.arguments))["jobId"]
    return await finish(made, job_id)


def pytest_outside(root, name, text):
    """The project's tests on the buffer's text, without any part of ours."""
    (root / name).write_text(text, newline="")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


async def test_fix_a_bug_with_a_pytest_test(tmp_path, real_engine):
    root = write(tmp_path / "p", {"stats.py": MEDIAN, "test_stats.py": TEST_MEDIAN})
    async with editor(root, options={"engine": real_engine, "refine": REFINE}) as made:
        made.open("stats.py")
        actions = await made.actions("stats.py", "def median", only=["refactor.rewrite.fix"])
        result = await run_action(made, actions[0])
        assert result["outcome"] == "passed", result
        text = made.text("stats.py")
        assert made.edits[-1].version == 1
        assert made.versions[made.uri("stats.py")] == 2
    assert text != MEDIAN
    assert (root / "stats.py").read_text() == MEDIAN
    pytest_outside(root, "stats.py", text)


async def test_generate_from_a_comment_with_a_doctest(tmp_path, real_engine):
    root = write(tmp_path / "p", {"numbers_.py": COMMENT})
    async with editor(root, options={"engine": real_engine, "refine": REFINE}) as made:
        made.open("numbers_.py")
        actions = await made.actions(
            "numbers_.py", "# function", only=["refactor.rewrite.generate"]
        )
        result = await run_action(made, actions[0])
        assert result["outcome"] == "passed", result
        text = made.text("numbers_.py")
        assert made.versions[made.uri("numbers_.py")] == 2
    assert text.startswith(COMMENT)
    assert (root / "numbers_.py").read_text() == COMMENT
    module: dict[str, object] = {}
    exec(text, module)
    is_even = module["is_even"]
    assert [is_even(n) for n in (4, 7)] == [True, False]  # type: ignore[operator]


async def test_fix_from_a_diagnostic_in_the_real_vs_code(tmp_path, real_engine):
    """As the recorded editor; emoji, tabs and CRLF in the file."""
    code = "# \U0001f44b\r\ndef greet(name):\r\n\treturn 'Hello, ' + nam + '!'\r\n"
    test = (
        "from hello import greet\n\n\ndef test_greet():\n    assert greet('Ada') == 'Hello, Ada!'\n"
    )
    root = write(tmp_path / "p", {"hello.py": code, "test_hello.py": test})
    client = recorded("visual_studio_code_v1.100.json")
    speaking, _ = speaker(client)
    options = {"engine": real_engine, "refine": REFINE}
    async with editor(root, options=options, client=client, speaking=speaking) as made:
        made.open("hello.py")
        at = made.position(code, code.index("nam +"))
        here = lsp.Range(at, lsp.Position(at.line, at.character + 3))
        problem = lsp.Diagnostic(here, "Undefined name `nam`", source="Ruff", code="F821")
        actions = await made.actions("hello.py", "nam +", only=["quickfix"], diagnostics=[problem])
        assert list(actions[0].diagnostics) == [problem]
        result = await run_action(made, actions[0])
        assert result["outcome"] == "passed", result
        assert "diagnostic itself was not checked" in result["message"]
        text = made.text("hello.py")
        assert made.versions[made.uri("hello.py")] == 2
    assert (root / "hello.py").read_bytes().decode() == code
    assert text.startswith("# \U0001f44b\r\ndef greet(name):\r\n\t")
    assert text.count("\n") == text.count("\r\n")
    pytest_outside(root, "hello.py", text)


async def test_refine_with_human_feedback(tmp_path, real_engine):
    code = "def double(n):\n    return n + 3\n"
    test = "from twice import double\n\n\ndef test_double():\n    assert double(4) == 8\n"
    root = write(tmp_path / "p", {"twice.py": code, "test_twice.py": test})
    async with editor(root, options={"engine": real_engine, "refine": REFINE}) as made:
        made.open("twice.py")
        first = await finish(made, await made.start("fixFunction", "twice.py", "double"))
        assert first["outcome"] == "passed", first
        fixed = made.text("twice.py")
        words = "Add a docstring that says what the function does."
        job = await made.start("refineWithFeedback", "twice.py", "double", feedback=words)
        second = await finish(made, job)
        assert second["outcome"] == "passed", second
        text = made.text("twice.py")
        assert text != fixed
        assert made.versions[made.uri("twice.py")] == 3
    assert (root / "twice.py").read_text() == code
    pytest_outside(root, "twice.py", text)


def test_the_command_line_and_its_figures(tmp_path, real_engine):
    root = write(tmp_path / "p", {"stats.py": MEDIAN, "test_stats.py": TEST_MEDIAN})
    sets = [
        f"engine.model={real_engine['model']}",
        "refine.candidates=6",
        "refine.turns=3",
        "refine.seconds=800",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "oci_lsp", "fix", "stats.py::median", "--json", "--apply"]
        + [word for item in sets for word in ("--set", item)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    result = json.loads(done.stdout)
    assert result["outcome"] == "passed", done.stderr
    assert done.returncode == 0
    assert result["model"] == real_engine["model"]
    assert all(attempt["completion_tokens"] > 0 for attempt in result["attempts"])
    assert all(attempt["prompt_tokens"] > 100 for attempt in result["attempts"])
    pytest_outside(root, "stats.py", (root / "stats.py").read_text())
