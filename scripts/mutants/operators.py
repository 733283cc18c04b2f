"""Mutation operators: small wrong changes to a function, each inside the function's own span."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_ORDERED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_SHOWN = 60

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Mutation:
    """One change: `text[start:end]` (code points) becomes `replacement`; `line` counts from 1."""

    operator: str
    line: int
    start: int
    end: int
    replacement: str

    def applied(self, text: str) -> str:
        """The whole file with the change; every other character is as it was."""
        return text[: self.start] + self.replacement + text[self.end :]

    def shown(self, text: str) -> tuple[str, str]:
        """Before and after on one line each, cut where they are long."""
        return _short(text[self.start : self.end]), _short(self.replacement)


def mutations(text: str, function: FunctionNode) -> list[Mutation]:
    """Every mutation of the function's body, in order; `function` is a node of `text`'s tree.

    Docstrings, annotations, f-strings and patterns of `match` are left alone. Each result parses,
    to a tree other than the original's.
    """
    offsets = _Offsets(text)
    original = ast.dump(ast.parse(text))
    found = []
    for node in _bodies(function):
        for operator, place, replacement in _proposals(node):
            start, end = offsets.span(place)
            one = Mutation(operator, place.lineno, start, end, replacement)
            if _differs(one.applied(text), original):
                found.append(one)
    return sorted(set(found), key=lambda m: (m.start, m.end, m.operator, m.replacement))


def _differs(text: str, original: str) -> bool:
    try:
        return ast.dump(ast.parse(text)) != original
    except SyntaxError:
        return False


class _Offsets:
    """The tree's positions (lines, and columns in bytes) as code points of the text."""

    def __init__(self, text: str) -> None:
        # Not splitlines: for Python a form feed ends no line.
        self._lines = text.replace("\r\n", "\n ").replace("\r", "\n").split("\n")
        if "\r\n" in text:
            raise ValueError("CRLF files are not mutated")
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return (
            self._at(node.lineno, node.col_offset),
            self._at(node.end_lineno, node.end_col_offset),
        )

    def _at(self, line: int, column: int) -> int:
        head = self._lines[line - 1].encode()[:column].decode()
        return self._starts[line - 1] + len(head)


def _bodies(function: FunctionNode) -> Iterator[ast.AST]:
    """Nodes of the body that may be changed, those of inner functions too."""
    body = (
        function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    )
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, FunctionNode | ast.ClassDef):
            inner = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            waiting += inner
        elif isinstance(node, ast.AnnAssign):
            waiting += [node.value] if node.value else []
        elif isinstance(node, ast.Match):
            waiting.append(node.subject)
            waiting += [s for case in node.cases for s in case.body]
        elif not isinstance(node, ast.JoinedStr):
            waiting += ast.iter_child_nodes(node)


_Proposal = tuple[str, ast.expr | ast.stmt, str]


def _proposals(node: ast.AST) -> Iterator[_Proposal]:
    """(operator, what is replaced, by what text)."""
    match node:
        case ast.Compare(ops=[op], comparators=[right]):
            other = copy.copy(node)
            other.ops = [_COMPARISONS[type(op)]()]
            yield "comparison flipped", node, _expression(other)
            if isinstance(op, _ORDERED):
                for sign, name in ((ast.Add(), "+1"), (ast.Sub(), "-1")):
                    other = copy.copy(node)
                    other.comparators = [ast.BinOp(right, sign, ast.Constant(1))]
                    yield f"boundary {name}", node, _expression(other)
        case ast.BinOp(left=left, op=op) if type(op) in _ARITHMETIC:
            if not (isinstance(left, ast.Constant) and isinstance(left.value, str | bytes)):
                changed = copy.copy(node)
                changed.op = _ARITHMETIC[type(op)]()
                yield "arithmetic swapped", node, _expression(changed)
        case ast.BoolOp(op=op):
            swapped = copy.copy(node)
            swapped.op = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield "and/or swapped", node, _expression(swapped)
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            negated = ast.UnaryOp(ast.Not(), test)
            yield "condition negated", test, _expression(negated)
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            yield "return value replaced", value, "None"
        case ast.Yield(value=ast.expr() as value) if not _is_none(value):
            yield "return value replaced", value, "None"
        case ast.Call(args=[first, second, *rest]):
            if not isinstance(first, ast.Starred) and not isinstance(second, ast.Starred):
                call = copy.copy(node)
                call.args = [second, first, *rest]
                yield "arguments swapped", node, ast.unparse(call)
        case ast.Slice(lower=lower, upper=upper):
            for bound in (lower, upper):
                if bound is not None:
                    more = ast.BinOp(bound, ast.Add(), ast.Constant(1))
                    yield "slice off by one", bound, _expression(more)
        case ast.Constant(value=value):
            if (text := _other_constant(value)) is not None:
                yield "constant changed", node, text
        case (
            ast.Expr(value=ast.Call())
            | ast.AugAssign()
            | ast.Raise()
            | ast.Delete()
            | ast.Break()
            | ast.Continue()
            | ast.Assign(targets=[ast.Attribute() | ast.Subscript()])
        ):
            yield "statement dropped", node, "pass"


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _other_constant(value: object) -> str | None:
    if isinstance(value, bool):
        return repr(not value)
    if isinstance(value, int | float):
        return f"({value + 1!r})"
    if isinstance(value, str | bytes) and value:
        return repr(type(value)())
    return None


def _expression(node: ast.expr) -> str:
    return f"({ast.unparse(node)})"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 4] + " ..."
