"""Test files read without running them: which tests they hold, what each test mentions."""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tree_sitter import Node

from oci_lsp.paths import exists
from oci_lsp.source.functions import Module, Span
from oci_lsp.source.imports import Binding, bindings
from oci_lsp.source.syntax import Syntax
from oci_lsp.source.testnames import test_names

_SKIPPED = frozenset(
    {"node_modules", "__pycache__", "site-packages", "venv", "env", "build", "dist"}
)
_DEFINITIONS = frozenset({"function_definition", "class_definition"})
_BLOCKS = frozenset(
    {"if_statement", "elif_clause", "else_clause", "try_statement", "except_clause", "block"}
    | {"finally_clause", "with_statement"}
)
_SET_UP = frozenset(
    {"setUp", "setUpClass", "asyncSetUp", "setUpModule"}
    | {"setup_method", "setup_class", "setup_module", "setup_function"}
)
_IMPORTS = "[(import_statement) (import_from_statement) (future_import_statement)] @i"
# Test files kept parsed.
_KEPT = 256


@dataclass(frozen=True)
class Definition:
    """A function, class or assignment of a test file."""

    name: str
    span: Span
    mentions: frozenset[str]
    """Identifiers inside, parameters (fixtures) and decorators included."""
    names: frozenset[str]
    """Those that are no attributes: they may mean a definition of the file."""


@dataclass(frozen=True)
class Test:
    """One test function or method."""

    __test__ = False

    suffix: str
    """What follows the path in a node id: `TestX::test_y`."""
    name: str
    definition: Definition
    owners: tuple[str, ...]
    """Classes around it, outermost first."""


@dataclass(frozen=True)
class _Class:
    """A class of a test file, with what its methods may lean on."""

    header: Span
    bases: tuple[str, ...]
    members: Mapping[str, Definition]


