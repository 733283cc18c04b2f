"""A function is written below the comment that describes it."""

from __future__ import annotations

import ast

import pytest

from oci_lsp.errors import RejectedReplyError
from oci_lsp.source.functions import CommentBlock, parse
from oci_lsp.source.generated import wanted_name
from oci_lsp.source.splice import Spliced, splice


def comment(text: str, needle: str = "#") -> CommentBlock:
    found = parse(text).comment_at(text.index(needle))
    assert found is not None
    return found


def put(text: str, code: str, needle: str = "#") -> Spliced:
    spliced = splice(parse(text), comment(text, needle), f"Here:\n```python\n{code}\n```\nDone.")
    assert spliced.function.of(spliced.text) == spliced.code
    ast.parse(spliced.text)
    return spliced


SLUG = 'def slug(text):\n    """Words."""\n    return "-".join(text.split())'


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("", "", ""),
        ("", "\n", "\n"),
        ("import a\n\n\n", "\n\nX = 1\n", "\n\n\nX = 1\n"),
        ("import a\n\n\n", "\nX = 1\n", "\n\n\nX = 1\n"),
        ("", "\n\n\n\nX = 1", "\n\n\n\nX = 1"),
    ],
)
def test_it_goes_directly_below_with_blank_lines_after(before, after, expected):
    line = "# function: slug(text) -> words"
    spliced = put(f"{before}{line}{after}", SLUG)
    assert spliced.text == f"{before}{line}\n{SLUG}{expected}"
    assert (spliced.name, spliced.qualname) == ("slug", "slug")


def test_examples_in_the_comment_stay():
    text = "# Words joined by dashes.\n# >>> slug('A b')\n# 'A-b'\n"
    assert put(text, SLUG).text == text + SLUG + "\n"


def test_imports_and_helpers_go_above_the_comment():
    text = "import a\r\n\r\n# function: f()\r\n"
    code = (
        "import re\n\ndef helper():\n    return re\n\ndef f():\n    return helper()\n\nprint(f())"
    )
    assert put(text, code).text.replace("\r\n", "\n") == (
        "import a\nimport re\n\n\ndef helper():\n    return re\n\n\n"
        "# function: f()\ndef f():\n    return helper()\n"
    )
    assert "\n" not in put(text, code).text.replace("\r\n", "")


@pytest.mark.parametrize(
    "code",
    [
        "def size(self):\n    return 1",
        "    def size(self):\n        return 1",
        "class Box:\n    def __init__(self): ...\n    def size(self):\n        return 1",
    ],
)
def test_a_method_goes_into_its_class(code):
    text = "class Box:\n\t# method: size() -> number of things\n\n\tx = 1\n"
    spliced = put(text, code)
    assert spliced.qualname == "Box.size"
    assert spliced.text == (
        "class Box:\n\t# method: size() -> number of things\n"
        "\tdef size(self):\n\t\treturn 1\n\n\tx = 1\n"
    )


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("function: slug(text) -> words", "slug"),
        ("write slug(text)", "slug"),
        ("def slug(text: str) -> str", "slug"),
        ("Create a function: `slug(text)`", "slug"),
        ("join the words of a text", None),
        ("the function (see above)", None),
    ],
)
def test_the_name_in_the_comment(words, name):
    assert wanted_name(comment(f"# {words}\n")) == name


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        ("adds", "def a(x):\n    return x\n\ndef b(x):\n    return a(x)", "b"),
        ("adds", "def b(x):\n    return a(x)\n\ndef a(x):\n    return x", "b"),
        ("adds\n# >>> a(1)\n# 1", "def a(x):\n    return x\n\ndef b(x):\n    return 1", "a"),
        ("function: a(x)", "def b(x):\n    return 1\n\ndef a(x):\n    return b(x)", "a"),
        ("adds", "def a(x):\n    return x\n\ndef test_a():\n    assert a(1)", "a"),
        ("adds", "def a(x):\n    return x\n\ndef main():\n    a(1)\n\nmain()", "a"),
    ],
)
def test_which_of_several_functions_is_meant(words, code, name):
    assert put(f"# {words}\n", code).name == name


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("# function: f()\n", "def g():\n    return 1", "does not define `f`"),
        ("# adds\n\nX = 1\ndef f(): pass\n", "def f():\n    return 1", "already has"),
        ("# adds\n", "def f():\n    return K\nK = 1", "`K = 1`"),
        ("# adds\n", "x = 1", "defines no function"),
        ("# adds\n", "def f(:\n    return 1", "does not parse"),
    ],
)
def test_what_is_rejected_says_why(text, code, reason):
    with pytest.raises(RejectedReplyError, match=reason):
        put(text, code)
