"""Imports of a module: what names they bind, and merging a reply's imports into them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tree_sitter import Node

from oci_lsp.errors import RejectedReplyError
from oci_lsp.source.edits import Edit
from oci_lsp.source.functions import Module, Span
from oci_lsp.source.lines import newline_of
from oci_lsp.source.syntax import Syntax

# A `from` statement is not lengthened beyond this; the names then get a line of their own.
_LINE_LENGTH = 88
KINDS = frozenset({"import_statement", "import_from_statement", "future_import_statement"})


@dataclass(frozen=True)
class Binding:
    """One name that an import binds: `from module import attribute as name`."""

    name: str
    """The local name; `*` for a star import."""
    module: str
    attribute: str
    """Empty for `import module`."""

    def statement(self) -> str:
        if not self.attribute:
            plain = self.name == self.module.partition(".")[0]
            return f"import {self.module}" + ("" if plain else f" as {self.name}")
        return f"from {self.module} import {self._item()}"

    def _item(self) -> str:
        plain = self.name == self.attribute
        return self.attribute + ("" if plain else f" as {self.name}")


def bindings(syntax: Syntax, node: Node) -> tuple[Binding, ...]:
    """What one import statement binds."""
    names = node.children_by_field_name("name")
    if node.type == "import_statement":
        return tuple(_plain(syntax, item) for item in names)
    if node.type == "future_import_statement":
        module = "__future__"
    else:
        field = node.child_by_field_name("module_name")
        module = "".join(syntax.tokens(field)) if field else ""
    if any(child.type == "wildcard_import" for child in node.children):
        return (Binding("*", module, "*"),)
    found = []
    for item in names:
        attribute, alias = _alias(syntax, item)
        found.append(Binding(alias or attribute, module, attribute))
    return tuple(found)


def _plain(syntax: Syntax, item: Node) -> Binding:
    module, alias = _alias(syntax, item)
    return Binding(alias or module.partition(".")[0], module, "")


def _alias(syntax: Syntax, item: Node) -> tuple[str, str]:
    if item.type != "aliased_import":
        return "".join(syntax.tokens(item)), ""
    name, alias = item.child_by_field_name("name"), item.child_by_field_name("alias")
    return (
        "".join(syntax.tokens(name)) if name else "",
        syntax.string(alias) if alias else "",
    )


def module_bindings(syntax: Syntax) -> tuple[Binding, ...]:
    """Names that imports anywhere at module level bind, those in `if` and `try` blocks too."""
    pattern = "[(import_statement) (import_from_statement) (future_import_statement)] @i"
    found: list[Binding] = []
    for node in syntax.captures(pattern, "i"):
        parent = node.parent
        while parent and parent.type not in ("function_definition", "class_definition"):
            parent = parent.parent
        if parent is None:
            found.extend(bindings(syntax, node))
    return tuple(found)


def import_edits(module: Module, wanted: Iterable[Binding], before: int) -> tuple[Edit, ...]:
    """Edits that add the wanted imports the module lacks, above the offset `before`.

    Raises:
        RejectedReplyError: a name already stands for another import.
    """
    present = module_bindings(module.syntax)
    by_name: dict[str, set[Binding]] = {}
    for binding in present:
        by_name.setdefault(binding.name, set()).add(binding)
    missing: list[Binding] = []
    for binding in dict.fromkeys(wanted):
        same_name = by_name.get(binding.name, set())
        if binding in same_name or binding in missing:
            continue
        if same_name and not all(_shares_package(binding, other) for other in same_name):
            used = min(other.statement() for other in same_name)
            raise RejectedReplyError(
                f"the name `{binding.name}` already comes from `{used}` in this module, "
                f"so `{binding.statement()}` cannot be added",
                "use the import that is there",
            )
        missing.append(binding)
    return _placed(module, missing, before) if missing else ()


def _shares_package(one: Binding, other: Binding) -> bool:
    """`import os` and `import os.path` bind the same package."""
    return (
        not one.attribute
        and not other.attribute
        and one.module.partition(".")[0] == other.module.partition(".")[0]
        and one.name == other.name == one.module.partition(".")[0]
    )


def _placed(module: Module, missing: list[Binding], before: int) -> tuple[Edit, ...]:
    syntax, newline = module.syntax, newline_of(module.text)
    head = _head_imports(module, before)
    edits: list[Edit] = []
    fresh: list[str] = []
    grown: dict[int, tuple[Node, list[str]]] = {}
    for binding in missing:
        node = _growable(syntax, head, binding)
        if node is None:
            fresh.append(binding.statement())
        else:
            grown.setdefault(node.start_byte, (node, []))[1].append(binding._item())
    for node, items in grown.values():
        line = syntax.raw(node)
        longer = ", ".join([line, *items])
        if len(longer) <= _LINE_LENGTH:
            end = syntax.end(node)
            edits.append(Edit(Span(end, end), longer[len(line) :]))
        else:
            name = node.child_by_field_name("module_name")
            source = syntax.string(name) if name else ""
            fresh.append(f"from {source} import {', '.join(items)}")
    if fresh:
        edits.append(_block(module, head, fresh, newline, before))
    return tuple(sorted(edits, key=lambda e: e.span))


def _head_imports(module: Module, before: int) -> list[Node]:
    """Imports at the top: before any definition and above the offset `before`."""
    found = []
    for node in module.syntax.root.children:
        if node.type.endswith("_definition") or module.syntax.start(node) >= before:
            break
        if node.type in KINDS and module.syntax.at_margin(node):
            found.append(node)
    return found


def _growable(syntax: Syntax, head: list[Node], binding: Binding) -> Node | None:
    """A plain one-line `from` statement of the same module that can take one more name."""
    for node in head:
        if node.type != "import_from_statement" or not binding.attribute:
            continue
        own = bindings(syntax, node)
        line = syntax.raw(node)
        if own and own[0].module == binding.module and own[0].name != "*":
            rest = syntax.lines.end(node.end_point.row) - syntax.end(node)
            if "(" not in line and node.start_point.row == node.end_point.row and not rest:
                return node
    return None


def _block(
    module: Module, head: list[Node], statements: list[str], newline: str, before: int
) -> Edit:
    """New import lines below the last import, or below the docstring, or at the top."""
    lines, text = module.lines, module.text
    if head:
        row = head[-1].end_point.row
        end = lines.end(row)
        return Edit(Span(end, end), "".join(newline + item for item in statements))
    block = newline.join(statements)
    docstring = _module_docstring(module)
    if docstring is not None and module.syntax.end(docstring) <= before:
        end = lines.end(docstring.end_point.row)
        return Edit(Span(end, end), newline * 2 + block)
    row = 0
    while lines.is_comment(row) and row + 1 < len(lines) and lines.start(row + 1) < before:
        row += 1
    # A comment that touches the code below describes that code: go above it.
    if row and not lines.is_blank(row):
        row = 1 if text.startswith("#!") else 0
    start = lines.code_start(0) if row == 0 else lines.start(row)
    gap = newline * (1 if lines.is_blank(row) else 3)
    return Edit(Span(start, start), (newline if row and lines.is_blank(row) else "") + block + gap)


def _module_docstring(module: Module) -> Node | None:
    for node in module.syntax.root.children:
        if node.type == "comment":
            continue
        if node.type == "expression_statement" and node.named_child_count == 1:
            child = node.named_child(0)
            return node if child is not None and child.type == "string" else None
        return None
    return None
