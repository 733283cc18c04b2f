"""What of a reply is kept: the function, its helpers and imports; the rest is judged here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tree_sitter import Node

from oci_lsp.errors import RejectedReplyError
from oci_lsp.source.functions import Function, Module
from oci_lsp.source.imports import KINDS, Binding, bindings
from oci_lsp.source.names import module_names
from oci_lsp.source.reply import Reply
from oci_lsp.source.syntax import Syntax

_TEST_NAME = re.compile(r"test|Test|main$|check$|run_tests?$|demo$|example")
_MAIN_GUARD = re.compile(r"if\s*\(?\s*(?:__name__\b|.*==\s*__name__\b)")
_DEFINITIONS = ("function_definition", "class_definition", "decorated_definition")
_COMPOUND = frozenset(
    {"if_statement", "for_statement", "while_statement", "with_statement", "try_statement"}
)


@dataclass(frozen=True)
class Parts:
    """Kept parts of a reply; functions have positions in `reply.module`."""

    reply: Reply
    wanted: Function
    helpers: tuple[Function, ...] = ()
    """Module-level functions that the wanted one needs."""
    members: tuple[Function, ...] = ()
    """Methods new to the owner that the wanted one needs."""
    imports: tuple[Binding, ...] = ()


@dataclass
class _Sorted:
    """Statements of a reply by what they are."""

    helpers: list[Function] = field(default_factory=list)
    members: list[Function] = field(default_factory=list)
    imports: list[Node] = field(default_factory=list)
    doubtful: list[Node] = field(default_factory=list)
    after: list[Node] = field(default_factory=list)


def definition_of(node: Node) -> Node:
    """A definition without its decorators."""
    if node.type == "decorated_definition":
        return node.child_by_field_name("definition") or node
    return node


def name_of(syntax: Syntax, node: Node) -> str:
    label = definition_of(node).child_by_field_name("name")
    return syntax.string(label) if label else ""


def text_of(module: Module, function: Function) -> str:
    """The function's lines with the indentation of its first line."""
    start = module.lines.start(module.lines.row(function.span.start))
    return module.text[start : function.span.end]


def comparable(module: Module, function: Function) -> tuple[str, ...]:
    """Tokens of a function without comments and docstring: equal where it does the same."""
    code = text_of(module, function)
    if function.docstring_span:
        start = module.lines.start(module.lines.row(function.span.start))
        first, last = (
            function.docstring_span.start - start,
            function.docstring_span.end - start,
        )
        code = code[:first] + "..." + code[last:]
    if function.indent:
        code = "if 1:\n" + code
    syntax = Syntax(code)
    return tuple(leaf for leaf in syntax.tokens(syntax.root) if leaf != "...")


def sort_reply(module: Module, reply: Reply, target: Function) -> Parts:
    """The parts of `reply` that replace `target`.

    Raises:
        RejectedReplyError: the function is missing, or something else would be changed.
    """
    return _Sorter(module, reply, target).parts()


def sort_generated(module: Module, reply: Reply, wanted: Function, indent: str) -> Parts:
    """The parts of `reply` that bring in `wanted`, one of its functions, at the depth `indent`.

    Raises:
        RejectedReplyError: the module has that function already, or something would be changed.
    """
    present = [f for f in module.functions if f.name == wanted.name and f.indent == indent]
    if present and (indent or "." not in present[0].qualname):
        raise RejectedReplyError(
            f"the file already has a function `{wanted.name}`",
            "write the one that the comment describes, under a name of its own",
        )
    return _Sorter(module, reply, wanted).parts()


