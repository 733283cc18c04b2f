"""A definition as text for a prompt: whole where short, else its signature and what it is for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tree_sitter import Node

from oci_lsp.source.functions import Module
from oci_lsp.source.lines import normalise
from oci_lsp.source.parts import definition_of, name_of
from oci_lsp.source.syntax import Syntax

# A definition up to this many lines is shown whole.
SHORT = 12
_FUNCTION, _CLASS = "function_definition", "class_definition"
_BLOCKS = ("if_statement", "try_statement", "else_clause", "except_clause", "block")


def top_level(nodes: Iterable[Node]) -> Iterator[Node]:
    """Statements at module level, those under `if` and `try` too."""
    for node in nodes:
        if node.type in _BLOCKS:
            yield from top_level(node.named_children)
        else:
            yield node


def bound_names(syntax: Syntax, node: Node) -> frozenset[str]:
    """The names that a statement of `top_level` defines; imports are not asked here."""
    if definition_of(node).type in (_FUNCTION, _CLASS):
        return frozenset({name_of(syntax, node)})
    if node.type == "expression_statement" and node.named_children:
        left = node.named_children[0].child_by_field_name("left")
        if left and left.type not in ("attribute", "subscript"):
            return syntax.names(left)
    if node.type == "type_alias_statement":
        left = node.child_by_field_name("left")
        return syntax.names(left) if left else frozenset()
    return frozenset()


def shown(module: Module, node: Node, used: frozenset[str] = frozenset()) -> str:
    """A module-level statement: whole where short; of a class the members in `used` too."""
    inner = definition_of(node)
    rows = node.end_point.row - node.start_point.row + 1
    if inner.type == _CLASS:
        if rows <= SHORT:
            return normalise(module.syntax.raw(node))
        return "\n".join(_class(module, inner, used=used))
    if inner.type == _FUNCTION:
        return normalise(module.syntax.raw(node) if rows <= SHORT else outline(module, node))
    return shortened(normalise(module.syntax.raw(node)))


def brief(module: Module, node: Node) -> str:
    """A module-level statement as short as it still tells something."""
    inner = definition_of(node)
    if inner.type == _CLASS:
        return "\n".join(_class(module, inner, words=False))
    if inner.type == _FUNCTION:
        return normalise(outline(module, node))
    return shortened(normalise(module.syntax.raw(node)), 2)


def members(
    module: Module, owner: Node, leave_out: int, used: frozenset[str] = frozenset()
) -> Iterator[str]:
    """A class line by line for one of its methods, the one that starts at `leave_out`."""
    yield from _class(module, owner, leave_out=leave_out, used=used, own=True)


def _class(
    module: Module,
    owner: Node,
    *,
    leave_out: int = -1,
    used: frozenset[str] = frozenset(),
    own: bool = False,
    words: bool = True,
) -> Iterator[str]:
    syntax = module.syntax
    body = owner.child_by_field_name("body")
    yield from header(syntax, owner)
    for node in body.named_children if body else ():
        inner = definition_of(node)
        if node.type == "comment":
            continue
        if inner.type not in (_FUNCTION, _CLASS):
            text = syntax.raw(node)
            if own or words or not text.lstrip("rR").startswith(('"', "'")):
                yield _indented(module, node, text if own else shortened(text))
            continue
        if syntax.start(node) == leave_out:
            continue
        name = name_of(syntax, node)
        rows = node.end_point.row - node.start_point.row + 1
        private = name.startswith("_") and not name.endswith("__")
        if name in used and rows <= SHORT and words:
            yield _indented(module, node, syntax.raw(node))
        elif own or name in used or not private:
            yield _indented(module, node, outline(module, node, words=words))


def _indented(module: Module, node: Node, text: str) -> str:
    return normalise(module.lines.indent(node.start_point.row) + text)


def header(syntax: Syntax, node: Node) -> Iterator[str]:
    """A class's line with its decorators; its docstring comes with the body."""
    parent = node.parent
    if parent and parent.type == "decorated_definition":
        for child in parent.children:
            if child.type == "decorator":
                yield normalise(syntax.raw(child))
    colon = next((c for c in reversed(node.children) if c.type == ":"), None)
    end = syntax.end(colon) if colon else syntax.lines.end(node.start_point.row)
    yield normalise(syntax.text[syntax.start(node) : end])


def outline(module: Module, node: Node, *, words: bool = True) -> str:
    """A definition without its body: decorators, signature, first line of the docstring.

    Of `__init__` the attributes that it sets stay, which no other place tells.
    """
    syntax = module.syntax
    if definition_of(node).type == _CLASS:
        return "\n".join([*header(syntax, definition_of(node)), "    ..."])
    start = syntax.start(node)
    function = next((f for f in module.functions if f.span.start == start), None)
    if function is None:
        return syntax.raw(node).split("\n")[0]
    inner = function.indent + "    "
    lead = [d + "\n" + function.indent for d in function.decorators]
    doc = (function.docstring or "").strip().split("\n")[0] if words else ""
    body = [f'"""{doc}"""'] if doc and '"""' not in doc and "\\" not in doc else []
    if function.name in ("__init__", "__post_init__"):
        body += _attributes(syntax, node)
    elif body:
        body.append("...")
    tail = "".join(f"\n{inner}{line}" for line in body) or " ..."
    return "".join([*lead, function.signature, tail])


def _attributes(syntax: Syntax, node: Node) -> Iterator[str]:
    """The assignments to attributes of `self` that stand in one line, each attribute once."""
    seen: set[str] = set()
    pattern = "(assignment left: (attribute object: (identifier) @self)) @a"
    for item in sorted(syntax.captures(pattern, "a", node), key=lambda n: n.start_byte):
        left = item.child_by_field_name("left")
        text = normalise(syntax.raw(item))
        if left is None or not text.startswith("self.") or syntax.string(left) in seen:
            continue
        seen.add(syntax.string(left))
        yield text if "\n" not in text else f"{text.split(chr(10))[0]} ..."
        if len(seen) == SHORT:
            return


def shortened(text: str, most: int = SHORT) -> str:
    """A statement of many lines (a table) by its first ones."""
    lines = text.split("\n")
    if len(lines) <= most:
        return text
    kept = max(1, most // 2)
    return "\n".join([*lines[:kept], f"# ... {len(lines) - kept} lines not shown"])
