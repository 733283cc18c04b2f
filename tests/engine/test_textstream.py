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


FUNCTION = "def f(x):\n    if x:\n        return 1\n\n    return 2\n"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        pytest.param(
            f"# The bug: none.\n{FUNCTION}\nf(1)\n", f"# The bug: none.\n{FUNCTION}\n", id="call"
        ),
        pytest.param(
            f"```python\n{FUNCTION}\nprint(f(1))\n```", f"```python\n{FUNCTION}\n", id="print"
        ),
        pytest.param(f"{FUNCTION}```\nIt was wrong.", FUNCTION, id="only the closing fence"),
        pytest.param(f"{FUNCTION}\nThis function is right.", f"{FUNCTION}\n", id="prose"),
        pytest.param(f"{FUNCTION}- because", FUNCTION, id="a list"),
        pytest.param(
            f"{FUNCTION}importantly, it", FUNCTION, id="a word that begins like one of Python's"
        ),
        pytest.param(
            "    def f(x):\n        pass\n    x = 1\n",
            "    def f(x):\n        pass\n",
            id="method",
        ),
        pytest.param("async def f(x):\n    pass\nx", "async def f(x):\n    pass\n", id="async"),
        pytest.param(f"{FUNCTION}\n\ndef helper():\n    pass\n", None, id="helper"),
        pytest.param(f"def helper():\n    pass\n\nA = 1\n\n{FUNCTION}", None, id="before it"),
        pytest.param(
            f"{FUNCTION}\n# Done.\nimport re\n@cache\nclass A:\n    pass\n", None, id="code"
        ),
        pytest.param(
            'def f(x):\n    """Text\n\nat the margin\n"""\n    return 1\n', None, id="text"
        ),
        pytest.param("def f(\n    x,\n):\n    return 1\n", None, id="long signature"),
        pytest.param(f"```python\n{FUNCTION}```", None, id="fenced"),
        pytest.param(
            "class A:\n    def f(x):\n        pass\n\nclass B(A):\n    n = 3\n    def f(x): ...",
            None,
            id="in classes",
        ),
        pytest.param(
            'def f(x):\n    if x == \'"""\':\n        """A\ntext\n"""\n    return 1\n',
            None,
            id="quotes",
        ),
        pytest.param("def fx():\n    pass\nfx()\n", None, id="another name"),
        pytest.param(FUNCTION + "de", None, id="cut off"),
    ],
)
def test_the_end_of_the_definition_ends_the_text(text, kept):
    for pieces in ([text], list(text)):
        watch = StopWatch(definition="f")
        passed = ""
        for piece in pieces:
            passed += watch.add(piece)
            if watch.stopped:
                break
        else:
            passed += watch.finish()
        assert passed == (text if kept is None else kept)
        assert watch.stopped == (kept is not None)


def test_the_fence_comes_through_with_a_definition():
    watch = StopWatch(after_code=True, definition="f")
    text = f"```python\n{FUNCTION}```"
    assert "".join(watch.add(letter) for letter in text + "\nmore") == text