class TestFile:
    """A Python file seen as pytest sees it with its default patterns."""

    __test__ = False

    def __init__(self, module: Module) -> None:
        self.module = module
        self.definitions: dict[str, Definition] = {}
        self.tests: list[Test] = []
        self.classes: dict[str, _Class] = {}
        self._methods: dict[str, set[str]] = {}
        nodes = self._syntax.root.named_children
        self._read(nodes)
        for name, function in list(_functions(self._syntax, nodes)):
            if name.startswith("test"):
                self.tests.append(Test(name, name, self._definition(name, function), ()))
        self._read_classes(nodes, ())

    @property
    def _syntax(self) -> Syntax:
        return self.module.syntax

    @cached_property
    def bindings(self) -> tuple[Binding, ...]:
        """Names bound by every import, those inside functions too."""
        nodes = self._syntax.captures(_IMPORTS, "i")
        return tuple(b for node in nodes for b in bindings(self._syntax, node))

    def text(self, span: Span) -> str:
        return span.of(self.module.text)

    def lines_of(self, span: Span) -> str:
        """The span with the white space before it."""
        row = self.module.lines.row(span.start)
        return self.module.text[self.module.lines.start(row) : span.end]

    def named(self, suffix: str) -> list[Test]:
        """The tests of a node id without its path and parameters: one, or those of a class."""
        return [t for t in self.tests if t.suffix == suffix or t.suffix.startswith(f"{suffix}::")]

    def may_hold(self, suffix: str) -> bool:
        """Whether a test of that id can exist, as far as the text tells."""
        if self.named(suffix) or self.module.broken:
            return True
        head, *rest = suffix.split("::")
        if any(b.name in ("*", head) for b in self.bindings):
            return True
        if not rest:
            definition = self.definitions.get(head)
            return definition is not None and self._syntax_kind(definition) == "assignment"
        # A class inherits tests from bases that other files define.
        return head in self.classes and any(
            base not in self.classes and not base.endswith("TestCase")
            for base in self.classes[head].bases
        )

    def scope(self, test: Test) -> list[Mapping[str, Definition]]:
        """Where names that the test mentions are looked up, innermost first."""
        scopes: list[Mapping[str, Definition]] = []
        for depth in range(len(test.owners), 0, -1):
            label = "::".join(test.owners[:depth])
            scopes += [self.classes[one].members for one in self.lineage(label)]
        return [*scopes, self.definitions]

    def lineage(self, label: str) -> list[str]:
        """The class and those of this file that it inherits from, nearest first."""
        found: list[str] = []
        waiting = [label]
        while waiting:
            one = waiting.pop(0)
            if one in self.classes and one not in found:
                found.append(one)
                waiting = [*self.classes[one].bases, *waiting]
        return found

    def needed(self, test: Test, more: Iterable[Mapping[str, Definition]] = ()) -> list[Definition]:
        """The definitions that the test leans on, itself first, directly or through others."""
        inner, outer = self.scope(test)[:-1], [self.definitions, *more]
        found = [test.definition]
        set_up = [name for scope in (*inner, self.definitions) for name in scope if name in _SET_UP]
        waiting = [*set_up, *test.definition.mentions]
        plain = set(set_up) | test.definition.names
        seen = {test.name}
        while waiting:
            name = waiting.pop()
            scopes = [*inner, *outer] if name in plain else inner
            definition = next((scope[name] for scope in scopes if name in scope), None)
            if definition is None or name in seen:
                continue
            seen.add(name)
            found.append(definition)
            waiting += definition.mentions
            plain |= definition.names
        return found

    def _read(self, nodes: Iterable[Node]) -> None:
        for name, node in _defined(self._syntax, nodes):
            self.definitions[name] = self._definition(name, node)

    def _definition(self, name: str, node: Node) -> Definition:
        span = Span(self._syntax.start(node), self._syntax.end(node))
        return Definition(name, span, self._syntax.names(node), self._syntax.plain_names(node))

    def _syntax_kind(self, definition: Definition) -> str:
        text = self.text(definition.span)
        return "definition" if text.startswith(("def", "class", "async", "@")) else "assignment"

    def _read_classes(self, nodes: Iterable[Node], owners: tuple[str, ...]) -> None:
        for name, node in _defined(self._syntax, nodes):
            inner = _plain(node)
            body = inner.child_by_field_name("body")
            if inner.type != "class_definition" or body is None:
                continue
            bases = inner.child_by_field_name("superclasses")
            names = [self._syntax.string(b) for b in bases.named_children] if bases else []
            header = Span(self._syntax.start(node), self._syntax.start(body))
            members = dict(_defined(self._syntax, body.named_children))
            path = (*owners, name)
            self.classes["::".join(path)] = _Class(
                header,
                tuple(base.rpartition(".")[2] for base in names),
                {key: self._definition(key, value) for key, value in members.items()},
            )
            self._methods["::".join(path)] = {
                key for key, _ in _functions(self._syntax, body.named_children)
            }
            if self._is_test_class("::".join(path)):
                self._add_tests(path)
            self._read_classes(body.named_children, path)

    def _add_tests(self, path: tuple[str, ...]) -> None:
        """The test methods of a class, those too that it inherits within the file."""
        seen: set[str] = set()
        for label in self.lineage("::".join(path)):
            for key, definition in self.classes[label].members.items():
                if key in seen:
                    continue
                seen.add(key)
                if key.startswith("test") and key in self._methods[label]:
                    self.tests.append(Test("::".join((*path, key)), key, definition, path))

    def _is_test_class(self, label: str) -> bool:
        if self._is_unittest(label, set()):
            return True
        name = label.rpartition("::")[2]
        return name.startswith("Test") and "__init__" not in self.classes[label].members

    def _is_unittest(self, label: str, seen: set[str]) -> bool:
        seen.add(label)
        return any(
            base.endswith("TestCase")
            or (base in self.classes and base not in seen and self._is_unittest(base, seen))
            for base in self.classes[label].bases
        )


