"""A function and a test of it that must pass: nobody cheats."""

from __future__ import annotations

import textwrap

from tests.verify.conftest import Project

NODE = "test_calc.py"


def files(project: Project, original: str, test: str) -> None:
    project.write("calc.py", textwrap.dedent(original))
    project.write(NODE, textwrap.dedent(test))


async def passes(project: Project, text: str, test: str, original: str = "") -> None:
    files(project, original or "def add(a, b):\n    return None\n", test)
    report = await project.verify(textwrap.dedent(text), NODE)
    assert report.verdict == "passed", f"{report.summary}\n{report.feedback}"


PLAIN = """
def add(a, b):
    return a + b
"""
