"""Tokens to text, and where text ends, whatever pieces it comes in."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from oci_lsp.engine.process.textstream import Detokenizer, StopWatch


def feed(pieces, stops=(), *, after_code=False):
    """The text that comes through, and whether it was stopped."""
    watch = StopWatch(stops, after_code=after_code)
    text = ""
    for piece in pieces:
        text += watch.add(piece)
        if watch.stopped:
            return text, True
    return text + watch.finish(), False


BLOCK = "Here:\n```python\ndef f():\n    return 1\n```"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (BLOCK + "\nIt returns 1.", BLOCK),
        ("~~~\nx\n~~~\ny", "~~~\nx\n~~~"),
        ("````md\n```\n````\ny", "````md\n```\n````"),
        ("```py\n    ```\nx\n```\ny", "```py\n    ```\nx\n```"),
        ("Use `a` and ``` b ``` here", None),
        ("```python\nx = 1\n", None),
        ("no code at all", None),
        ("x ```\ny\n```", None),
    ],
)
def test_the_first_code_block_ends_the_text(text, kept):
    for pieces in ([text], list(text)):
        assert feed(pieces, after_code=True) == (kept or text, kept is not None)
    assert feed([text]) == (text, False)


@pytest.mark.parametrize(
    ("text", "stops", "kept"),
    [
        ("one two three", ["two"], "one "),
        ("one two three", ["three", "two"], "one "),
        ("aab", ["ab"], "a"),
        ("a\n``b", ["`", "\n``"], "a\n"),
        ("ababac", ["abac"], "ab"),
        ("one", ["one more"], None),
        ("ends with <", ["<|end|>"], None),
    ],
)
def test_stop_texts(text, stops, kept):
    for pieces in ([text], list(text)):
        expected = (text, False) if kept is None else (kept, True)
        assert feed(pieces, stops) == expected


@example("\n``", [], ["`", "\n``"])
@given(
    st.text(alphabet="ab`\n ", max_size=60),
    st.lists(st.integers(0, 60), max_size=8),
    st.lists(st.text(alphabet="ab`\n", min_size=1, max_size=4), max_size=3),
)
def test_pieces_make_no_difference(text, cuts, stops):
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [text[a:b] for a, b in itertools.pairwise(places)]
    one_by_one = feed(list(text), stops, after_code=True)
    assert feed(pieces, stops, after_code=True) == one_by_one


@pytest.mark.parametrize(
    "text", ["plain", "grüße", "日本語のテキスト", "a🎉b👩‍👩‍👧c", "  indented\n\tx"]
)
def test_detokenising_byte_by_byte(tiny_model, text):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    detokenizer = Detokenizer(tokenizer)
    pieces = [detokenizer.add(token) for token in tokenizer(text)["input_ids"]]
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces)
    assert detokenizer.finish() == ""


def test_an_unfinished_character_at_the_end(tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    detokenizer = Detokenizer(tokenizer)
    tokens = tokenizer("a🎉")["input_ids"][:-1]
    assert "".join(detokenizer.add(token) for token in tokens) == "a"
    assert detokenizer.finish() == "\ufffd"
