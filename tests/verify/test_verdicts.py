"""Verdicts on honest candidates: what passes, what fails, and what the failure says."""

from __future__ import annotations

import ast
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from oci_lsp.errors import InterpreterError, SandboxError
from oci_lsp.verify.inside import supervisor
from oci_lsp.verify.verdict import Snippet
from tests.verify.conftest import NODE, Project

GOOD = "def add(a, b):\n    return a + b\n"
BAD = "def add(a, b):\n    return a - b\n"


async def test_passes_and_leaves_the_disk_alone(project: Project):
    before = (project.root / "calc.py").read_bytes()
    report = await project.verify(GOOD)
    assert (report.verdict, report.feedback) == ("passed", "")
    assert [(test.id, test.outcome) for test in report.tests] == [(NODE, "passed")]
    assert (project.root / "calc.py").read_bytes() == before


async def test_failure_leads_with_call_and_values(project: Project):
    report = await project.verify(BAD)
    assert report.verdict == "failed"
    assert report.tests[0].message == "add(2, 3) returned -1, expected 5"
    assert "tests/test_calc.py:7 in test_add" in report.feedback
    assert "site-packages" not in report.feedback
    assert report.feedback.index("returned -1") < report.feedback.index("in test_add")


async def test_exception_names_the_call_and_the_line(project: Project):
    report = await project.verify("def add(a, b):\n    print('seen', a)\n    return a + c\n")
    message = report.tests[0].message
    assert report.verdict == "failed"
    assert message.startswith("add(0, 0)\nNameError: name 'c' is not defined")
    assert "raised at calc.py:3 in add: return a + c" in message
    assert "seen 0" in report.feedback


async def test_missing_exception_is_named(project: Project):
    project.write(
        "tests/test_calc.py",
        "import pytest\nfrom calc import add\n\ndef test_add():\n"
        "    with pytest.raises(TypeError):\n        add(1, 'x')\n",
    )
    report = await project.verify("def add(a, b):\n    return a\n")
    assert report.tests[0].message.startswith("add(1, 'x') did not raise ")


async def test_kinds_of_tests(project: Project):
    project.write(
        "tests/test_kinds.py",
        "import unittest\nimport pytest\nfrom calc import add\n\n"
        "class TestPlain:\n    def test_one(self):\n        assert add(1, 1) == 2\n\n"
        "class Case(unittest.TestCase):\n    def test_two(self):\n"
        "        self.assertEqual(add(2, 3), 5)\n\n"
        "@pytest.mark.parametrize('a', [1, 2])\ndef test_three(a):\n    assert add(a, a) == 2 * a\n"
        "\nasync def helper():\n    pass\n",
    )
    ids = (
        "tests/test_kinds.py::TestPlain::test_one",
        "tests/test_kinds.py::Case::test_two",
        "tests/test_kinds.py::test_three[2]",
    )
    report = await project.verify(GOOD, *ids)
    assert report.verdict == "passed"
    assert tuple(test.id for test in report.tests) == ids
    whole = await project.verify(BAD, "tests/test_kinds.py")
    assert [test.outcome for test in whole.tests] == ["failed"] * 4
    assert whole.tests[1].message.startswith("add(2, 3)\n-1 != 5")


@pytest.mark.parametrize(
    ("decorator", "body", "outcome"),
    [
        ("@pytest.mark.skip", "assert add(1, 1) == 2", "skipped"),
        ("@pytest.mark.xfail", "assert add(1, 1) == 3", "xfailed"),
        ("", "add(1, 1); pytest.skip('later')", "skipped"),
    ],
)
async def test_skip_and_xfail_are_no_passes(project: Project, decorator, body, outcome):
    project.write(
        "tests/test_calc.py",
        f"import pytest\nfrom calc import add\n\n{decorator}\ndef test_add():\n    {body}\n",
    )
    report = await project.verify(GOOD)
    assert (report.verdict, report.tests[0].outcome) == ("failed", outcome)


async def test_deselected_is_no_pass(project: Project):
    project.write("pytest.ini", "[pytest]\naddopts = -k nothing\n")
    report = await project.verify(GOOD)
    assert report.verdict == "failed"
    assert "deselected" in report.summary