class _Sorter:
    """Goes through a reply's statements once and judges each."""

    def __init__(self, module: Module, reply: Reply, target: Function) -> None:
        self._module, self._reply, self._target = module, reply, target
        self._syntax = reply.module.syntax
        self._present = _statements(module.syntax, module.syntax.root.named_children)

    def parts(self) -> Parts:
        containers, wanted_node = self._find()
        wanted = self._reply.function(wanted_node)
        found = _Sorted()
        top = containers[0] if containers else wanted_node
        passed = False
        for node in self._reply.statements:
            if node == top:
                passed = True
            else:
                self._judge(node, found, passed=passed)
        for depth, container in enumerate(containers):
            inner = containers[depth + 1] if depth + 1 < len(containers) else wanted_node
            self._judge_container(container, inner, found)
        return keep(self._reply, wanted, found, own=self._own_names())

    def _own_names(self) -> frozenset[str]:
        """Names that the module defines itself; imports of them are the model's guess."""
        return frozenset(
            name_of(self._module.syntax, node)
            for node in self._module.syntax.root.named_children
            if node.type in _DEFINITIONS
        )

    def _find(self) -> tuple[list[Node], Node]:
        """The wanted definition and the classes or functions around it, outermost first."""
        path = self._target.qualname.split(".")
        for skip in range(len(path)):
            found = self._descend(self._reply.statements, path[skip:])
            if found:
                return found[:-1], found[-1]
        kind = "method" if self._target.owner else "function"
        place = f" of class `{path[-2]}`" if self._target.owner else " at the top level"
        raise RejectedReplyError(
            f"the reply does not define the {kind} `{path[-1]}`{place}",
            "answer with that whole function under its own name",
        )

    def _descend(self, nodes: Iterable[Node], path: Sequence[str]) -> list[Node]:
        named = [n for n in nodes if n.type in _DEFINITIONS and name_of(self._syntax, n) == path[0]]
        if len(path) == 1:
            functions = [n for n in named if definition_of(n).type == "function_definition"]
            best = [n for n in functions if self._decorators(n) == self._target.decorators]
            return (best or functions)[-1:]
        for node in reversed(named):
            body = definition_of(node).child_by_field_name("body")
            found = self._descend(body.named_children if body else (), path[1:])
            if found:
                return [node, *found]
        return []

    def _decorators(self, node: Node) -> tuple[str, ...]:
        return self._reply.function(node).decorators

    def _judge(self, node: Node, found: _Sorted, *, passed: bool) -> None:
        """One statement at the margin of the reply, beside the wanted definition."""
        if node.type == "comment" or node.type == "pass_statement":
            return
        if node.type in KINDS:
            found.imports.append(node)
        elif definition_of(node).type == "function_definition":
            self._judge_function(node, found)
        elif self._is_harmless(node) or self._syntax.tokens(node) in self._present:
            return
        elif definition_of(node).type == "class_definition":
            if not _TEST_NAME.match(name_of(self._syntax, node)):
                (found.after if passed else found.doubtful).append(node)
        elif passed:
            found.after.append(node)
        else:
            found.doubtful.append(node)

    def _judge_function(self, node: Node, found: _Sorted) -> None:
        name = name_of(self._syntax, node)
        if name == self._target.name:
            return
        function = self._reply.function(node)
        present = self._module.named(name)
        if present is None:
            found.helpers.append(function)
        elif not self._same(function, present):
            raise RejectedReplyError(
                f"the reply changes `{name}` too",
                f"change only `{self._target.qualname}` and leave `{name}` out",
            )

    def _same(self, function: Function, present: Function) -> bool:
        """The reply repeats what is there, or only stands for it (`...`)."""
        return self._reply.module.is_stub(function) or comparable(
            self._reply.module, function
        ) == comparable(self._module, present)

    def _is_harmless(self, node: Node) -> bool:
        """Docstrings, calls, asserts, a main guard: shown by the model, not part of the answer."""
        if node.type == "assert_statement":
            return True
        if node.type == "if_statement":
            return bool(_MAIN_GUARD.match(self._syntax.raw(node)))
        if node.type != "expression_statement" or not node.named_children:
            return False
        kind = node.named_children[0].type
        return kind in (
            *("call", "await", "string", "concatenated_string", "ellipsis", "identifier"),
            *("comparison_operator", "tuple", "attribute", "subscript"),
        )

    def _judge_container(self, container: Node, inner: Node, found: _Sorted) -> None:
        """A class (or function) that the reply repeats around the wanted one."""
        body = definition_of(container).child_by_field_name("body")
        label = name_of(self._syntax, container)
        present = self._present_container(label)
        is_class = definition_of(container).type == "class_definition"
        for node in body.named_children if body else ():
            if node == inner or node.type in ("comment", "pass_statement"):
                continue
            if definition_of(node).type == "function_definition" and is_class:
                self._judge_member(label, node, found)
            elif node.type in KINDS and is_class:
                found.imports.append(node)
            elif not self._is_text(node) and self._syntax.tokens(node) not in present:
                line = self._syntax.raw(node).split("\n")[0]
                raise RejectedReplyError(
                    f"the reply changes `{label}` outside `{self._target.name}`: `{line}`",
                    f"change only `{self._target.qualname}`",
                )

    def _is_text(self, node: Node) -> bool:
        return node.type == "expression_statement" and [c.type for c in node.named_children] in (
            ["string"],
            ["ellipsis"],
        )

    def _present_container(self, label: str) -> frozenset[tuple[str, ...]]:
        """Statements of every definition of that name in the module."""
        syntax = self._module.syntax
        found: set[tuple[str, ...]] = set()
        for pattern in ("(class_definition) @d", "(function_definition) @d"):
            for node in syntax.captures(pattern, "d"):
                body = node.child_by_field_name("body")
                if body and name_of(syntax, node) == label:
                    found |= _statements(syntax, body.named_children)
        return frozenset(found)

    def _judge_member(self, label: str, node: Node, found: _Sorted) -> None:
        function = self._reply.function(node)
        owner = self._target.owner or ""
        same_name = [
            f
            for f in self._module.functions
            if f.name == function.name and f.owner and f.owner.rpartition(".")[2] == label
        ]
        if not same_name:
            if owner.rpartition(".")[2] == label:
                found.members.append(function)
        elif function.name == self._target.name and len(same_name) == 1:
            return  # a second version of the wanted method: the chosen one stands
        elif not any(self._same(function, present) for present in same_name):
            raise RejectedReplyError(
                f"the reply changes `{label}.{function.name}` too",
                f"change only `{self._target.qualname}` and leave the other methods out",
            )


