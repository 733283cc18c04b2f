"""tree-sitter over a Python text: byte positions turned into code points, incremental reparsing."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Literal

import tree_sitter
import tree_sitter_python
from tree_sitter import Node

from oci_lsp.source.lines import Lines

_LONE_CR = re.compile(rb"\r(?!\n)")
# The text may hold lone surrogates (an editor's half emoji); they must not raise.
_ERRORS = "surrogatepass"
# Grammar that Pythons after 3.11 extended; only with it may a tree be right where `ast` fails.
_NEWER = "[(type_parameter) (type_alias_statement) (interpolation) (except_clause)] @newer"


@lru_cache(maxsize=1)
def _language() -> tree_sitter.Language:
    return tree_sitter.Language(tree_sitter_python.language())


@lru_cache(maxsize=32)
def _query(pattern: str) -> tree_sitter.Query:
    return tree_sitter.Query(_language(), pattern)


def _encode(text: str) -> bytes:
    data = text.encode("utf-8", _ERRORS)
    # Python and editors end a line at a lone CR, tree-sitter does not.
    return _LONE_CR.sub(b"\n", data) if b"\r" in data else data


class Syntax:
    """A syntax tree with positions in code points of `text` (0-based, half-open)."""

    def __init__(self, text: str, old: Syntax | None = None) -> None:
        """Parse `text`, reusing the tree of `old`, a text that differs in one stretch."""
        self.text = text
        self._data = _encode(text)
        parser = tree_sitter.Parser(_language())
        # surrogates are no UTF-8: tree-sitter sees errors there, never fails
        self._tree = parser.parse(self._data) if old is None else self._reparse(parser, old)

    def _reparse(self, parser: tree_sitter.Parser, old: Syntax) -> tree_sitter.Tree:
        prefix = common_prefix(old._data, self._data)
        limit = min(len(old._data), len(self._data)) - prefix
        suffix = min(limit, common_suffix(old._data, self._data))
        old_end, new_end = len(old._data) - suffix, len(self._data) - suffix
        tree = old._tree.__copy__()
        tree.edit(
            prefix,
            old_end,
            new_end,
            _point(self._data, prefix),
            _point(old._data, old_end),
            _point(self._data, new_end),
        )
        return parser.parse(self._data, tree)

    @property
    def root(self) -> Node:
        return self._tree.root_node

    @cached_property
    def lines(self) -> Lines:
        return Lines(self.text)

    @cached_property
    def has_newer_grammar(self) -> bool:
        """It may need a newer Python than ours: type parameters, nested quotes in f-strings."""
        return bool(self.captures(_NEWER, "newer"))

    @property
    def first_error_row(self) -> int:
        """Row of the first node that is an error or missing; 0 where there is none."""
        node = self.root
        while node.has_error and not (node.is_error or node.is_missing):
            child = next((c for c in node.children if c.has_error or c.is_missing), None)
            if child is None:
                break
            node = child
        return node.start_point.row if node.has_error else 0

    @cached_property
    def _byte_starts(self) -> list[int] | None:
        """Byte at which each row starts; None where bytes and code points coincide."""
        if self.text.isascii():
            return None
        return [0, *(match.end() for match in re.finditer(b"\n", self._data))]

    def start(self, node: Node) -> int:
        return self._offset(node.start_byte, node.start_point.row)

    def end(self, node: Node) -> int:
        byte = node.end_byte
        # To the grammar the CR of a CRLF is the last character of a comment.
        if node.type == "comment" and self._data[byte - 1 : byte] == b"\r":
            byte -= 1
        return self._offset(byte, node.end_point.row)

    def _offset(self, byte: int, row: int) -> int:
        if self._byte_starts is None:
            return byte
        first = self._byte_starts[row]
        part = self._data[first:byte].decode("utf-8", _ERRORS)
        return self.lines.start(row) + len(part)

    def byte(self, offset: int) -> int:
        """The byte of a code point."""
        if self._byte_starts is None:
            return offset
        row = self.lines.row(offset)
        part = self.text[self.lines.start(row) : offset]
        return self._byte_starts[row] + len(part.encode("utf-8", _ERRORS))

    def at_margin(self, node: Node) -> bool:
        """The node starts its line without indentation; a byte order mark is none."""
        column = node.start_point.column
        return not column or (column == 3 and not node.start_byte - 3 and self.text[0] == "\ufeff")

    def string(self, node: Node) -> str:
        return self._data[node.start_byte : node.end_byte].decode("utf-8", _ERRORS)

    def raw(self, node: Node) -> str:
        """The node's text with its line ends as they are."""
        return self.text[self.start(node) : self.end(node)]

    def captures(self, pattern: str, name: str, node: Node | None = None) -> list[Node]:
        """Nodes captured as `name` by a tree-sitter query, in no promised order."""
        cursor = tree_sitter.QueryCursor(_query(pattern))
        return cursor.captures(node or self.root).get(name, [])

    def names(self, node: Node | None = None) -> frozenset[str]:
        """Every identifier below the node: names, attributes, parameters, keywords."""
        found = self.captures("(identifier) @name", "name", node)
        return frozenset(self.string(item) for item in found)

    def plain_names(self, node: Node) -> frozenset[str]:
        """Identifiers below the node that are no attribute: what a scope is searched for."""
        attributes = self.captures("(attribute attribute: (identifier) @a)", "a", node)
        places = {item.start_byte for item in attributes}
        found = self.captures("(identifier) @name", "name", node)
        return frozenset(self.string(item) for item in found if item.start_byte not in places)

    def tokens(self, node: Node) -> tuple[str, ...]:
        """Leaves of the node without comments and layout: equal code has equal tokens.

        A block is opened by `{` and its number of statements, so that nesting counts.
        """
        return tuple(
            f"{{{leaf.named_child_count}" if leaf.type == "block" else self.string(leaf)
            for leaf in leaves(node)
        )


def leaves(node: Node) -> Iterator[Node]:
    """Leaves and blocks below a node in order; a string is one leaf; no comments, no line joins."""
    stack = [node]
    while stack:
        item = stack.pop()
        if item.type in ("comment", "line_continuation"):
            continue
        if item.type == "block":
            yield item
        if item.type == "string" or not item.child_count:
            yield item
        else:
            stack.extend(reversed(item.children))


def _point(data: bytes, byte: int) -> tuple[int, int]:
    return data.count(b"\n", 0, byte), byte - (data.rfind(b"\n", 0, byte) + 1)


def common_prefix(a: bytes | str, b: bytes | str) -> int:
    """Length of the common start; compares slices, so 400 kB take microseconds."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def common_suffix(a: bytes | str, b: bytes | str) -> int:
    """Length of the common end."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[len(a) - middle : len(a) - low] == b[len(b) - middle : len(b) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def parse_python(code: str, mode: Literal["exec", "eval"] = "exec") -> ast.AST:
    """The tree of our own Python's parser; warnings about the user's code are not ours to print.

    Raises:
        SyntaxError: also for what `ast` reports otherwise (NUL bytes, too deep nesting).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code.removeprefix("\ufeff"), mode=mode)
        except (ValueError, MemoryError, RecursionError) as error:
            raise SyntaxError(str(error)) from error
