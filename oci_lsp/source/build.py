"""Functions read from tree nodes, or from outlines where the tree is broken."""

from __future__ import annotations

import ast
from dataclasses import replace

from tree_sitter import Node

from oci_lsp.source.elements import Function, Span
from oci_lsp.source.lines import Lines, width
from oci_lsp.source.recovery import Outline
from oci_lsp.source.syntax import Syntax, parse_python


def from_node(syntax: Syntax, node: Node) -> Function:
    """The function of a `function_definition` node."""
    outer = outer_of(node)
    name = node.child_by_field_name("name")
    names = [syntax.string(name) if name else ""]
    owner: str | None = None
    parent, direct = outer.parent, True
    while parent:
        if parent.type in ("class_definition", "function_definition"):
            label = parent.child_by_field_name("name")
            names.append(syntax.string(label) if label else "")
            if direct and parent.type == "class_definition":
                owner = ""
            direct = False
        parent = parent.parent
    names.reverse()
    return _build(
        syntax,
        node,
        qualname=".".join(names),
        owner=".".join(names[:-1]) if owner is not None else None,
    )


def _build(syntax: Syntax, node: Node, *, qualname: str, owner: str | None) -> Function:
    outer, lines = outer_of(node), syntax.lines
    start, definition = syntax.start(outer), syntax.start(node)
    colon, block = definition, node.child_by_field_name("body")
    for child in node.children:
        if child.type == ":":
            colon = syntax.end(child)
    statements = [c for c in block.children if c.is_named] if block else []
    indent = lines.indent(lines.row(definition))
    code_end = max(colon, syntax.end(statements[-1])) if statements else colon
    end = _with_comments(lines, code_end, width(indent))
    body = Span(syntax.start(statements[0]) if statements else min(colon, end), end)
    docstring, docstring_span = _docstring(syntax, statements)
    return Function(
        name=qualname.rpartition(".")[2],
        qualname=qualname,
        span=Span(start, end),
        definition=Span(definition, end),
        body=body,
        signature=syntax.text[definition:colon],
        decorators=tuple(syntax.raw(c) for c in outer.children if c.type == "decorator"),
        docstring=docstring,
        docstring_span=docstring_span,
        indent=indent,
        is_async=bool(node.children) and node.children[0].type == "async",
        owner=owner,
        comment=_comment_above(lines, lines.row(start)),
        lines=(lines.row(start), lines.row(end)),
        broken=outer.has_error,
    )


def from_outline(lines: Lines, outline: Outline) -> Function:
    """A function of a broken region; read as a tree where its own text is sound."""
    text = lines.text
    first = lines.start(lines.row(outline.start))
    indent = lines.indent(lines.row(outline.definition))
    opener = "if 1:\n" if indent else ""
    alone, shift = Syntax(opener + text[first : outline.end]), first - len(opener)
    nodes = alone.captures("(function_definition) @f", "f")
    node = min(nodes, key=lambda n: n.start_byte, default=None)
    sound = node is not None and not alone.root.has_error
    if sound and node is not None and alone.start(node) + shift == outline.definition:
        built = _build(alone, node, qualname=outline.qualname, owner=outline.owner)
        return _moved(lines, built, shift)
    end = _with_comments(lines, outline.end, width(indent))
    header_end = max(outline.colon, outline.definition)
    body = min(end, header_end + len(text[header_end:end]) - len(text[header_end:end].lstrip()))
    return Function(
        name=outline.name,
        qualname=outline.qualname,
        span=Span(outline.start, end),
        definition=Span(outline.definition, end),
        body=Span(body, end),
        signature=text[outline.definition : header_end],
        decorators=tuple(text[a:b] for a, b in outline.decorators),
        docstring=None,
        docstring_span=None,
        indent=indent,
        is_async=outline.is_async,
        owner=outline.owner,
        comment=_comment_above(lines, lines.row(outline.start)),
        lines=(lines.row(outline.start), lines.row(end)),
        broken=True,
    )


def _moved(lines: Lines, built: Function, shift: int) -> Function:
    def move(span: Span) -> Span:
        return Span(span.start + shift, span.end + shift)

    end = _with_comments(lines, built.span.end + shift, width(built.indent))
    start = built.span.start + shift
    return replace(
        built,
        span=Span(start, end),
        definition=Span(built.definition.start + shift, end),
        body=Span(built.body.start + shift, end),
        docstring_span=move(built.docstring_span) if built.docstring_span else None,
        comment=_comment_above(lines, lines.row(start)),
        lines=(lines.row(start), lines.row(end)),
    )


def _with_comments(lines: Lines, end: int, columns: int) -> int:
    """`end` moved past the comments behind and below that are indented as the body is."""
    row = lines.row(end)
    if lines.text[end : lines.end(row)].lstrip().startswith(("#", ";")):
        end = lines.start(row) + len(lines.content(row).rstrip())
    for below in range(row + 1, len(lines)):
        if lines.is_blank(below):
            continue
        if not lines.is_comment(below) or width(lines.indent(below)) <= columns:
            break
        end = lines.start(below) + len(lines.content(below).rstrip())
    return end


def _comment_above(lines: Lines, row: int) -> Span | None:
    indent, first = lines.indent(row), row
    while first > 0 and lines.is_comment(first - 1) and lines.indent(first - 1) == indent:
        first -= 1
    if first == row:
        return None
    return Span(lines.code_start(first), lines.end(row - 1))


def outer_of(node: Node) -> Node:
    """The definition with its decorators."""
    parent = node.parent
    return parent if parent and parent.type == "decorated_definition" else node


def _docstring(syntax: Syntax, statements: list[Node]) -> tuple[str | None, Span | None]:
    first = next((s for s in statements if s.type != "comment"), None)
    if first is None or first.type != "expression_statement":
        return None, None
    if [c.type for c in first.children] not in (["string"], ["concatenated_string"]):
        return None, None
    try:
        value = ast.literal_eval(parse_python(f"({syntax.raw(first)})", mode="eval"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None, None
    if not isinstance(value, str):
        return None, None
    return value, Span(syntax.start(first), syntax.end(first))
