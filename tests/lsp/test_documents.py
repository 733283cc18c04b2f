"""Buffers: positions in every unit, and changes as clients send them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types as lsp

from oci_lsp.lsp.documents import Document, Documents, path_of

UNITS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}
TEXTS = st.text(st.sampled_from("ab \t\f\u2028\u00e9\u20ac\U0001f600\n\r"), max_size=40)


def document(text: str, encoding: str = "utf-16") -> Document:
    return Document("file:///p/a.py", 1, text, "python", encoding)


@given(TEXTS, st.sampled_from(sorted(UNITS)), st.integers(0, 40))
def test_positions_count_the_clients_units_and_lead_back(text, encoding, offset):
    offset = min(offset, len(text))
    if text[:offset].endswith("\r") and text[offset:].startswith("\n"):
        offset -= 1
    *rows, last = re.split(r"\r\n|\r|\n", text[:offset])
    codec, width = UNITS[encoding]
    position = document(text, encoding).position(offset)
    assert position == lsp.Position(len(rows), len(last.encode(codec)) // width)
    assert document(text, encoding).offset(position) == offset


@given(TEXTS, TEXTS, st.sampled_from(sorted(UNITS)), st.data())
def test_an_incremental_change_replaces_what_the_range_covers(text, new, encoding, data):
    lines = document(text, encoding).lines
    places = sorted(
        data.draw(st.integers(lines.start(row), lines.end(row)))
        for row in data.draw(
            st.lists(st.integers(0, len(lines) - 1), min_size=2, max_size=2), label="rows"
        )
    )
    before = document(text, encoding)
    here = lsp.Range(before.position(places[0]), before.position(places[1]))
    after = before.changed([lsp.TextDocumentContentChangePartial(here, new)], 2)
    assert after.text == text[: places[0]] + new + text[places[1] :]
    assert after.version == 2


def test_positions_beyond_a_line_and_beyond_the_text_are_their_ends():
    text = "ab\r\n\U0001f600"
    assert document(text).offset(lsp.Position(0, 99)) == 2
    assert document(text).offset(lsp.Position(1, 1)) == 4  # inside of a surrogate pair
    assert document(text).offset(lsp.Position(1, 99)) == 5
    assert document(text).offset(lsp.Position(9, 0)) == 5


def test_each_change_refers_to_the_text_after_the_one_before_it():
    start = lsp.Range(lsp.Position(0, 0), lsp.Position(0, 0))
    changes = [lsp.TextDocumentContentChangePartial(start, text) for text in ("1", "2\n", "3")]
    whole = lsp.TextDocumentContentChangeWholeDocument("x")
    assert document("ab").changed(changes, 5).text == "32\n1ab"
    assert document("ab").changed([*changes, whole], 5).text == "x"


def test_one_buffer_however_its_uri_is_quoted():
    documents = Documents()
    documents.open(lsp.TextDocumentItem("file:///a%20b/%C3%A9.py", "python", 1, "x"))
    found = documents.get("file:///a b/é.py")
    assert found and found.path == Path("/a b/é.py")
    assert documents.get("file:///a%20b/c.py") is None
    identifier = lsp.VersionedTextDocumentIdentifier(2, "file:///nobody.py")
    documents.change(lsp.DidChangeTextDocumentParams(identifier, []))
    documents.close("file:///nobody.py")
    assert len(list(documents)) == 1


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///a/b%20c.py", Path("/a/b c.py")),
        ("file://localhost/a.py", Path("/a.py")),
        ("file://other/a.py", None),
        ("untitled:Untitled-1", None),
        ("vscode-notebook-cell:/a.ipynb#1", None),
        ("", None),
    ],
)
def test_the_path_of_a_uri(uri, path):
    assert path_of(uri) == path
