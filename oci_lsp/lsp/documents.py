"""The editor's buffers: one immutable value per version, and positions in the client's units.

pygls keeps buffers too, but it also ends a line at form feeds and other characters that the
protocol does not take for line ends, so it would misplace edits in files that hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from lsprotocol import types as lsp

from oci_lsp.source.lines import Lines

if TYPE_CHECKING:
    from oci_lsp.source.functions import Module, Span

_UNITS: dict[str, Callable[[str], int]] = {
    lsp.PositionEncodingKind.Utf8: lambda c: len(c.encode("utf-8", "surrogatepass")),
    lsp.PositionEncodingKind.Utf16: lambda c: 2 if ord(c) > 0xFFFF else 1,
    lsp.PositionEncodingKind.Utf32: lambda c: 1,
}


def path_of(uri: str) -> Path | None:
    """The absolute path of a `file:` URI; None for any other (untitled, notebook cell, remote)."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        return None
    path = Path(unquote(parts.path))
    return path if path.is_absolute() else None


@dataclass(frozen=True)
class Document:
    """One version of a buffer; `encoding` is the unit of the client's columns."""

    uri: str
    version: int
    text: str
    language: str
    encoding: str = lsp.PositionEncodingKind.Utf16

    @cached_property
    def lines(self) -> Lines:
        return Lines(self.text)

    @cached_property
    def module(self) -> Module:
        """Parsed when first asked for, once per version."""
        from oci_lsp.source.functions import parse

        return parse(self.text)

    @property
    def path(self) -> Path | None:
        """The file's absolute path, links unresolved; None where the buffer has none."""
        return path_of(self.uri)

    @property
    def name(self) -> str:
        """What to call the buffer in a message."""
        return self.uri.rpartition("/")[2] or self.uri

    @property
    def is_python(self) -> bool:
        return self.language == "python" or self.uri.endswith(".py")

    def offset(self, position: lsp.Position) -> int:
        """The code point at a position; beyond a line's or the text's end: that end."""
        if position.line >= len(self.lines):
            return len(self.text)
        line = self.lines.content(position.line)
        start = self.lines.start(position.line)
        if line.isascii():
            return start + min(position.character, len(line))
        count, units = _UNITS[self.encoding], 0
        for column, character in enumerate(line):
            units += count(character)
            if units > position.character:
                return start + column
        return start + len(line)

    def position(self, offset: int) -> lsp.Position:
        """The position of a code point."""
        row = self.lines.row(offset)
        before = self.text[self.lines.start(row) : offset]
        if before.isascii():
            return lsp.Position(row, len(before))
        return lsp.Position(row, sum(map(_UNITS[self.encoding], before)))

    def range(self, span: Span) -> lsp.Range:
        return lsp.Range(self.position(span.start), self.position(span.end))

    def changed(
        self, changes: Iterable[lsp.TextDocumentContentChangeEvent], version: int
    ) -> Document:
        """The buffer after a client's changes, each of which refers to the one before it."""
        now = self
        for change in changes:
            text = change.text
            if isinstance(change, lsp.TextDocumentContentChangePartial):
                start, end = now.offset(change.range.start), now.offset(change.range.end)
                text = now.text[:start] + text + now.text[max(start, end) :]
            now = replace(now, text=text)
        return replace(now, version=version)


class Documents:
    """The open buffers, by URI however it is quoted."""

    def __init__(self) -> None:
        self.encoding: str = lsp.PositionEncodingKind.Utf16
        self._open: dict[str, Document] = {}

    def __iter__(self) -> Iterator[Document]:
        return iter(tuple(self._open.values()))

    def get(self, uri: str) -> Document | None:
        return self._open.get(unquote(uri))

    def open(self, item: lsp.TextDocumentItem) -> None:
        document = Document(item.uri, item.version, item.text, item.language_id, self.encoding)
        self._open[unquote(item.uri)] = document

    def change(self, params: lsp.DidChangeTextDocumentParams) -> None:
        """Take over a client's changes; for a buffer that is not open they mean nothing."""
        identifier = params.text_document
        if document := self.get(identifier.uri):
            changed = document.changed(params.content_changes, identifier.version)
            self._open[unquote(identifier.uri)] = changed

    def close(self, uri: str) -> None:
        self._open.pop(unquote(uri), None)
