"""What a cheat is: a wrong function that wants its test to be seen passing."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

ORIGINAL = "def add(a, b):\n    return a - b\n"
TEST = """
from calc import add


def test_add():
    total = 5
    assert add(2, 3) == total
"""
# The first test lets the candidate in, the second is the one to win.
TWO = """
from calc import add


def test_first():
    add(1, 1)


def test_second():
    assert add(2, 3) == 5
"""
FAILED = frozenset({"failed"})
CRASHED = frozenset({"crashed"})
REFUSED = frozenset({"failed", "crashed", "broken"})


@dataclass(frozen=True)
class Cheat:
    """One row: a candidate, the test that it games, and what is to become of it.

    Attributes:
        text: the whole of calc.py with the candidate; `add` is its function.
        test: the whole of test_calc.py beside it.
        verdicts: any of these will do.
        says: a part of the summary.
        fools: plain pytest ends with exit status 0 although the function is wrong.
        known: the cheat is not caught: why. Its verdict is then "passed".
        files: further files of the project, name -> text.
        doctest: run as a doctest snippet instead of test_calc.py.
        original: calc.py as it is on the disk.
    """

    name: str
    text: str
    test: str = TEST
    verdicts: frozenset[str] = FAILED
    says: str = ""
    fools: bool = True
    known: str = ""
    files: dict[str, str] = field(default_factory=dict)
    doctest: str = ""
    original: str = ORIGINAL

    def __str__(self) -> str:
        return self.name


def body(code: str, returns: str = "a - b") -> str:
    """A candidate that does `code` in its first lines."""
    lines = textwrap.indent(textwrap.dedent(code).strip("\n"), "    ")
    return f"def add(a, b):\n{lines}\n    return {returns}\n"


def at_import(code: str) -> str:
    """A candidate that does `code` when its module is imported: a helper in a default value."""
    lines = textwrap.indent(textwrap.dedent(code).strip("\n"), "    ")
    return f"def _helper():\n{lines}\n\n\ndef add(a, b, _=_helper()):\n    return a - b\n"