def _statements(syntax: Syntax, nodes: Iterable[Node]) -> frozenset[tuple[str, ...]]:
    return frozenset(syntax.tokens(node) for node in nodes)


def keep(reply: Reply, wanted: Function, found: _Sorted, *, own: frozenset[str]) -> Parts:
    """The parts that `wanted` needs, directly or through a helper; nobody's needs are dropped.

    `own` are the module's definitions, which an import must not take over. Star imports are left
    out: they could take over any name of the user's module; a test that misses one says so.

    Raises:
        RejectedReplyError: a statement that is neither illustration nor a part.
    """
    module = reply.module
    for node in found.doubtful:
        raise _not_allowed(module.syntax, node, wanted.name)
    kept: list[Function] = [wanted]
    names, words = _needs(module, wanted)
    while True:
        more = [h for h in found.helpers if h not in kept and h.name in names]
        more += [m for m in found.members if m not in kept and m.name in words]
        if not more:
            break
        for function in more:
            kept.append(function)
            free, all_words = _needs(module, function)
            names, words = names | free, words | all_words
    for node in found.after:
        if _bound(module.syntax, node) & (names | {wanted.name}):
            raise _not_allowed(module.syntax, node, wanted.name)
    imported = [b for node in found.imports for b in bindings(module.syntax, node)]
    return Parts(
        reply=reply,
        wanted=wanted,
        helpers=tuple(h for h in found.helpers if h in kept),
        members=tuple(m for m in found.members if m in kept),
        imports=tuple(
            b
            for b in imported
            if b.module != "__future__" and b.name in names and b.name not in own
        ),
    )


def _needs(module: Module, function: Function) -> tuple[frozenset[str], frozenset[str]]:
    """(names it takes from the module, every word in it)."""
    code = text_of(module, function)
    return module_names(code), Syntax(code).names()


def _bound(syntax: Syntax, node: Node) -> frozenset[str]:
    """Names that a statement may give a value at module level."""
    if node.type in _DEFINITIONS:
        return frozenset({name_of(syntax, node)})
    targets = syntax.captures(
        "(assignment left: (_) @t) (augmented_assignment left: (_) @t) (for_statement left: (_) @t)"
        " (as_pattern_target) @t (named_expression name: (_) @t) (global_statement) @t"
        " (delete_statement) @t (import_statement) @t (import_from_statement) @t"
        " (function_definition name: (_) @t) (class_definition name: (_) @t)",
        "t",
        node,
    )
    return frozenset().union(*(syntax.names(target) for target in targets))


def _not_allowed(syntax: Syntax, node: Node, name: str) -> RejectedReplyError:
    line = syntax.raw(node).split("\n")[0].strip()
    return RejectedReplyError(
        f"the reply holds a statement outside the function: `{line}`",
        f"only imports and helper functions may stand beside `{name}`, so move it into the "
        "function or leave it out",
    )
