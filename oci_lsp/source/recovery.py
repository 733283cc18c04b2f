"""Functions of text that does not parse, found by indentation: one error hides no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from oci_lsp.source.lines import Lines, width

_HEADER = re.compile(r"(?P<async>async[ \t]+)?(?P<kind>def|class)[ \t]+(?P<name>\w+)")
_ANY_HEADER = re.compile(r"[ \t\f]*(?:(?:async[ \t]+)?def|class)[ \t]+\w+[ \t]*[(:\[]")
# Words that start a statement and never continue a bracket: a bracket open before them is an error.
_STARTS = re.compile(
    r"(?:async[ \t]+def|def|class|return|import|raise|while|with|try|pass|break|continue|assert)\b"
)
_TOKEN = re.compile(
    r"#.*|(?P<triple>'''|\"\"\")|'(?:\\.|[^'\\])*'?|\"(?:\\.|[^\"\\])*\"?"
    r"|(?P<open>[\[({])|(?P<close>[\])}])|(?P<join>\\$)|(?P<colon>:)"
)


@dataclass(frozen=True)
class Outline:
    """A definition by its lines; offsets are code points of the text, 0-based, half-open."""

    start: int
    definition: int
    colon: int
    end: int
    qualname: str
    name: str
    owner: str | None
    is_async: bool
    decorators: tuple[tuple[int, int], ...]


@dataclass
class _Open:
    """A definition whose end has not come yet."""

    row: int
    first: int
    columns: int
    kind: str
    name: str
    is_async: bool
    qualname: str
    owner: str | None
    decorators: tuple[tuple[int, int], ...]
    colon: int = -1
    last: int = field(default=-1)


@dataclass
class _Logical:
    """A statement line: its rows, its first colon outside brackets (or -1), where its code ends."""

    first: int
    last: int
    colon: int
    end: int


def outlines(lines: Lines, first: int, last: int) -> list[Outline]:
    """Functions in the rows `first` to `last` (inclusive), in order of their start."""
    done: list[tuple[_Open, int]] = []
    stack: list[_Open] = []
    decorators: list[tuple[int, int]] = []
    previous = first
    for logical in _logical_lines(lines, first, last):
        start = lines.code_start(logical.first)
        columns = width(lines.indent(logical.first))
        header = _HEADER.match(lines.text, start)
        opens = bool(header) or lines.text[start] == "@" or logical.colon == logical.end - 1
        while stack and columns <= stack[-1].columns:
            # A torn line at the margin does not end a class: its methods may go on below.
            if stack[-1].kind == "class" and not opens:
                break
            done.append((stack.pop(), previous))
        if header:
            stack.append(_opened(header, logical, columns, stack, tuple(decorators)))
            decorators = []
        elif lines.text.startswith("@", start):
            decorators.append((logical.first, logical.last))
        else:
            decorators = []
        previous = logical.last
    done.extend((item, previous) for item in stack)
    found = [_outline(lines, item, end) for item, end in done if item.kind == "def"]
    return sorted(found, key=lambda item: (item.start, -item.end))


def _opened(
    header: re.Match[str],
    logical: _Logical,
    columns: int,
    stack: list[_Open],
    decorators: tuple[tuple[int, int], ...],
) -> _Open:
    name = header["name"]
    parent = stack[-1] if stack else None
    return _Open(
        row=logical.first,
        first=decorators[0][0] if decorators else logical.first,
        columns=columns,
        kind=header["kind"],
        name=name,
        is_async=bool(header["async"]),
        qualname=f"{parent.qualname}.{name}" if parent else name,
        owner=parent.qualname if parent and parent.kind == "class" else None,
        decorators=decorators,
        colon=logical.colon,
        last=logical.last,
    )


def _outline(lines: Lines, item: _Open, end: int) -> Outline:
    spans = tuple((lines.code_start(a), lines.end(b)) for a, b in item.decorators)
    return Outline(
        start=lines.code_start(item.first),
        definition=lines.code_start(item.row),
        colon=item.colon + 1 if item.colon >= 0 else lines.end(item.row),
        end=lines.end(end),
        qualname=item.qualname,
        name=item.name,
        owner=item.owner,
        is_async=item.is_async,
        decorators=spans,
    )


def _logical_lines(lines: Lines, first: int, last: int) -> Iterator[_Logical]:
    """Statement lines, brackets and strings followed as far as they make sense."""
    row = first
    while row <= last:
        content = lines.content(row)
        code = content.strip()
        if not code or code[0] == "#":
            row += 1
            continue
        if _is_whole(code):
            end = lines.start(row) + len(content.rstrip())
            logical = _Logical(row, row, end - 1 if code[-1] == ":" else -1, end)
        else:
            logical = _one(lines, row, last)
        yield logical
        row = logical.last + 1


def _is_whole(code: str) -> bool:
    """Most lines are: a statement that ends on its line, and no header whose colon matters."""
    return (
        code.count("(") == code.count(")")
        and code.count("[") == code.count("]")
        and code.count("{") == code.count("}")
        and code[-1] != "\\"
        and '"""' not in code
        and "'''" not in code
        and not _HEADER.match(code)
    )


def _one(lines: Lines, first: int, last: int) -> _Logical:
    text, depth, colon, row = lines.text, 0, -1, first
    columns = width(lines.indent(first))
    position = lines.start(first)
    while True:
        joined = False
        while token := _TOKEN.search(text, position, lines.end(row)):
            position = token.end()
            if token["triple"]:
                row, position = _string_end(lines, token, row, last, columns)
            elif token["open"]:
                depth += 1
            elif token["close"]:
                depth = max(0, depth - 1)
            elif token["colon"] and depth == 0 and colon < 0:
                colon = token.start()
            elif token["join"] is not None:
                joined = True
        if row >= last or not (joined or (depth and _continues(lines, row + 1, columns))):
            while row > first and lines.is_blank(row):
                row -= 1
            return _Logical(first, row, colon, lines.start(row) + len(lines.content(row).rstrip()))
        row += 1
        position = lines.start(row)


def _continues(lines: Lines, row: int, columns: int) -> bool:
    """An open bracket goes on in this row, rather than having been forgotten before it."""
    if lines.is_blank(row):
        return True
    start = lines.code_start(row)
    if lines.text[start] in ")]}":
        return True
    return not _STARTS.match(lines.text, start) and width(lines.indent(row)) > columns


def _string_end(
    lines: Lines, token: re.Match[str], row: int, last: int, columns: int
) -> tuple[int, int]:
    """(row, offset) where a triple-quoted string ends; an unclosed one before the next header."""
    opening = token.start()
    raw = lines.text[max(0, opening - 1) : opening] in ("r", "R")
    pattern = token["triple"] if raw else rf"(?<!\\){token['triple']}"
    close = re.compile(pattern).search(lines.text, token.end(), lines.end(last))
    end_row = lines.row(close.start()) if close else last
    for inner in range(row + 1, end_row + 1):
        # A definition no deeper than the statement is code that the string has swallowed.
        if width(lines.indent(inner)) <= columns and _ANY_HEADER.match(
            lines.text, lines.start(inner)
        ):
            return inner - 1, lines.end(inner - 1)
    if close is None:
        return row, lines.end(row)
    return end_row, close.end()
