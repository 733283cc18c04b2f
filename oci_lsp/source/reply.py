"""The Python in a model's reply: fenced blocks, bare code, and what small models do to both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tree_sitter import Node

from oci_lsp.errors import RejectedReplyError
from oci_lsp.source.functions import Function, Module
from oci_lsp.source.lines import normalise
from oci_lsp.source.syntax import Syntax, parse_python

_OPEN = re.compile(r"^(?P<before>.*?)(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+#.-]*)[^`]*$")
_CLOSE = re.compile(r"^(?P<code>.*?)(?P<fence>`{3,}|~{3,})[ \t]*$")
_CODE_START = re.compile(
    r"[ \t]*(?:@\w|(?:async[ \t]+)?def[ \t]+\w|class[ \t]+\w|import[ \t]"
    r"|from[ \t]+[\w.]+[ \t]+import\b)"
)
_DEFINITION = re.compile(r"^[ \t]*(?:async[ \t]+)?def[ \t]+(\w+)", re.MULTILINE)
_MAX_FENCES = 8
# Broken statements after the function that are cut off, one by one.
_MAX_CUTS = 20
_ASK = "answer with the whole function in one ```python block"


@dataclass(frozen=True)
class Block:
    """A stretch of a reply that may be code; lines end in `\\n`."""

    code: str
    closed: bool


class Reply:
    """Code of a reply that parses, with its statements whatever their indentation."""

    def __init__(self, code: str, *, opened: bool) -> None:
        """`opened`: the first line is an `if` that was put there to hold indented code."""
        self.source = code.partition("\n")[2] if opened else code
        self.module = Module(code)
        root = self.module.syntax.root
        statements = list(root.named_children)
        if opened:
            body = statements[0].child_by_field_name("consequence")
            statements = [*(body.named_children if body else ()), *statements[1:]]
        self.statements: tuple[Node, ...] = tuple(statements)

    @cached_property
    def by_start(self) -> dict[int, Function]:
        """Functions by the offset of their first decorator or `def`."""
        return {function.span.start: function for function in self.module.functions}

    def function(self, node: Node) -> Function:
        return self.by_start[self.module.syntax.start(node)]


def extract_code(reply: str, name: str = "") -> str:
    """The Python of a reply: the last block that parses and defines `name` (empty: any function).

    A last block that is not closed counts as far as it parses; without any block the lines from
    the first statement on are taken.

    Raises:
        RejectedReplyError: there is no code, or it does not parse.
    """
    return read_replies(reply, name)[0].source


def read_replies(reply: str, name: str = "") -> list[Reply]:
    """Each stretch of code that parses and defines `name`, the likeliest first.

    Raises:
        RejectedReplyError: none does; the message says why, for the model.
    """
    blocks = find_blocks(reply)
    defining = [b for b in blocks if _defines(b.code, name)]
    if not defining and (bare := _bare(normalise(reply).split("\n"))) and _parses(bare.code):
        # Bare code whose docstring holds a fence.
        defining = [bare] if _defines(bare.code, name) else []
    if not blocks and not defining:
        raise RejectedReplyError("the reply has no code block", _ASK)
    if not defining:
        what = f"does not define `{name}`" if name else "defines no function"
        raise RejectedReplyError(f"the code of the reply {what}", _ASK)
    found: list[Reply] = []
    problem: RejectedReplyError | None = None
    for block in reversed(defining):
        try:
            found.append(read_code(block, name))
        except RejectedReplyError as error:
            problem = problem or error
    if not found and problem:
        raise problem
    return found


def _defines(code: str, name: str) -> bool:
    defined = _DEFINITION.findall(code)
    return name in defined if name else bool(defined)


def find_blocks(reply: str) -> list[Block]:
    """Fenced Python blocks in order, or the bare code of a reply without any."""
    lines = normalise(reply).split("\n")
    blocks: list[Block] = []
    fenced, row = False, 0
    while row < len(lines):
        opening = _OPEN.match(lines[row])
        if not opening or (opening["before"].strip() and not opening["language"]):
            row += 1
            continue
        fenced = True
        code, row, closed = _fenced(lines, row + 1, opening["fence"], opening["before"])
        language = opening["language"].lower()
        if code.strip() and (not language or "py" in language):
            blocks.append(Block(code, closed))
    if not fenced:
        bare = _bare(lines)
        return [bare] if bare else []
    return blocks


def _fenced(lines: list[str], first: int, fence: str, before: str) -> tuple[str, int, bool]:
    """(code, row after, closed): the first end that parses, as a docstring may hold fences."""
    ends: list[tuple[str, int]] = []
    for row in range(first, len(lines)):
        closing = _CLOSE.match(lines[row])
        if closing and closing["fence"][0] == fence[0] and len(closing["fence"]) >= len(fence):
            rest = [closing["code"]] if closing["code"].strip() else []
            ends.append(("\n".join([*lines[first:row], *rest]), row + 1))
            if len(ends) == _MAX_FENCES:
                break
    margin = before if not before.strip() else ""
    for code, after in ends:
        if _parses(_unmargined(code, margin)):
            return _unmargined(code, margin), after, True
    if ends:
        return _unmargined(ends[0][0], margin), ends[0][1], True
    return _unmargined("\n".join(lines[first:]), margin), len(lines), False


def _unmargined(code: str, margin: str) -> str:
    """Without the indentation of the fence itself (a block inside a Markdown list)."""
    if not margin:
        return code
    return "\n".join(line.removeprefix(margin) for line in code.split("\n"))


def _bare(lines: list[str]) -> Block | None:
    first = next((row for row, line in enumerate(lines) if _CODE_START.match(line)), None)
    if first is None:
        return None
    return Block("\n".join(lines[first:]), closed=False)


def _parses(code: str) -> bool:
    try:
        read_code(Block(code, closed=True))
    except RejectedReplyError:
        return False
    return True


def read_code(block: Block, name: str = "") -> Reply:
    """The block's code as a tree; broken lines after the function `name` are cut off.

    Raises:
        RejectedReplyError: it does not parse, with the line and the parser's words.
    """
    code = block.code.strip("\n") + "\n"
    text, opened = _openable(code)
    problem = _problem(text)
    if problem is None:
        return Reply(text, opened=opened)
    lines = text.split("\n")
    last_definition = max(
        (row for row, line in enumerate(lines) if _defines(line, name)), default=len(lines)
    )
    shorter: _Problem | None = problem
    for _ in range(_MAX_CUTS):
        row = _cut(lines, last_definition, shorter.row if shorter else 0)
        if row is None:
            break
        lines = lines[:row]
        text = "\n".join(lines).rstrip() + "\n"
        shorter = _problem(text)
        if shorter is None:
            return Reply(text, opened=opened)
    advice = "" if block.closed else "the reply stopped before its end, so keep it short"
    raise RejectedReplyError(f"the code does not parse: {problem.words}", advice)


def _cut(lines: Sequence[str], definition: int, error: int) -> int | None:
    """The statement with the error, where it comes after the wanted function: cut from here."""
    if definition >= len(lines):
        return None
    margin = _margin(lines[definition])
    for row in range(min(error, len(lines) - 1), definition, -1):
        if lines[row].strip() and len(_margin(lines[row])) <= len(margin):
            return row
    return None


def _margin(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _openable(code: str) -> tuple[str, bool]:
    """(code, whether an `if` line was put first), so that code indented as a whole parses.

    Imports or comments at the margin before an indented method are indented along with it.
    """
    lines = code.split("\n")
    statements = [r for r, line in enumerate(lines) if line.strip() and line.lstrip()[0] != "#"]
    definition = next((r for r in statements if _DEFINITION.match(lines[r])), None)
    if not statements or definition is None:
        return code, False
    first = statements[0]
    margin = _margin(lines[first])
    if not margin:
        margin = _margin(lines[definition])
        before = [r for r in statements if r < definition]
        simple = all(_CODE_START.match(lines[r]) and "class " not in lines[r] for r in before)
        if not margin or not before or not simple:
            return code, False
        lines = [
            margin + line.lstrip() if r < definition and line.strip() else line
            for r, line in enumerate(lines)
        ]
    return "if True:\n" + "\n".join(lines), True


@dataclass(frozen=True)
class _Problem:
    """Why code does not parse, and the row (0-based) at which the parser gave up."""

    words: str
    row: int


def _problem(code: str) -> _Problem | None:
    """None where the code parses, in our Python or a newer one."""
    try:
        parse_python(code)
    except SyntaxError as error:
        row = (error.lineno or 1) - 1
        # Grammar newer than the Python we run on is fine: the project's own may know it.
        if not isinstance(error, IndentationError):
            syntax = Syntax(code)
            if syntax.has_newer_grammar:
                if not syntax.root.has_error:
                    return None
                row = max(row, syntax.first_error_row)
        lines = code.split("\n")
        line = lines[row].strip() if 0 <= row < len(lines) else ""
        return _Problem(f"{error.msg}" + (f" at the line `{line}`" if line else ""), row)
    return None