async def test_never_called_is_vacuous(project: Project):
    project.write("tests/test_calc.py", "import calc\n\ndef test_add():\n    assert True\n")
    report = await project.verify(GOOD)
    assert report.verdict == "vacuous"
    assert "without calling add" in report.summary


async def test_called_in_a_subprocess_counts(project: Project):
    project.write(
        "tests/test_calc.py",
        "import subprocess, sys\n\ndef test_add():\n    out = subprocess.check_output("
        "[sys.executable, '-c', 'import calc; print(calc.add(2, 3))'])\n"
        "    assert out.strip() == b'5'\n",
    )
    report = await project.verify(GOOD)
    assert report.verdict == "passed"
    assert (await project.verify(BAD)).verdict == "failed"


async def test_missing_id_is_broken(project: Project):
    report = await project.verify(GOOD, "tests/test_calc.py::test_nothing")
    assert report.verdict == "broken"
    assert "test_nothing" in report.summary


async def test_collection_error_is_told_apart(project: Project):
    project.write("tests/test_calc.py", "import nowhere\n\ndef test_add():\n    pass\n")
    broken = await project.verify(GOOD)
    assert broken.verdict == "broken"
    assert "nowhere" in broken.summary
    project.write("tests/test_calc.py", "from calc import add\n\ndef test_add():\n    add(1, 2)\n")
    for text in (
        "def add(a, b):\n    return (\n",
        "import nowhere\ndef add(a, b):\n    return 0\n",
        "def sub(a, b):\n    return 0\n",
    ):
        failed = await project.verify(text)
        assert failed.verdict == "failed", text
        assert "cannot be imported" in failed.summary


async def test_conftest_error_is_broken(project: Project):
    project.write("conftest.py", "raise RuntimeError('no database')\n")
    report = await project.verify(GOOD)
    assert report.verdict == "broken"
    assert "no database" in report.summary


async def test_snippets_and_doctests(project: Project):
    snippets = (
        Snippet("doctest", ">>> add(2, 3)\n5\n", 4),
        Snippet("asserts", "x = 3\nassert add(x, 4) == 7\n", 8),
    )
    assert (await project.verify(GOOD, snippets=snippets)).verdict == "passed"
    report = await project.verify(BAD, snippets=snippets)
    assert [test.message for test in report.tests] == [
        "add(2, 3)\nprinted: -1\nexpected: 5",
        "add(3, 4) returned -1, expected 7",
    ]
    assert report.tests[0].id == "calc.py::doctest 1 (line 5)"
    broken = await project.verify(GOOD, snippets=(Snippet("asserts", "assert ("),))
    assert broken.verdict == "broken"


@pytest.mark.parametrize("package", [True, False])
async def test_snippet_in_a_package_with_relative_imports(project: Project, package: bool):
    project.write("src/pkg/other.py", "ONE = 1\n")
    if package:
        project.write("src/pkg/__init__.py", "")
    text = "from .other import ONE\n\ndef add(a, b):\n    return a + b * ONE\n"
    project.write("src/pkg/sums.py", text)
    project.write("pyproject.toml", "[tool.pytest.ini_options]\npythonpath = ['src']\n")
    snippets = (Snippet("asserts", "assert add(1, 1) == 2"),)
    report = await project.verify(text, file="src/pkg/sums.py", snippets=snippets)
    assert report.verdict == "passed", report.feedback


async def test_ids_and_snippets_together(project: Project):
    snippets = (Snippet("asserts", "assert add(1, 1) == 2"),)
    report = await project.verify(GOOD, NODE, snippets=snippets)
    assert report.verdict == "passed"
    assert len(report.tests) == 2


