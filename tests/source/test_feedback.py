"""The user's words: comments taken out whatever the layout, and tests named in them."""

from __future__ import annotations

import pytest

from oci_lsp.source.feedback import code_of, named_tests
from oci_lsp.source.functions import feedback_lines, parse
from oci_lsp.source.splice import splice
from tests.projects import fenced

NEW = "def add(a, b):\n    return a + b\n"


@pytest.mark.parametrize(
    ("source", "words", "expected"),
    [
        ("def add(a, b):\n    # oci: use sum\n    return 1\n", ["use sum"], NEW),
        # Several lines, above and inside and behind the code, written in every way.
        (
            "# oci: first\n# kept\ndef add(a, b):\n    #OCI: second\n    #  oci:third\n"
            "    return 1  # oci: 4\n",
            ["first", "second", "third", "4"],
            "# kept\n" + NEW,
        ),
        (
            "class A:\r\n\t# oci: \U0001f600 go\r\n\tdef add(a, b):\r\n\t\t# oci: on\r\n"
            "\t\treturn 1\r\n",
            ["\U0001f600 go", "on"],
            "class A:\r\n\tdef add(a, b):\r\n\t\treturn a + b\r\n",
        ),
        ("def add(a, b):\n\treturn 1\n\t# oci: the last line", ["the last line"], NEW.rstrip()),
        ("def add(a, b):  # oci: of the head\n    return 1\n", ["of the head"], NEW),
    ],
)  # fmt: skip
def test_the_edit_removes_the_comments(source, words, expected):
    module = parse(source)
    (target,) = module.functions
    assert list(feedback_lines(module, target)) == words
    made = splice(module, target, fenced(NEW))
    assert made.text.replace("\t", "    ") == expected.replace("\t", "    ")
    assert "oci" not in code_of(module, target).lower()


def test_code_is_the_same_with_and_without_words():
    code = "x = 1\n\n\ndef add(a, b):\n{}    return a\n"
    plain, told = parse(code.format("")), parse(code.format("    # oci: b\n"))
    assert code_of(plain, plain.functions[0]) == code_of(told, told.functions[0])


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("keep it short", []),
        ("the tests: all of them", []),
        ("test: tests/test_a.py::test_b", ["tests/test_a.py::test_b"]),
        (
            "see `tests/a.py::T::test_b[1-x]`, and test_c.py::t.",
            ["tests/a.py::T::test_b[1-x]", "test_c.py::t"],
        ),
        ("tests: tests/test_a.py", ["tests/test_a.py"]),
        ("like util.py does", []),
        (
            "It is wrong:\nassert add(1, 1) == 2\nassert add(\n    0, 0\n) == 0\nmind that",
            ["assert add(1, 1) == 2\nassert add(\n    0, 0\n) == 0\n"],
        ),
        ("we assert nothing", []),
        (">>> add(1, 1)\n2", [">>> add(1, 1)\n2\n"]),
    ],
)  # fmt: skip
def test_words_may_name_tests(words, named):
    assert list(named_tests([words])) == named
