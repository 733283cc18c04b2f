"""The user's test is found where DESIGN.md says, in that order."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from oci_lsp.errors import TestsError
from oci_lsp.source.functions import CommentBlock, Function, Module, parse
from oci_lsp.source.tests import Selection, find_tests, referencing_tests, test_source

MODULE = '''\
"""Things."""
RATE = 2


def f(x):
    return helper(x)


def helper(x):
    return x * RATE


def plain(x):
    """Say.

    >>> plain(1)
    1
    >>> for i in range(1):
    ...     plain(i)
    0
    """
    return x


# assert noted(1) == [
#     1,
# ]
# assert that it holds
def noted(x):
    # assert x > 0
    # test: check the empty list
    # test: tests/test_things.py::test_f
    return [x]


class Stack:
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)

    def get(self):
        return self.items[-1]

    def __len__(self):
        return len(self.items)


# function: later(x)
# >>> later(1)
# 1

# function: soon(x)
'''

TESTS = """\
import json
import unittest

import pytest

from shop.things import Stack, f as g, soon

CASES = [(g, 1)]


@pytest.fixture
def stack():
    return Stack()


def check(x):
    return g(x)


def test_f():
    assert g(1) == 2


def test_through_helper():
    assert check(1) == 2


def test_through_constant():
    for function, x in CASES:
        function(x)


def test_other():
    assert {}.get(1) is None


def test_fixture(stack):
    assert stack.get()


def test_soon():
    soon(1)


class TestStack:
    def setup_method(self):
        self.stack = Stack()

    @pytest.mark.parametrize("x", [1, 2])
    def test_push(self, x):
        self.stack.push(x)

    def helper(self):
        return 1


class OldStyle(unittest.TestCase):
    def setUp(self):
        self.made = Stack()

    def test_len(self):
        self.assertEqual(len(self.made), 0)


class NoTest:
    def test_push(self):
        Stack().push(1)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {
        "src/shop/__init__.py": "",
        "src/shop/things.py": MODULE,
        "tests/test_things.py": TESTS,
        "tests/conftest.py": "from shop import things\n\n\ndef made(): return things.Stack()\n",
        "tests/deep/test_more.py": "import shop.things\ndef test_f(): shop.things.f(1)\n"
        "def test_made(made): made.push(1)\n",
        "tests/test_unrelated.py": "from other import f\ndef test_f(): f(1)\n",
        "tests/.hidden/test_h.py": "from shop.things import f\ndef test_f(): f(1)\n",
        "venv/pyvenv.cfg": "",
        "venv/test_v.py": "from shop.things import f\ndef test_f(): f(1)\n",
        "node_modules/test_n.py": "from shop.things import f\ndef test_f(): f(1)\n",
        "tests/test_latin.py": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "tests/test_latin.py").write_bytes(b"# \xe9 f\nfrom shop.things import f\n")
    return tmp_path


def found(root: Path, qualname: str, *requested: str, **more: Any) -> Selection:
    module, path = parse(MODULE), root / "src/shop/things.py"
    return find_tests(root, path, module, named(module, qualname), requested, **more)


def named(module: Module, qualname: str) -> Function:
    function = module.named(qualname)
    assert function is not None
    return function


def comment(module: Module, needle: str) -> CommentBlock:
    block = module.comment_at(module.text.index(needle))
    assert block is not None
    return block


THINGS = "tests/test_things.py"
MORE = "tests/deep/test_more.py"


@pytest.mark.parametrize(
    ("qualname", "node_ids"),
    [
        (
            "f",
            [
                f"{THINGS}::test_f",
                f"{MORE}::test_f",
                f"{THINGS}::test_through_helper",
                f"{THINGS}::test_through_constant",
            ],
        ),
        # No test says its name: those of `f`, which calls it.
        (
            "helper",
            [
                f"{THINGS}::test_f",
                f"{MORE}::test_f",
                f"{THINGS}::test_through_helper",
                f"{THINGS}::test_through_constant",
            ],
        ),
        ("Stack.push", [f"{THINGS}::TestStack::test_push", f"{MORE}::test_made"]),
        ("Stack.get", [f"{THINGS}::test_fixture"]),
    ],
)
def test_tests_that_reference_the_function(root, qualname, node_ids):
    selection = found(root, qualname)
    assert list(selection.node_ids) == node_ids
    assert selection.origin == ("reference" if node_ids else "none")
    assert selection.empty is not bool(node_ids)


