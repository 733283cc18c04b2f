"""What one Python text imports and what it touches before importing, found without running it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# Parsing holds the interpreter's lock, a hundredth of a second a thousand lines: of a larger text
# the lines at its left edge are looked at.
_LARGEST = 60_000
_IMPORT = re.compile(r"^.*\bimport(?:orskip|_module)?\b.*$|^pytest_plugins\b.*$", re.MULTILINE)
_ENVIRONMENT = re.compile(r"\benviron\b|\bputenv\b|\bsetenv\b")
_MODULES = re.compile(r"\bsys\.(?:modules|path)\b|\bfrom sys import\b|\bsyspath_prepend\b")
_EDGE_IMPORT = re.compile(
    r"^(?:import[ \t]+([\w., \t]+)|from[ \t]+(\.*[\w.]*)[ \t]+import)", re.MULTILINE
)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]+")


@dataclass(frozen=True)
class Wanted:
    """One import statement's module, and the names taken from it; `level` counts leading dots."""

    module: str
    names: tuple[str, ...] = ()
    level: int = 0


@dataclass(frozen=True)
class Scan:
    """What a text says about imports.

    Attributes:
        certain: imported whenever the module is: outside of functions; in their order.
        possible: imported within functions.
        variables: environment variables that it names, where it touches the environment.
        named: texts in it that may name modules, where it looks into `sys.modules` or adds to
            `sys.path` (it may put a stand-in of its own before what is installed).
    """

    certain: tuple[Wanted, ...] = ()
    possible: tuple[Wanted, ...] = ()
    variables: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()


def essence(text: str) -> tuple[str, ...]:
    """What of a text decides what a scan finds: a candidate mostly agrees in it with the last."""
    if _ENVIRONMENT.search(text) or _MODULES.search(text):
        return (text,)
    return tuple(_IMPORT.findall(text))


def scan(text: str) -> Scan:
    """Find the imports; nothing for a text that is no Python (an unfinished buffer)."""
    if len(text) > _LARGEST:
        return _scan_edge(text)
    try:
        return _scan_tree(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _scan_edge(text)


def _scan_tree(text: str) -> Scan:
    tree = ast.parse(text)
    certain: list[Wanted] = []
    possible: list[Wanted] = []
    for node, inner in _walk(tree.body, inner=False):
        (possible if inner else certain).extend(_wanted(node))
    return Scan(
        tuple(dict.fromkeys(certain)),
        tuple(dict.fromkeys(possible)),
        frozenset(_variables(tree)) if _ENVIRONMENT.search(text) else frozenset(),
        frozenset(_strings(tree)) if _MODULES.search(text) else frozenset(),
    )


def _scan_edge(text: str) -> Scan:
    found: dict[Wanted, None] = {}
    for match in _EDGE_IMPORT.finditer(text):
        for part in (match[1] or match[2]).split(","):
            words = part.split()
            if words:
                module = words[0].lstrip(".")
                found[Wanted(module, level=len(words[0]) - len(module))] = None
    # Anything may be hidden in the rest: what it touches is taken for the worst.
    named = re.findall(r"""["']([\w.]+)["']""", text) if _MODULES.search(text) else ()
    variables = _VARIABLE.findall(text) if _ENVIRONMENT.search(text) else ()
    return Scan(tuple(found), (), frozenset(variables), frozenset(named))


def _walk(body: Iterable[ast.AST], *, inner: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Statements, and whether they lie in a function; what only type checkers see is left out."""
    for node in body:
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from _walk(node.orelse, inner=inner)
            continue
        yield node, inner
        inside = inner or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for field in ("body", "handlers", "orelse", "finalbody", "cases"):
            yield from _walk(getattr(node, field, ()), inner=inside)


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def _wanted(node: ast.AST) -> Iterator[Wanted]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Wanted(alias.name)
    elif isinstance(node, ast.ImportFrom):
        names = tuple(alias.name for alias in node.names if alias.name != "*")
        yield Wanted(node.module or "", names, node.level)
    elif isinstance(node, ast.Assign | ast.Expr | ast.AnnAssign):
        yield from _called_import(node.value)
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "pytest_plugins":
            for name in _strings(node.value):
                yield Wanted(name)


def _called_import(value: ast.expr | None) -> Iterator[Wanted]:
    """`np = pytest.importorskip("numpy")`"""
    if isinstance(value, ast.Call) and value.args and isinstance(value.args[0], ast.Constant):
        called = value.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if name in ("importorskip", "import_module") and isinstance(value.args[0].value, str):
            yield Wanted(value.args[0].value)


def _variables(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg:  # os.environ.update(NAME="1")
            yield node.arg
    for text in _strings(tree):
        if _VARIABLE.fullmatch(text):
            yield text


def _strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 80:
            yield node.value
