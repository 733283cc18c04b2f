"""What a report says of tests that were not collected, not installed for, or skipped."""

from __future__ import annotations

import pytest

from tests.verify.conftest import NODE, Project

GOOD = "def add(a, b):\n    return a + b\n"


@pytest.mark.parametrize("where", ["tests/test_calc.py", "conftest.py"])
async def test_a_failed_collection_calls_no_test_missing(project: Project, where: str):
    project.write("tests/test_other.py", "def test_it():\n    pass\n")
    project.write(where, "import nowhere\n\ndef test_add():\n    pass\n")
    report = await project.verify(GOOD, NODE, "tests/test_other.py::test_it")
    assert report.verdict == "broken"
    assert report.tests == ()
    assert "no such test" not in report.feedback
    assert "tests ran with" in report.summary and "pythonpath" in report.summary


async def test_a_test_that_does_not_exist_is_missing(project: Project):
    report = await project.verify(GOOD, NODE + "_none")
    assert [(test.id, test.outcome) for test in report.tests] == [(NODE + "_none", "missing")]


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("@pytest.mark.skip('not today')\n", "pass"),
        ("@pytest.mark.skipif(True, reason='not today')\n", "pass"),
        ("", "pytest.skip('not today')"),
    ],
)
async def test_a_skipped_test_gives_its_reason_only(project: Project, head: str, body: str):
    project.write("tests/test_calc.py", f"import pytest\n\n{head}def test_add():\n    {body}\n")
    report = await project.verify(GOOD)
    assert (report.tests[0].message, report.tests[0].details) == ("skipped: not today", "")
