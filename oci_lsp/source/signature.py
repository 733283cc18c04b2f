"""Signatures compared: the same parameters, whatever annotations say."""

from __future__ import annotations

import ast

from oci_lsp.source.syntax import Syntax, parse_python


def parameters(signature: str) -> tuple[tuple[str, str], ...] | None:
    """(name with its stars, default) of each parameter of a `def` line through its colon.

    Annotations, type parameters, quotes and layout do not count. None where it does not parse.
    """
    syntax = Syntax(signature + " ...\n")
    if syntax.root.has_error:
        return None
    nodes = syntax.captures("(function_definition parameters: (parameters) @p)", "p")
    if not nodes:
        return None
    found: list[tuple[str, str]] = []
    for node in nodes[0].named_children:
        if node.type == "comment":
            continue
        name, default = node, None
        if node.type in ("default_parameter", "typed_default_parameter"):
            name = node.child_by_field_name("name") or node
            default = node.child_by_field_name("value")
        elif node.type == "typed_parameter":
            name = node.named_children[0]
        value = _value(" ".join(syntax.tokens(default))) if default else ""
        found.append(("".join(syntax.tokens(name)), value))
    return tuple(found)


def _value(code: str) -> str:
    try:
        return ast.dump(parse_python(code, mode="eval"))
    except SyntaxError:
        return code


def has_annotations(signature: str) -> bool:
    """Whether a `def` line through its colon annotates a parameter or the result."""
    syntax = Syntax(signature + " ...\n")
    return bool(syntax.captures("(type) @t", "t"))
