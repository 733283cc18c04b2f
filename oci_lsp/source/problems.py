"""Syntax errors that stand in the way: those outside of the function to be written."""

from __future__ import annotations

import ast

from oci_lsp.source.functions import CommentBlock, Function, Module, parse


def syntax_error_outside(module: Module, target: Function | CommentBlock) -> int | None:
    """Row (0-based) of the first syntax error outside of `target`; None where there is none.

    An error counts when both grammars see it: tree-sitter's may lag behind our Python's, and our
    Python behind the project's.
    """
    if not module.broken:
        return None
    text = module.text
    if isinstance(target, Function):
        own = target.span.of(text)
        text = text[: target.span.start] + "pass" + "\n" * own.count("\n") + text[target.span.end :]
    # tree-sitter is asked first: it takes a third of the time, once for each text, and the function
    # that is being typed is nearly always all that is broken.
    if "\0" not in text and not parse(text).broken:
        return None
    try:
        ast.parse(text)
    except SyntaxError as error:
        return (error.lineno or 1) - 1
    except ValueError:  # a null byte
        return 0
    return None
