"""Names that a piece of code takes from its module."""

from __future__ import annotations

import symtable
import warnings
from collections.abc import Iterator

from oci_lsp.source.syntax import Syntax


def module_names(code: str) -> frozenset[str]:
    """Names that `code`, statements at one depth, reads or binds at module level.

    Code newer than our Python yields all its identifiers: too many rather than too few.
    """
    if code[:1] in (" ", "\t"):
        code = "if True:\n" + code
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = symtable.symtable(code, "<reply>", "exec")
    except (SyntaxError, ValueError, RecursionError):
        return Syntax(code).names()
    found = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    for inner in _below(table):
        found |= {symbol.get_name() for symbol in inner.get_symbols() if symbol.is_global()}
    return frozenset(found)


def _below(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _below(child)
