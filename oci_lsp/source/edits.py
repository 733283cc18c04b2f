"""Minimal line edits between two versions of a text."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher

from oci_lsp.source.functions import Span
from oci_lsp.source.lines import split_lines

# Beyond this many lines those that occur often (blank ones, `return`) would make the comparison
# quadratic: it then looks for the others first.
_COMPARED_LINES = 1000


@dataclass(frozen=True)
class Edit:
    """Replace `span` of the old text (code points, 0-based, half-open) by `replacement`."""

    span: Span
    replacement: str


def minimal_edits(old: str, new: str) -> tuple[Edit, ...]:
    """Edits of whole lines that turn `old` into `new`: ascending, apart, only where they differ.

    Every position counts in `old`. Lines keep their line ends, so CRLF is never cut in two.
    """
    before = [content + end for content, end in split_lines(old)]
    after = [content + end for content, end in split_lines(new)]
    first, limit = 0, min(len(before), len(after))
    while first < limit and before[first] == after[first]:
        first += 1
    last = 0
    while last < limit - first and before[-1 - last] == after[-1 - last]:
        last += 1
    offset = sum(map(len, before[:first]))
    before, after = before[first : len(before) - last], after[first : len(after) - last]
    if not before and not after:
        return ()
    starts = [offset]
    for line in before:
        starts.append(starts[-1] + len(line))
    long = max(len(before), len(after)) > _COMPARED_LINES
    codes = SequenceMatcher(None, before, after, autojunk=long).get_opcodes()
    return tuple(
        Edit(Span(starts[a], starts[b]), "".join(after[c:d]))
        for kind, a, b, c, d in codes
        if kind != "equal"
    )


def apply_edits(text: str, edits: tuple[Edit, ...]) -> str:
    """`text` after edits that are ascending and apart."""
    pieces, position = [], 0
    for edit in edits:
        pieces += [text[position : edit.span.start], edit.replacement]
        position = edit.span.end
    return "".join([*pieces, text[position:]])