async def test_unsaved_buffers_are_what_is_tested(project: Project):
    project.write(
        "tests/test_calc.py",
        "import inspect, subprocess, sys\nimport calc, helper\n\ndef test_add():\n"
        "    assert calc.add(1, 1) == helper.TWO == 2\n"
        "    assert 'unsaved' in inspect.getsource(calc.add)\n"
        "    code = 'import calc, helper; print(calc.add(1, 2), helper.TWO)'\n"
        "    assert subprocess.check_output([sys.executable, '-c', code]) == b'3 2\\n'\n",
    )
    helper = project.write("helper.py", "TWO = 3\n")
    text = "def add(a, b):\n    return a + b  # unsaved\n"
    report = await project.verify(text, buffers={helper: "TWO = 2\n"})
    assert report.verdict == "passed", report.feedback
    assert helper.read_text() == "TWO = 3\n"


async def test_stale_bytecode_is_not_used(project: Project):
    # Same size and same whole second as the file on disk that was compiled.
    subprocess.run([sys.executable, "-m", "compileall", "-q", project.root], check=True)
    assert (await project.verify(GOOD)).verdict == "passed"


async def test_strange_path_and_symlink(tmp_path: Path):
    real = Project(tmp_path / "my projéct 日本")
    real.write("calc.py", BAD)
    real.write(
        "tests/test_calc.py", "from calc import add\ndef test_add():\n    assert add(1, 1) == 2\n"
    )
    link = tmp_path / "link"
    link.symlink_to(real.root)
    assert (await Project(link).verify(GOOD)).verdict == "passed"
    assert (await real.verify(BAD)).tests[0].message == "add(1, 1) returned 0, expected 2"


async def test_interpreter_without_pytest(project: Project):
    bare = project.root / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    project.set(interpreter=str(bare))
    with pytest.raises(InterpreterError, match=r"has no pytest[\s\S]*-m pip install pytest"):
        await project.verify(GOOD)


async def test_broken_interpreter(project: Project):
    python = project.write("python", "#!/bin/sh\necho cannot start >&2\nexit 3\n")
    python.chmod(0o755)
    project.set(interpreter=str(python))
    with pytest.raises(InterpreterError, match="cannot start"):
        await project.verify(GOOD)
    project.set(interpreter="nowhere/python")
    with pytest.raises(InterpreterError, match="nowhere"):
        project.verifier()


async def test_candidate_outside_the_project(project: Project, tmp_path: Path):
    run = project.a_run(GOOD, file=str(tmp_path / "else.py"))
    async with project.verifier() as verifier:
        with pytest.raises(SandboxError, match="outside of the project"):
            await verifier.run(run)


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.12", "3.13", "3.14"])
async def test_other_pythons(project: Project, tmp_path: Path, version: str):
    """Where that Python is on PATH: its own pytest, or from 3.12 on a view of ours."""
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", ""], check=False).returncode:
        pytest.skip(f"no python{version} on PATH")
    if subprocess.run([python, "-c", "import pytest"], capture_output=True, check=False).returncode:
        if sys.version_info[:2] > tuple(map(int, version.split("."))):
            pytest.skip(f"python{version} has no pytest, and ours may be too new for it")
        python = str(_with_our_pytest(python, tmp_path / "venv"))
    project.set(interpreter=python)
    report = await project.verify(GOOD)
    assert report.verdict == "passed", report.feedback
    assert (await project.verify(BAD)).tests[0].message == "add(2, 3) returned -1, expected 5"
    project.write("tests/test_calc.py", "import calc\n\ndef test_add():\n    assert True\n")
    assert (await project.verify(GOOD)).verdict == "vacuous"


def _with_our_pytest(python: str, venv: Path) -> Path:
    subprocess.run([python, "-m", "venv", "--without-pip", venv], check=True)
    (site,) = venv.glob("lib/python3.*/site-packages")
    for name in ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "py"):
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        origin = Path(spec.origin)
        origin = origin.parent if origin.name == "__init__.py" else origin
        (site / origin.name).symlink_to(origin)
        for metadata in origin.parent.glob(f"{name}-*.dist-info"):
            (site / metadata.name).symlink_to(metadata)
    return venv


def test_the_drivers_side_is_valid_for_python_3_9():
    for name in (
        "driver",
        "session",
        "channel",
        "control",
        "probe",
        "plugin",
        "explain",
        "snippets",
    ):
        path = Path(supervisor.__file__).with_name(f"{name}.py")
        ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
