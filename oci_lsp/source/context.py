"""What the model should know around a function: imports, its class, what of the module it uses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tree_sitter import Node

from oci_lsp.source.functions import CommentBlock, Function, Module
from oci_lsp.source.lines import normalise
from oci_lsp.source.parts import definition_of, name_of, text_of
from oci_lsp.source.syntax import Syntax

# Characters of the three parts together; some 1,000 tokens.
_LIMIT = 4000
# A definition up to this many lines is shown whole.
_SHORT = 12
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Context:
    """Bounded Python text around a target; lines end in `\\n`, no part ends in one."""

    imports: str
    """The module's import statements."""
    owner: str
    """The class of a method: header, attributes, signatures of the other methods."""
    helpers: str
    """Definitions of the module that the function uses: whole where short, else outlined."""

    @property
    def text(self) -> str:
        return "\n\n".join(part for part in (self.imports, self.helpers, self.owner) if part)


def context(module: Module, target: Function | CommentBlock, *, limit: int = _LIMIT) -> Context:
    """The surroundings of `target`, at most `limit` characters; helpers are left out first.

    A line `# ... N definitions not shown` stands for what was left out.
    """
    imports = _fit(_imports(module), limit // 4, "imports")
    room = limit - len(imports)
    owner = _class_around(module, target)
    own = _fit(_owner(module, owner, target), room * 2 // 3, "members") if owner else ""
    room -= len(own)
    helpers = _fit(_helpers(module, target, owner), room, "definitions", gap="\n\n")
    return Context(imports, own, helpers)


def _fit(pieces: Iterable[str], room: int, what: str, gap: str = "\n") -> str:
    """As many pieces as `room` characters hold, in order, and a count of the others."""
    kept: list[str] = []
    left = 0
    used = len(f"# ... 999 {what} not shown")
    for piece in pieces:
        if used + len(gap) + len(piece) > room:
            left += 1
            continue
        used += len(gap) + len(piece)
        kept.append(piece)
    mark = f"# ... {left} {what} not shown"
    if left and len(mark) <= room:
        kept.append(mark)
    return gap.join(kept)


def _imports(module: Module) -> Iterator[str]:
    for span in module.imports:
        yield normalise(span.of(module.text))


def _class_around(module: Module, target: Function | CommentBlock) -> Node | None:
    """The class whose method the target is, or where it would be one."""
    if isinstance(target, Function) and target.owner is None:
        return None
    if isinstance(target, CommentBlock) and not target.indent:
        return None
    start = target.span.start
    best: Node | None = None
    for node in module.syntax.captures("(class_definition) @c", "c"):
        # A comment below the last statement lies outside the class in the tree.
        row = node.start_point.row
        inside = module.syntax.start(node) < start and (
            start <= module.syntax.end(node)
            or (isinstance(target, CommentBlock) and _reaches(module, node, target))
        )
        if inside and len(module.lines.indent(row)) < len(target.indent):
            best = node if best is None or node.start_byte > best.start_byte else best
    return best


def _reaches(module: Module, node: Node, comment: CommentBlock) -> bool:
    """Nothing but comments and blank lines stands between the class and the comment."""
    lines = module.lines
    rows = range(node.end_point.row + 1, comment.line)
    return all(lines.is_blank(row) or lines.is_comment(row) for row in rows)


def _owner(module: Module, owner: Node, target: Function | CommentBlock) -> Iterator[str]:
    syntax = module.syntax
    body = owner.child_by_field_name("body")
    yield from _header(syntax, owner)
    for node in body.named_children if body else ():
        inner = definition_of(node)
        if node.type == "comment":
            continue
        if inner.type in ("function_definition", "class_definition"):
            if syntax.start(node) != target.span.start:
                yield _indented(module, node, _outline(module, node))
        else:
            yield _indented(module, node, syntax.raw(node))


def _indented(module: Module, node: Node, text: str) -> str:
    return normalise(module.lines.indent(node.start_point.row) + text)


def _header(syntax: Syntax, node: Node) -> Iterator[str]:
    """A class's line with its decorators; its docstring comes with the body."""
    parent = node.parent
    if parent and parent.type == "decorated_definition":
        for child in parent.children:
            if child.type == "decorator":
                yield normalise(syntax.raw(child))
    colon = next((c for c in reversed(node.children) if c.type == ":"), None)
    end = syntax.end(colon) if colon else syntax.lines.end(node.start_point.row)
    yield normalise(syntax.text[syntax.start(node) : end])


def _outline(module: Module, node: Node) -> str:
    """A definition without its body: decorators, signature, first line of the docstring."""
    syntax = module.syntax
    if definition_of(node).type == "class_definition":
        return "\n".join([*_header(syntax, definition_of(node)), "    ..."])
    start = syntax.start(node)
    function = next((f for f in module.functions if f.span.start == start), None)
    if function is None:
        return syntax.raw(node).split("\n")[0]
    inner = function.indent + "    "
    lead = [d + "\n" + function.indent for d in function.decorators]
    words = (function.docstring or "").strip().split("\n")[0]
    doc = f'\n{inner}"""{words}"""' if words and '"""' not in words and "\\" not in words else ""
    tail = f"{doc}\n{inner}..." if doc else " ..."
    return "".join([*lead, function.signature, tail])


def _helpers(module: Module, target: Function | CommentBlock, owner: Node | None) -> Iterator[str]:
    """Module-level definitions that the target mentions, nearest mention aside: in file order."""
    syntax = module.syntax
    if isinstance(target, Function):
        code = text_of(module, target)
        used = Syntax("if 1:\n" + code if target.indent else code).names()
        start = target.span.start
    else:
        used, start = frozenset(_WORD.findall(target.text)), target.span.start
    for node in _top_level(syntax.root.named_children):
        if syntax.start(node) <= start < syntax.end(node) or definition_of(node) == owner:
            continue
        inner = definition_of(node)
        if inner.type == "function_definition":
            if name_of(syntax, node) in used:
                yield _shown(module, node)
        elif inner.type == "class_definition":
            if name_of(syntax, node) in used:
                yield _shown_class(module, node, inner)
        elif node.type == "expression_statement" and node.named_children:
            left = node.named_children[0].child_by_field_name("left")
            if left and left.type != "attribute" and syntax.names(left) & used:
                yield _shortened(normalise(syntax.raw(node)))
        elif node.type == "type_alias_statement" and syntax.names(node) & used:
            yield normalise(syntax.raw(node))


def _top_level(nodes: Iterable[Node]) -> Iterator[Node]:
    """Statements at module level, those under `if` and `try` too."""
    for node in nodes:
        if node.type in ("if_statement", "try_statement", "else_clause", "except_clause", "block"):
            yield from _top_level(node.named_children)
        else:
            yield node


def _shown(module: Module, node: Node) -> str:
    rows = node.end_point.row - node.start_point.row + 1
    text = module.syntax.raw(node) if rows <= _SHORT else _outline(module, node)
    return normalise(text)


def _shown_class(module: Module, node: Node, inner: Node) -> str:
    if node.end_point.row - node.start_point.row < _SHORT:
        return normalise(module.syntax.raw(node))
    lines = list(_header(module.syntax, inner))
    body = inner.child_by_field_name("body")
    for child in body.named_children if body else ():
        if definition_of(child).type in ("function_definition", "class_definition"):
            lines.append(_indented(module, child, _outline(module, child)))
        elif child.type != "comment":
            lines.append(_indented(module, child, _shortened(module.syntax.raw(child))))
    return normalise("\n".join(lines))


def _shortened(text: str) -> str:
    """A statement of many lines (a table) by its first ones."""
    lines = text.split("\n")
    if len(lines) <= _SHORT:
        return text
    return "\n".join([*lines[: _SHORT // 2], f"# ... {len(lines) - _SHORT // 2} lines not shown"])
