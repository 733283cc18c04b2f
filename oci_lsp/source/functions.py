"""Functions and comment blocks of a possibly broken buffer: where they are and what they hold."""

from __future__ import annotations

import re
import textwrap
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

from oci_lsp.source.build import from_node, from_outline, outer_of
from oci_lsp.source.elements import CommentBlock, Function, Span
from oci_lsp.source.lines import Lines
from oci_lsp.source.recovery import Outline, outlines
from oci_lsp.source.syntax import Syntax, common_prefix, common_suffix

__all__ = [
    "CommentBlock",
    "Function",
    "Module",
    "Span",
    "feedback_lines",
    "feedback_spans",
    "parse",
]

_STUB = re.compile(
    r"\s*+(?:(?:\.\.\.|pass\b|raise\s++NotImplementedError(?:\s*+\([^()]*\))?|;|#[^\r\n]*+)\s*+)*+"
)
_FEEDBACK = re.compile(r"#[ \t]*oci:[ \t]*(?P<words>[^\r\n]*)", re.IGNORECASE)
# Below this size a fresh parse costs less than looking for a tree to reuse (bytes of text).
_WORTH_REUSING = 20_000
# A comment that is no description of anything: interpreter line, coding, rulers, tool switches.
_NO_DESCRIPTION = re.compile(r"!|.*coding[:=]|\W*$|\s*(?:noqa|type:|mypy:|ruff:|pylint:|fmt:|%%)")
_OTHER_VERSION = re.compile(r"@\s*(?:[\w.]+\.(?:setter|deleter)|(?:\w+\.)?overload)\b")


@dataclass(frozen=True)
class _Region:
    """A stretch of the text that the tree cannot be trusted for."""

    start: int
    end: int
    functions: tuple[Outline, ...]


class Module:
    """One version of a buffer's text; all but the tree is computed when asked for."""

    def __init__(self, text: str, old: Module | None = None) -> None:
        self.text = text
        self.syntax: Syntax = Syntax(text, old.syntax if old else None)

    @property
    def lines(self) -> Lines:
        return self.syntax.lines

    @property
    def broken(self) -> bool:
        """The tree holds an error anywhere."""
        return self.syntax.root.has_error

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """Every function, in order of its start; an outer one before its inner ones."""
        nodes = self.syntax.captures("(function_definition) @f", "f")
        found = [
            from_node(self.syntax, n)
            for n in nodes
            if not self._region_at(self.syntax.start(outer_of(n)))
        ]
        found += [from_outline(self.lines, o) for region in self._regions for o in region.functions]
        return tuple(sorted(found, key=lambda f: (f.span.start, -f.span.end)))

    @cached_property
    def imports(self) -> tuple[Span, ...]:
        """Import statements at module level, those in `if` and `try` blocks too."""
        pattern = (
            "[(import_statement) (import_from_statement) (future_import_statement)] @statement"
        )
        found = []
        for node in self.syntax.captures(pattern, "statement"):
            parent = node.parent
            while parent and parent.type not in ("function_definition", "class_definition"):
                parent = parent.parent
            if parent is None:
                found.append(Span(self.syntax.start(node), self.syntax.end(node)))
        return tuple(sorted(found))

    def at(self, offset: int) -> Function | None:
        """The innermost function whose lines, or leading comment's lines, hold `offset`."""
        row = self.lines.row(min(max(offset, 0), len(self.text)))
        if self.lines.is_blank(row):
            for function in self._around(offset):
                if function.span.start <= offset <= function.span.end:
                    return function
            return None
        if self.lines.is_comment(row):
            below = row
            while below + 1 < len(self.lines) and self._same_block(below, below + 1):
                below += 1
            if below + 1 < len(self.lines):
                for function in self._around(self.lines.code_start(below + 1)):
                    if function.comment and function.comment.end == self.lines.end(below):
                        return function
            while row > 0 and (self.lines.is_comment(row) or self.lines.is_blank(row)):
                row -= 1
        wanted = self.lines.row(offset)
        for function in self._around(self.lines.code_start(row)):
            if function.lines[0] <= wanted <= function.lines[1]:
                return function
        return None

    def named(self, qualname: str) -> Function | None:
        """The function of that dotted name: of several the last, an accessor's getter."""
        found = [f for f in self.functions if f.qualname == qualname]
        plain = [f for f in found if not any(_OTHER_VERSION.match(d) for d in f.decorators)]
        return next(reversed(plain or found), None)

    def comment_at(self, start: int, end: int | None = None) -> CommentBlock | None:
        """The comment lines at `start`, or in the selection `start` to `end`, outside functions.

        A selection joins blocks that only blank lines part. None where there is no comment, or it
        belongs to a function, or it describes nothing (an interpreter line, a ruler).
        """
        lines = self.lines
        first, last = lines.row(start), lines.row(start if end is None else max(start, end))
        if end is not None and end > start and last > first and lines.start(last) == end:
            last -= 1
        while first < last and lines.is_blank(first):
            first += 1
        while last > first and lines.is_blank(last):
            last -= 1
        rows = [row for row in range(first, last + 1) if not lines.is_blank(row)]
        if not rows or not all(self._is_comment(row) for row in rows):
            return None
        while rows[0] > 0 and self._same_block(rows[0] - 1, rows[0]):
            rows.insert(0, rows[0] - 1)
        while rows[-1] + 1 < len(lines) and self._same_block(rows[-1], rows[-1] + 1):
            rows.append(rows[-1] + 1)
        if self.at(lines.code_start(rows[0])) or self.at(lines.code_start(rows[-1])):
            return None
        words = [lines.text[lines.code_start(row) + 1 : lines.end(row)] for row in rows]
        if all(_NO_DESCRIPTION.match(line) for line in words):
            return None
        return CommentBlock(
            span=Span(lines.code_start(rows[0]), lines.end(rows[-1])),
            text=textwrap.dedent("\n".join(words)),
            indent=lines.indent(rows[0]),
            line=rows[0],
        )

    def is_stub(self, function: Function) -> bool:
        """The body does nothing yet: `...`, `pass`, `raise NotImplementedError`, a docstring."""
        start = function.docstring_span.end if function.docstring_span else function.body.start
        return bool(_STUB.fullmatch(self.text, start, function.span.end))

    def comments(self, function: Function) -> tuple[Span, ...]:
        """Comments of the function and above it, those of functions inside it left out."""
        inner = [f.span for f in self._inside(function)]
        found = []
        first = function.comment.start if function.comment else function.span.start
        for node in self.syntax.captures("(comment) @c", "c"):
            span = Span(self.syntax.start(node), self.syntax.end(node))
            if first <= span.start < function.span.end and not any(
                s.start <= span.start < s.end for s in inner
            ):
                found.append(span)
        return tuple(sorted(found))

    def _inside(self, function: Function) -> Iterator[Function]:
        for other in self.functions:
            if function.span.start < other.span.start and other.span.end <= function.span.end:
                yield other

    def _is_comment(self, row: int) -> bool:
        """A comment line that is no line of a string."""
        if not self.lines.is_comment(row):
            return False
        byte = self.syntax.byte(self.lines.code_start(row))
        node = self.syntax.root.descendant_for_byte_range(byte, byte + 1)
        return node is None or node.type == "comment" or self.broken

    def _same_block(self, upper: int, lower: int) -> bool:
        return (
            self.lines.is_comment(upper)
            and self.lines.is_comment(lower)
            and self.lines.indent(upper) == self.lines.indent(lower)
        )

    def _around(self, offset: int) -> Iterator[Function]:
        """Functions whose code holds `offset`, the innermost first."""
        region = self._region_at(offset)
        if region:
            holding = [o for o in region.functions if o.start <= offset <= o.end]
            for outline in sorted(holding, key=lambda o: -o.start):
                yield from_outline(self.lines, outline)
            return
        byte = self.syntax.byte(offset)
        node = self.syntax.root.descendant_for_byte_range(byte, byte)
        while node:
            if node.type == "decorated_definition":
                definition = node.child_by_field_name("definition")
                if definition and definition.type == "function_definition":
                    yield from_node(self.syntax, definition)
            elif node.type == "function_definition" and outer_of(node) == node:
                yield from_node(self.syntax, node)
            node = node.parent

    @cached_property
    def _regions(self) -> tuple[_Region, ...]:
        """Runs of top-level nodes that hold errors, or that errors have torn out of a block."""
        if not self.broken:
            return ()
        torn: list[tuple[int, int]] = []
        open_since: int | None = None
        above: int | None = None
        for node in self.syntax.root.children:
            trusted = (
                self.syntax.at_margin(node)
                and not node.has_error
                and node.type.endswith(("_statement", "_definition", "comment"))
            )
            if not trusted and open_since is None:
                # A class above may go on below the error.
                open_since = node.start_point.row if above is None else above
            elif trusted and open_since is not None and node.type != "comment":
                torn.append((open_since, node.start_point.row - 1))
                open_since = None
            if node.type != "comment":
                above = node.start_point.row if node.type.endswith("_definition") else None
        if open_since is not None:
            torn.append((open_since, len(self.lines) - 1))
        return tuple(
            _Region(
                self.lines.start(first),
                self.lines.end(last),
                tuple(outlines(self.lines, first, last)),
            )
            for first, last in torn
            if first <= last
        )

    def _region_at(self, offset: int) -> _Region | None:
        for region in self._regions:
            if region.start <= offset <= region.end:
                return region
        return None


