"""Lines of a text with any mix of line ends: where each starts, its indentation, what it holds."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate, count
from operator import add

_LINE_END = re.compile(r"\r\n?|\n")
_INDENT = re.compile(r"\ufeff?([ \t\f]*)")


def newline_of(text: str, default: str = "\n") -> str:
    """The first line end of `text`: `\\r\\n`, `\\n` or `\\r`."""
    match = _LINE_END.search(text)
    return match.group() if match else default


def split_lines(text: str) -> list[tuple[str, str]]:
    """(content, line end) of each line; the last has an empty line end and may be empty itself."""
    pieces: list[tuple[str, str]] = []
    start = 0
    for match in _LINE_END.finditer(text):
        pieces.append((text[start : match.start()], match.group()))
        start = match.end()
    pieces.append((text[start:], ""))
    return pieces


def normalise(text: str) -> str:
    """`text` with every line end as `\\n`."""
    return _LINE_END.sub("\n", text)


def width(indent: str) -> int:
    """Columns of leading white space as Python counts them: a tab goes to a multiple of 8."""
    if indent.isspace() and ("\t" in indent or "\f" in indent):
        return len(indent.rpartition("\f")[2].expandtabs(8))
    return len(indent)


def _bounds(text: str) -> tuple[list[int], list[int]]:
    """Where each line starts, and where its content ends."""
    end = newline_of(text)
    # A file's line ends are nearly always alike; a split then takes a third of the time, of which
    # a large file has two or three milliseconds at every key.
    step, feeds = len(end), text.count("\n")
    if text.count(end) == feeds and text.count("\r") == feeds * (step - 1):
        sizes = accumulate(map(len, text.split(end)))
        ends = list(map(add, sizes, count(0, step)))
        return [0, *map(step.__add__, ends[:-1])], ends
    matches = list(_LINE_END.finditer(text))
    return [0, *[m.end() for m in matches]], [*[m.start() for m in matches], len(text)]


class Lines:
    """Rows (0-based) of a text; offsets are code points, 0-based."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts, self._ends = _bounds(text)

    def __len__(self) -> int:
        return len(self._starts)

    def row(self, offset: int) -> int:
        """The row that holds `offset`; a line's end belongs to the line."""
        return bisect_right(self._starts, offset) - 1

    def start(self, row: int) -> int:
        return self._starts[row]

    def end(self, row: int) -> int:
        """Where the line's content ends, before its line end."""
        return self._ends[row]

    def after(self, row: int) -> int:
        """Where the next line starts, or the end of the text."""
        return self._starts[row + 1] if row + 1 < len(self._starts) else len(self.text)

    def content(self, row: int) -> str:
        return self.text[self._starts[row] : self._ends[row]]

    def indent(self, row: int) -> str:
        """Leading white space, without a byte order mark."""
        match = _INDENT.match(self.text, self._starts[row], self._ends[row])
        return match.group(1) if match else ""

    def code_start(self, row: int) -> int:
        """Offset of the first character that is not white space, or the line's end."""
        match = _INDENT.match(self.text, self._starts[row], self._ends[row])
        return match.end() if match else self._starts[row]

    def is_blank(self, row: int) -> bool:
        return not self.content(row).strip()

    def is_comment(self, row: int) -> bool:
        """The line holds a comment and nothing else."""
        return self.text.startswith("#", self.code_start(row)) and not self.is_blank(row)
