"""What a module is made of for us: spans, functions, comment blocks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Span:
    """A half-open stretch of text in code points, 0-based."""

    start: int
    end: int

    def of(self, text: str) -> str:
        return text[self.start : self.end]


@dataclass(frozen=True)
class Function:
    """A function or method as it stands in the buffer."""

    name: str
    qualname: str
    """Dotted, without `<locals>`: `Cls.meth`, `outer.inner`."""
    span: Span
    """First decorator to the end of the body and its comments, without the last line end."""
    definition: Span
    """From `def` or `async` to the end of `span`."""
    body: Span
    signature: str
    """From `def` or `async` through the colon."""
    decorators: tuple[str, ...]
    docstring: str | None
    """Evaluated, not cleaned."""
    docstring_span: Span | None
    indent: str
    """Leading white space of the `def` line."""
    is_async: bool
    owner: str | None
    """Qualname of the class whose method it is."""
    comment: Span | None
    """Comment lines directly above, from the first `#` to the end of the last line."""
    lines: tuple[int, int]
    """First and last row of `span`, 0-based, inclusive."""
    broken: bool
    """The syntax tree has an error inside."""


@dataclass(frozen=True)
class CommentBlock:
    """Comment lines that belong to no function."""

    span: Span
    """From the first `#` to the end of the last line."""
    text: str
    """Without `#` and common indentation; lines end in `\\n`."""
    indent: str
    line: int
    """Row of the first line, 0-based."""