_recent: deque[Module] = deque(maxlen=8)
_recent_lock = Lock()


def parse(text: str) -> Module:
    """The module of `text`; never raises. Equal texts share one, a small edit reuses its tree.

    Safe to call from several threads.
    """
    with _recent_lock:
        known = list(_recent)
    for module in known:
        if module.text == text:
            return module
    module = Module(text, _nearest(text, known))
    with _recent_lock:
        _recent.appendleft(module)
    return module


def _nearest(text: str, known: list[Module]) -> Module | None:
    """A version of the same buffer: nine tenths of the text are the same at its ends."""
    if len(text) < _WORTH_REUSING:
        return None
    for module in known:
        old = module.text
        if abs(len(old) - len(text)) * 10 < len(text):
            shared = common_prefix(old, text) + common_suffix(old, text)
            if shared * 10 >= len(text) * 9:
                return module
    return None


def feedback_lines(module: Module, target: Function | CommentBlock) -> tuple[str, ...]:
    """The user's words in comments `# oci: ...` inside the function or right above it."""
    return tuple(
        match["words"].strip()
        for span in feedback_spans(module, target)
        if (match := _FEEDBACK.match(module.text, span.start)) and match["words"].strip()
    )


def feedback_spans(module: Module, target: Function | CommentBlock) -> tuple[Span, ...]:
    """Where the comments `# oci: ...` stand, in order; their line ends are not part of them."""
    if isinstance(target, Function):
        spans = module.comments(target)
    else:
        first, last = (module.lines.row(offset) for offset in (target.span.start, target.span.end))
        spans = tuple(
            Span(module.lines.code_start(row), module.lines.end(row))
            for row in range(first, last + 1)
            if module.lines.is_comment(row)
        )
    return tuple(span for span in spans if _FEEDBACK.match(module.text, span.start, span.end))
