"""Examples are read with the project's doctest options, pytest's own ones too."""

from __future__ import annotations

import pytest

from oci_lsp.verify.verdict import Snippet
from tests.verify.conftest import Project

CODE = "def add(a, b):\n    return a + b\n"
EXAMPLES = ">>> add('a', 'b')\nu'ab'\n"


@pytest.mark.parametrize(
    ("option", "text", "verdict"),
    [
        ("ALLOW_UNICODE", EXAMPLES, "passed"),
        ("", EXAMPLES, "failed"),
        ("", EXAMPLES.replace("\nu", "  # doctest: +ALLOW_UNICODE\nu"), "passed"),
        ("NUMBER", ">>> add(0.1, 0.2)\n0.30\n", "passed"),
        ("", ">>> add(0.1, 0.2)\n0.30\n", "failed"),
    ],
)
async def test_pytests_own_options_count(project: Project, option, text, verdict):
    options = f"[tool.pytest.ini_options]\ndoctest_optionflags = '{option}'\n"
    project.write("pyproject.toml", options)
    report = await project.verify(CODE, snippets=(Snippet("doctest", text, 4),))
    assert report.verdict == verdict, report.feedback
