"""Where a name's definition lies, as far as imports tell: across modules, through re-exports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tree_sitter import Node

from oci_lsp.source.imports import Binding
from oci_lsp.source.project import Project, SourceFile
from oci_lsp.source.syntax import Syntax

# Re-exports followed one after the other.
_DEEPEST = 8
_TYPED = "(type) @t"
_BASES = "(class_definition superclasses: (argument_list) @t)"


@dataclass(frozen=True)
class Found:
    """A module-level definition; `node` is None for the module itself."""

    file: SourceFile
    name: str
    node: Node | None

    @property
    def key(self) -> tuple[str, int]:
        """Equal for the same definition of one `Project`."""
        return self.file.name, self.node.start_byte if self.node else -1


def lookup(project: Project, file: SourceFile, dotted: str) -> Found | None:
    """The definition that `a` or `a.b.c` means at module level of a file.

    Attributes are followed through modules only: of `Cls.attribute` the class is found.
    """
    head, *rest = dotted.split(".")
    found = _named(project, file, head, _DEEPEST)
    if found is None and rest:
        # `import a.b` of a package without `__init__.py`, which has no file of its own.
        for binding in file.bindings:
            if not binding.attribute and f"{dotted}.".startswith(f"{binding.module}."):
                inner = project.imported(binding.module, file.path)
                found = Found(inner, head, None) if inner else None
                rest = dotted.removeprefix(binding.module).split(".")[1:]
    for name in rest:
        if found is None or found.node is not None:
            break
        found = _named(project, found.file, name, _DEEPEST) or _submodule(project, found, name)
    return found


def _submodule(project: Project, found: Found, name: str) -> Found | None:
    inner = project.imported(f".{name}", found.file.path)
    return Found(inner, name, None) if inner and found.file.path.name == "__init__.py" else None


def _named(project: Project, file: SourceFile, name: str, deepest: int) -> Found | None:
    if name in file.definitions:
        return Found(file, name, file.definitions[name])
    if not deepest:
        return None
    for binding in file.bindings:
        if binding.name == name and (found := _bound(project, file, binding, deepest - 1)):
            return found
    if name.startswith("_"):
        return None
    for binding in file.bindings:
        inner = project.imported(binding.module, file.path) if binding.name == "*" else None
        if inner and inner is not file and (found := _named(project, inner, name, deepest - 1)):
            return found
    return None


def _bound(project: Project, file: SourceFile, binding: Binding, deepest: int) -> Found | None:
    """What an import binds its name to."""
    if not binding.attribute:
        plain = binding.name == binding.module.partition(".")[0]
        inner = project.imported(binding.name if plain else binding.module, file.path)
        return Found(inner, binding.name, None) if inner else None
    inner = project.imported(binding.module, file.path)
    if (
        inner
        and inner is not file
        and (found := _named(project, inner, binding.attribute, deepest))
    ):
        return found
    dot = "" if binding.module.endswith(".") else "."
    below = project.imported(f"{binding.module}{dot}{binding.attribute}", file.path)
    return Found(below, binding.name, None) if below else None


def dotted_names(syntax: Syntax, node: Node | None = None) -> Iterator[str]:
    """`a` and `a.b.c` as they are read below a node, in order, each once; no calls in between."""
    seen: set[str] = set()
    nodes = syntax.captures("[(attribute) (identifier)] @n", "n", node)
    for item in sorted(nodes, key=lambda n: (n.start_byte, -n.end_byte)):
        text = "".join(syntax.tokens(item))
        if text not in seen and all(part.isidentifier() for part in text.split(".")):
            parent = item.parent
            if (
                parent
                and parent.type == "attribute"
                and parent.child_by_field_name("object") != item
            ):
                continue
            seen.add(text)
            yield text


def hinted_names(syntax: Syntax, node: Node) -> Iterator[str]:
    """Names in the annotations and base classes below a node, those within quotes too."""
    for pattern in (_TYPED, _BASES):
        for item in sorted(syntax.captures(pattern, "t", node), key=lambda n: n.start_byte):
            yield from dotted_names(syntax, item)
            for quoted in syntax.captures("(string_content) @s", "s", item):
                inner = Syntax(syntax.string(quoted))
                yield from dotted_names(inner)
