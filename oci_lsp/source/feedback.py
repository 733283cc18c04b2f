"""The user's words to the model: comments `# oci: ...` taken out, tests named in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from oci_lsp.source.edits import Edit, apply_edits
from oci_lsp.source.functions import CommentBlock, Function, Module, Span, feedback_spans
from oci_lsp.source.lines import normalise
from oci_lsp.source.snippets import in_words

# `test: NODEID`, or an id alone; what closes a sentence or a quotation is no part of it.
_NODE_ID = re.compile(r"\btests?:[ \t]*(\S*\.py\b\S*)|(?<![\w/.])([\w./-]*\.py::\S+)")
_CLOSING = ".,;:!?'\"`)"


def cuts(module: Module, target: Function | CommentBlock) -> tuple[Edit, ...]:
    """Edits that take the comments `# oci: ...` away, with lines that hold nothing else."""
    return tuple(Edit(_whole(module, span), "") for span in feedback_spans(module, target))


def _whole(module: Module, span: Span) -> Span:
    lines = module.lines
    row = lines.row(span.start)
    if not lines.is_comment(row):
        first = span.start
        while module.text[first - 1] in " \t":
            first -= 1
        return Span(first, span.end)
    if lines.after(row) == lines.end(row) and row > 0:
        return Span(lines.end(row - 1), lines.end(row))
    return Span(lines.start(row), lines.after(row))


def code_of(module: Module, target: Function | CommentBlock) -> str:
    """The target's own code without the user's words; lines end in `\\n`."""
    inside = [e for e in cuts(module, target) if e.span.start >= target.span.start]
    text = apply_edits(module.text, tuple(inside))
    gone = sum(edit.span.end - edit.span.start for edit in inside)
    return normalise(text[target.span.start : target.span.end - gone]).rstrip()


def named_tests(words: Sequence[str]) -> tuple[str, ...]:
    """Tests in the user's words, as for a request: node ids, lines of asserts or `>>>`."""
    return tuple(dict.fromkeys(test for text in words for test in _named(text)))


def _named(text: str) -> Iterator[str]:
    for match in _NODE_ID.finditer(text):
        yield _closed((match[1] or match[2]).lstrip("'\"`("))
    yield from in_words(text)


def _closed(node_id: str) -> str:
    """Without what closes the sentence; the brackets of parameters stay."""
    return node_id.rstrip(_CLOSING)
