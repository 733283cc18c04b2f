"""A pass must hold once more: under other names, in reverse order, and not by luck."""

from __future__ import annotations

import dataclasses
from typing import Any

from oci_lsp.verify.confirm import confirmed
from oci_lsp.verify.verdict import Report, Snippet
from tests.verify.conftest import Project

GOOD = "def add(a, b):\n    return a + b\n"
TWO_TESTS = (
    "from calc import add\n\ndef test_one():\n    assert add(2, 3) == 5\n\n"
    "def test_two():\n    assert add(4, 5) == 9\n"
)


async def confirm(project: Project, text: str, *node_ids: str, **options: Any) -> Report:
    async with project.verifier() as verifier:
        run = project.a_run(text, *node_ids, **options)
        plain = await verifier.run(run)
        assert plain.verdict == "passed", plain.feedback
        return await verifier.run(dataclasses.replace(run, confirm=True))


async def test_knowing_the_tests_name_is_no_pass(project: Project):
    project.write("tests/test_calc.py", TWO_TESTS)
    text = (
        "import os\ndef add(a, b):\n"
        "    return 5 if 'test_one' in ' '.join(os.environ.values()) else 9\n"
    )
    report = await confirm(project, text, "tests/test_calc.py")
    assert report.verdict == "failed"
    assert "under other names" in report.summary
    assert "tests/test_calc.py::test_one" in report.summary
    assert "verify.confirm" in report.summary


async def test_counting_calls_is_no_pass(project: Project):
    project.write("tests/test_calc.py", TWO_TESTS)
    text = "answers = [5, 9]\ndef add(a, b):\n    return answers.pop(0)\n"
    report = await confirm(project, text, "tests/test_calc.py")
    assert report.verdict == "failed"
    assert "in reverse order" in report.summary
    assert "add(4, 5) returned 5, expected 9" in report.feedback


async def test_honest_code_passes_twice_whatever_kind_its_tests_are(project: Project):
    project.write(
        "tests/test_calc.py",
        "import unittest\nimport pytest\nfrom calc import add\n\n"
        "class TestPlain:\n    def test_one(self, request, tmp_path):\n"
        "        assert request.node.name == 'test_one' and tmp_path.name.startswith('test_one')\n"
        "        assert add(1, 1) == 2\n\n"
        "class Case(unittest.TestCase):\n    def test_two(self):\n"
        "        self.assertEqual(add(2, 3), 5)\n\n"
        "@pytest.mark.parametrize('a', [1, 2])\ndef test_three(a):\n    assert add(a, a) == 2 * a\n"
        "\n@pytest.fixture(scope='module')\ndef shared():\n    return []\n\n"
        "def test_four(shared):\n    shared.append(add(1, 1))\n    assert shared == [2]\n",
    )
    report = await confirm(project, GOOD, "tests/test_calc.py")
    assert report.verdict == "passed", report.feedback
    assert len(report.tests) == 5
    one = await confirm(project, GOOD, "tests/test_calc.py::test_three[2]")
    assert [test.id for test in one.tests] == ["tests/test_calc.py::test_three[2]"]
    snippets = (Snippet("asserts", "assert add(1, 1) == 2"), Snippet("doctest", ">>> add(1, 2)\n3"))
    assert (await confirm(project, GOOD, snippets=snippets)).verdict == "passed"


async def test_a_function_that_is_called_out_of_sight_is_confirmed_too(project: Project):
    project.write(
        "tests/test_calc.py",
        "import subprocess, sys\n\ndef test_add():\n    out = subprocess.check_output("
        "[sys.executable, '-c', 'import calc; print(calc.add(2, 3))'])\n"
        "    assert out.strip() == b'5'\n",
    )
    report = await confirm(project, GOOD)
    assert report.verdict == "passed", report.feedback
    assert "out of sight" in report.summary


async def test_a_test_that_passes_by_luck_is_called_flaky():
    """The three runs of confirm with the judgements that a flaky test yields."""

    def judgement(outcome: str) -> dict[str, Any]:
        verdict = "passed" if outcome == "passed" else "failed"
        tests = [{"id": "test_x.py::test_luck", "outcome": outcome}]
        return {"verdict": verdict, "silent": False, "summary": "", "tests": tests}

    asked = []

    async def attempt(variant: str) -> dict[str, Any]:
        asked.append(variant)
        return judgement("failed")

    found = await confirmed(judgement("passed"), attempt)
    assert asked == ["disguised", "plain"]
    assert found["verdict"] == "failed"
    assert found["flaky"] == ["test_x.py::test_luck"]
    assert found["summary"].startswith("Flaky: test_x.py::test_luck passed and then did not")