def test_a_special_method_is_meant_by_its_class(root):
    assert set(found(root, "Stack.__len__").node_ids) == {
        f"{THINGS}::test_fixture",
        f"{THINGS}::TestStack::test_push",
        f"{THINGS}::OldStyle::test_len",
        f"{MORE}::test_made",
    }


def test_unsaved_texts_count_instead_of_the_disk(root):
    buffers = {
        root / THINGS: "def test_nothing(): pass\n",
        root / "tests/test_new.py": "from shop.things import helper\ndef test_h(): helper(1)\n",
    }
    assert found(root, "f", buffers=buffers).node_ids == (f"{MORE}::test_f",)
    assert found(root, "helper", buffers=buffers).node_ids == (
        "tests/test_new.py::test_h",
        f"{MORE}::test_f",
    )


def test_the_functions_own_file_may_hold_its_tests(tmp_path):
    text = "def f(x):\n    return x\n\n\ndef test_f():\n    assert f(1)\n"
    module = parse(text)
    path = tmp_path / "solution.py"
    assert referencing_tests(tmp_path, path, module, named(module, "f")) == ("solution.py::test_f",)
    assert referencing_tests(tmp_path, path, module, named(module, "test_f")) == (
        "solution.py::test_f",
    )


@pytest.mark.parametrize(
    ("imports", "use", "is_found"),
    [
        ("from pkg.sub.mod import f", "f(1)", True),
        ("from pkg.sub.mod import f as z", "z(1)", True),
        ("from pkg.sub.mod import *", "f(1)", True),
        ("from pkg.sub import mod", "mod.f(1)", True),
        ("from pkg.sub import mod as m", "m.f(1)", True),
        ("import pkg.sub.mod", "pkg.sub.mod.f(1)", True),
        ("import pkg.sub.mod as m", "m.f(1)", True),
        ("from pkg import f", "f(1)", True),
        ("from .sub.mod import f", "f(1)", True),
        ("from .sub import mod", "mod.f(1)", True),
        ("from pkg.sub.mod import g", "g(1)", False),
        ("from pkg.sub.mod import g", "f(1)", False),
        ("from mod import f", "f(1)", False),
        ("from pkg.other import f", "f(1)", False),
        ("import pkgs", "pkgs.f(1)", False),
    ],
)
def test_which_imports_reach_the_function(tmp_path, imports, use, is_found):
    for folder in ("pkg", "pkg/sub"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("")
    (tmp_path / "pkg/test_it.py").write_text(f"{imports}\n\ndef test_it():\n    {use}\n")
    module = parse("def f(x):\n    return x\n")
    ids = referencing_tests(tmp_path, tmp_path / "pkg/sub/mod.py", module, named(module, "f"))
    assert ids == (("pkg/test_it.py::test_it",) if is_found else ())


def test_examples_of_the_docstring(root):
    selection = found(root, "plain")
    assert selection.origin == "docstring"
    [snippet] = selection.snippets
    assert snippet.kind == "doctest"
    assert snippet.text == ">>> plain(1)\n1\n\n>>> for i in range(1):\n...     plain(i)\n0\n"
    assert MODULE.splitlines()[snippet.line].strip() == ">>> plain(1)"


def test_asserts_and_ids_in_comments_but_no_prose_and_no_dead_code(root):
    selection = found(root, "noted")
    assert selection.origin == "comment"
    assert selection.node_ids == (f"{THINGS}::test_f",)
    [snippet] = selection.snippets
    assert (snippet.kind, snippet.text) == ("asserts", "assert noted(1) == [\n    1,\n]\n")
    assert MODULE.splitlines()[snippet.line] == "# assert noted(1) == ["


def test_a_comment_brings_its_own_test_or_is_awaited_by_one(root):
    module, path = parse(MODULE), root / "src/shop/things.py"
    own = find_tests(root, path, module, comment(module, "later(x)"))
    assert own.origin == "comment"
    assert own.snippets[0].text == ">>> later(1)\n1\n"
    written_first = find_tests(root, path, module, comment(module, "soon(x)"))
    assert written_first.node_ids == (f"{THINGS}::test_soon",)


@pytest.mark.parametrize(
    "request_text",
    [
        f"{THINGS}::test_f",
        f"{THINGS}::TestStack::test_push",
        f"{THINGS}::TestStack::test_push[1]",
        f"{THINGS}::TestStack",
        THINGS,
    ],
)
def test_a_request_comes_first(root, request_text):
    for text in (request_text, f"{root}/{request_text}"):
        selection = found(root, "plain", text)
        assert selection == Selection((request_text,), (), "request")


def test_a_requested_snippet(root):
    selection = found(root, "f", "x = 1\nassert f(x) == 2", "text\n>>> f(1)\n2\n")
    assert [s.kind for s in selection.snippets] == ["asserts", "doctest"]
    assert selection.snippets[0].text == "x = 1\nassert f(x) == 2\n"
    assert selection.snippets[1].text == ">>> f(1)\n2\n"


@pytest.mark.parametrize(
    ("request_text", "message"),
    [
        ("tests/test_none.py::test_x", r"'tests/test_none.py' does not exist"),
        ("test_things.py::test_f", r"Did you mean tests/test_things.py\?"),
        (f"{THINGS}::test_ff", r"no test 'test_ff'\nIt has: test_f\b"),
        (f"{THINGS}::TestStack::helper", "no test"),
        (f"{THINGS}::NoTest::test_push", "no test"),
        ("the tests", "is no test\nName a pytest node id"),
        ("f(1) == 2", "is no test"),
        ("", "is no test"),
        (">>>f(1)\n2", "cannot be read"),
        ("/etc/passwd", "outside the project"),
    ],
)
def test_a_request_that_cannot_be_used_says_why(root, request_text, message):
    with pytest.raises(TestsError, match=message):
        found(root, "f", request_text)


def test_an_id_that_only_running_can_tell_is_allowed(root):
    text = "from base import *\nmade = build()\nclass TestA(Base): pass\n"
    (root / "tests/test_dynamic.py").write_text(text)
    for name in ("test_x", "made", "TestA::test_inherited"):
        node_id = f"tests/test_dynamic.py::{name}"
        assert found(root, "f", node_id).node_ids == (node_id,)


@pytest.mark.parametrize(
    "pins",
    [
        {"src/shop/things.py::f": f"{THINGS}::test_other"},
        {"src/shop/things.py": {"f": [f"{THINGS}::test_other"]}},
        {"f": [f"{THINGS}::test_other"]},
    ],
)
def test_a_pin_goes_before_references(root, pins):
    assert found(root, "f", pins=pins) == Selection((f"{THINGS}::test_other",), (), "pin")


def test_a_wrong_pin_says_so(root):
    with pytest.raises(TestsError, match="pin of f"):
        found(root, "f", pins={"f": 3})


def test_the_source_of_tests_has_what_they_lean_on(root):
    selection = found(
        root, "f", f"{THINGS}::test_through_helper", f"{THINGS}::TestStack::test_push"
    )
    source = test_source(root, selection)
    assert source == textwrap.dedent(
        """\
        # tests/test_things.py
        import pytest
        from shop.things import Stack, f as g, soon

        def check(x):
            return g(x)

        def test_through_helper():
            assert check(1) == 2

        class TestStack:

            def setup_method(self):
                self.stack = Stack()

            @pytest.mark.parametrize("x", [1, 2])
            def test_push(self, x):
                self.stack.push(x)"""
    )


@pytest.mark.parametrize("limit", [120, 200, 300])
def test_the_source_of_tests_is_bounded_and_tells_what_is_missing(root, limit):
    source = test_source(root, found(root, "f"), limit=limit)
    assert len(source) <= limit
    assert "not shown" in source
    assert "test_f" in source


def test_the_source_of_snippets_is_their_text(root):
    assert test_source(root, found(root, "noted")).startswith("assert noted(1) == [\n    1,\n]\n")
    assert ">>> plain(1)" in test_source(root, found(root, "plain"))
