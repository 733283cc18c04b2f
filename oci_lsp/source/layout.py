"""Indentation: move code to another depth or style without touching what strings hold."""

from __future__ import annotations

from dataclasses import dataclass

from oci_lsp.source.functions import Function, Module
from oci_lsp.source.lines import width
from oci_lsp.source.syntax import Syntax

_DEFAULT_UNIT = "    "


def dedented(module: Module, function: Function) -> str:
    """The function with its `def` at the margin, for a prompt; lines end in `\\n`.

    Strings over several lines keep their white space, which is part of their value: a model that
    repeats them repeats them right. Not so the docstring, which a splice puts back as it was.
    """
    fixed = string_rows(module.syntax)
    if function.docstring_span:
        first, last = (
            module.lines.row(at)
            for at in (function.docstring_span.start, function.docstring_span.end)
        )
        fixed -= frozenset(range(first, last + 1))
    return "\n".join(
        module.lines.content(row).removeprefix("" if row in fixed else function.indent)
        for row in range(function.lines[0], function.lines[1] + 1)
    )


@dataclass(frozen=True)
class Indentation:
    """What one level adds, and the white space of a body's first level."""

    body: str
    unit: str


def body_indentation(module: Module, function: Function) -> Indentation:
    """How the body of `function` is indented; of a one-line function, how it would be."""
    row = module.lines.row(function.body.start)
    own = module.lines.indent(row)
    starts_line = module.lines.code_start(row) == function.body.start
    if starts_line and own.startswith(function.indent) and own != function.indent:
        return Indentation(own, own[len(function.indent) :])
    unit = module_unit(module, function.indent)
    return Indentation(function.indent + unit, unit)


def module_unit(module: Module, near: str = "") -> str:
    """The white space that one level of indentation adds in this module."""
    for row in range(len(module.lines)):
        indent = module.lines.indent(row)
        if indent and not module.lines.is_blank(row) and not module.lines.is_comment(row):
            return "\t" if indent.startswith("\t") else indent
    return "\t" if near.startswith("\t") else _DEFAULT_UNIT


def string_rows(syntax: Syntax) -> frozenset[int]:
    """Rows that start inside a string: their white space is part of its value."""
    return frozenset(
        row
        for node in syntax.captures("(string) @s", "s")
        for row in range(node.start_point.row + 1, node.end_point.row + 1)
    )


def continuation_rows(syntax: Syntax) -> frozenset[int]:
    """Rows that go on with a statement of an earlier row: open bracket or line join."""
    nodes = syntax.captures('["(" "[" "{" ")" "]" "}"] @b', "b")
    rows: set[int] = set()
    depth = opened = 0
    for node in sorted(nodes, key=lambda n: n.start_byte):
        if node.type in ("(", "[", "{"):
            if depth == 0:
                opened = node.start_point.row
            depth += 1
        else:
            depth = max(0, depth - 1)
            if depth == 0:
                rows.update(range(opened + 1, node.end_point.row + 1))
    joins = syntax.captures("(line_continuation) @j", "j")
    rows.update(node.start_point.row + 1 for node in joins)
    return frozenset(rows)


def reindent(
    syntax: Syntax, rows: range, source: Indentation, target: Indentation
) -> tuple[str, ...]:
    """The lines `rows` of `syntax`, without line ends, at the depth and in the style of `target`.

    `source.body` is the indentation that becomes `target.body`. Blank lines lose their white space.
    """
    return tuple(_Reindenter(syntax, rows, source, target).lines())


class _Reindenter:
    """One pass over the rows; levels of the source map to levels of the target."""

    def __init__(
        self, syntax: Syntax, rows: range, source: Indentation, target: Indentation
    ) -> None:
        self._lines = syntax.lines
        self._rows = rows
        self._source = source
        self._target = target
        self._strings = string_rows(syntax)
        self._continued = continuation_rows(syntax)
        self._levels = [(width(source.body), target.body)]
        self._same_style = source.unit == target.unit or self._nested_unit() in ("", target.unit)

    def lines(self) -> list[str]:
        found: list[str] = []
        statement = (self._source.body, self._target.body)
        for row in self._rows:
            content, indent = self._lines.content(row), self._lines.indent(row)
            if row in self._strings:
                found.append(content)
            elif self._lines.is_blank(row):
                found.append("")
            elif row in self._continued:
                found.append(self._continuation(indent, statement) + content.lstrip())
            elif self._lines.is_comment(row):
                found.append(self._comment(row, indent) + content.lstrip())
            else:
                statement = (indent, self._statement(indent))
                found.append(statement[1] + content.lstrip())
        return found

    def _is_logical(self, row: int) -> bool:
        return not (
            row in self._strings
            or row in self._continued
            or self._lines.is_blank(row)
            or self._lines.is_comment(row)
        )

    def _nested_unit(self) -> str:
        """What the first nested block adds in the source; empty where nothing is nested."""
        base = self._source.body
        for row in self._rows:
            indent = self._lines.indent(row)
            if self._is_logical(row) and indent != base and indent.startswith(base):
                return indent[len(base) :]
        return ""

    def _statement(self, indent: str) -> str:
        if self._same_style and indent.startswith(self._source.body):
            return self._target.body + indent[len(self._source.body) :]
        columns = width(indent)
        while len(self._levels) > 1 and self._levels[-1][0] > columns:
            self._levels.pop()
        if self._levels[-1][0] < columns:
            self._levels.append((columns, self._levels[-1][1] + self._target.unit))
        return self._levels[-1][1]

    def _comment(self, row: int, indent: str) -> str:
        if self._same_style and indent.startswith(self._source.body):
            return self._target.body + indent[len(self._source.body) :]
        following = next((r for r in self._rows if r > row and self._is_logical(r)), None)
        if following is not None and self._lines.indent(following) == indent:
            return self._statement(indent)
        fitting = [to for columns, to in self._levels if columns <= width(indent)]
        return fitting[-1] if fitting else self._target.body

    def _continuation(self, indent: str, statement: tuple[str, str]) -> str:
        before, after = statement
        if indent.startswith(before):
            extra = indent[len(before) :]
        else:
            extra = " " * max(0, width(indent) - width(before))
        levels, rest = divmod(len(extra), len(self._source.unit) or 1)
        if not self._same_style and not rest and set(extra) == set(self._source.unit):
            extra = self._target.unit * levels
        return after + extra
