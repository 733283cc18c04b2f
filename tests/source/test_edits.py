"""Edits are small, whole lines, and lead from the old text to the new."""

from __future__ import annotations

import pytest

from oci_lsp.source.edits import apply_edits, minimal_edits


@pytest.mark.parametrize(
    ("old", "new", "edits"),
    [
        ("a\nb\n", "a\nb\n", []),
        ("", "", []),
        ("", "a\n", [("", "a\n")]),
        ("a\nb\nc\n", "a\nX\nc\n", [("b\n", "X\n")]),
        ("a\nb\nc\nd\ne\n", "X\nb\nc\nd\nY\n", [("a\n", "X\n"), ("e\n", "Y\n")]),
        ("a\r\nb\r\n", "a\r\nn\r\nb\r\n", [("", "n\r\n")]),
        ("a\nb", "a\nb\n", [("b", "b\n")]),
        ("🎉\nb\n🎉\n", "🎉\nc\n🎉\n", [("b\n", "c\n")]),
        ("a\n", "", [("a\n", "")]),
    ],
)
def test_edits_of_whole_lines(old, new, edits):
    found = minimal_edits(old, new)
    assert [(edit.span.of(old), edit.replacement) for edit in found] == edits
    assert apply_edits(old, found) == new


def test_a_huge_change_is_one_edit():
    old = "".join(f"a{i}\n" for i in range(6000))
    new = "".join(f"b{i}\n" for i in range(6000))
    assert len(minimal_edits("x\n" + old, "x\n" + new)) == 1