def _plain(node: Node) -> Node:
    if node.type == "decorated_definition":
        return node.child_by_field_name("definition") or node
    return node


def _functions(syntax: Syntax, nodes: Iterable[Node]) -> Iterator[tuple[str, Node]]:
    for name, node in _defined(syntax, nodes):
        if _plain(node).type == "function_definition":
            yield name, node


def _defined(syntax: Syntax, nodes: Iterable[Node]) -> Iterator[tuple[str, Node]]:
    """Names given a value by statements of one block, `if`, `try` and `with` looked into."""
    for node in nodes:
        inner = _plain(node)
        if inner.type in _DEFINITIONS:
            label = inner.child_by_field_name("name")
            if label:
                yield syntax.string(label), node
        elif node.type == "expression_statement" and node.named_children:
            left = node.named_children[0].child_by_field_name("left")
            if left and left.type in ("identifier", "pattern_list", "tuple_pattern"):
                for name in sorted(syntax.names(left)):
                    yield name, node
        elif node.type in _BLOCKS:
            yield from _defined(syntax, node.named_children)


_files: OrderedDict[tuple[str, int, int], TestFile] = OrderedDict()
_files_lock = threading.Lock()


def read_test_file(path: Path, buffers: Mapping[Path, str]) -> TestFile | None:
    """The file at `path`, its unsaved text first; None where it cannot be read as text.

    Safe to call from several threads.
    """
    text = buffers.get(path)
    if text is not None:
        key = (str(path), hash(text), len(text))
    else:
        try:
            stat = path.stat()
        except OSError:
            return None
        key = (str(path), stat.st_mtime_ns, stat.st_size)
    with _files_lock:
        if key in _files:
            _files.move_to_end(key)
            return _files[key]
    if text is None:
        text = read_text(path)
        if text is None:
            return None
    file = TestFile(Module(text))
    with _files_lock:
        _files[key] = file
        while len(_files) > _KEPT:
            _files.popitem(last=False)
    return file


def read_text(path: Path) -> str | None:
    """A source file's text; None where it is missing or no UTF-8."""
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None


def says(text: str, word: str) -> bool:
    """Whether the identifier stands in the text, as code or not: a quick look before parsing."""
    # Searching for the plain characters is many times faster than for the word.
    return word in text and re.search(rf"\b{re.escape(word)}\b", text) is not None


def find_test_paths(root: Path, buffers: Mapping[Path, str]) -> Iterator[Path]:
    """Files under `root` that hold tests by their name, and those among the unsaved ones.

    Those are pytest's defaults, `test.py` and `tests.py`, and what the project's own pytest options
    `python_files` and `testpaths` name. Hidden folders, virtual environments, caches and build
    outputs are left out.
    """
    is_test = test_names(root)
    return (path for path in _python_paths(root, buffers) if is_test(path))


def find_source_paths(root: Path, buffers: Mapping[Path, str]) -> Iterator[Path]:
    """The Python files under `root` that hold no tests, as far as names tell."""
    is_test = test_names(root)
    return (
        path
        for path in _python_paths(root, buffers)
        if not is_test(path) and path.name not in ("conftest.py", "setup.py")
    )


def _python_paths(root: Path, buffers: Mapping[Path, str]) -> Iterator[Path]:
    seen: set[Path] = set()
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not skipped_folder(here / name))
        for name in sorted(files):
            if name.endswith(".py"):
                seen.add(here / name)
                yield here / name
    for path in sorted(buffers):
        if path not in seen and path.suffix == ".py" and path.is_relative_to(root):
            inner = path.relative_to(root).parts[:-1]
            if not any(part.startswith(".") or part in _SKIPPED for part in inner):
                yield path


def skipped_folder(folder: Path) -> bool:
    """A folder that holds none of the project's own sources: hidden, an environment, built."""
    return (
        folder.name.startswith(".")
        or folder.name in _SKIPPED
        or folder.name.endswith(".egg-info")
        or exists(folder / "pyvenv.cfg")
    )
