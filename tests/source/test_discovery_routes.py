"""Tests are found too for functions that no test names: through those that use them."""

from __future__ import annotations

from pathlib import Path

import pytest

from oci_lsp.source.functions import parse
from oci_lsp.source.tests import Selection, find_tests, referencing_tests
from oci_lsp.source.testsource import test_source
from tests.projects import write

MATHS = """\
from pkg.deep import digest

try:
    from nowhere import fast
except ImportError:

    def fast(x):
        return _slow(x)


def _slow(x):
    return x


def public(x):
    return _first(x)


def _first(x):
    return _second(x)


def _second(x):
    return _third(x)


def _third(x):
    return _fourth(x)


def _fourth(x):
    def inner(y):
        return y

    return inner(x)


def lonely(x):
    return x


alias = lonely


class Base:
    def run(self):
        return self.step()

    def step(self):
        return 0

    def size(self):
        return 1

    def get(self):
        return 2


class Low(Base):
    def step(self):
        return self._level

    def _get_level(self):
        return 3

    level = property(_get_level)

    @property
    def _level(self):
        return 4


class Other:
    def get(self):
        return 5

    def fetch(self):
        return self.get()


def summed(x):
    return digest(x)
"""
DEEP = "def digest(x):\n    return _mixed(x)\n\n\ndef _mixed(x):\n    return x\n"
TESTS = """\
from pkg.maths import Base, Low, Other, alias, fast, public, summed


def test_public():
    assert public(1) == 1


def test_alias():
    assert alias(1) == 1


def test_low_size():
    assert Low().size() == 1


def test_low_level():
    assert Low().level == 3


def test_low_runs():
    assert Low().run() == 4


def test_fetch():
    assert Other().fetch() == 5


def test_summed():
    assert summed(1) == 1


def test_fast():
    assert fast(1) == 1
"""
FILE = "tests/test_maths.py"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {"pkg/__init__.py": "", "pkg/maths.py": MATHS, "pkg/deep.py": DEEP, FILE: TESTS}
    return write(tmp_path, files)


def chosen(root: Path, name: str, qualname: str) -> Selection:
    path = root / name
    module = parse(path.read_text())
    function = module.named(qualname)
    assert function is not None
    return find_tests(root, path, module, function)


def names(root: Path, qualname: str, name: str = "pkg/maths.py") -> list[str]:
    return [test.rpartition("::")[2] for test in chosen(root, name, qualname).node_ids]


@pytest.mark.parametrize(
    ("qualname", "tests"),
    [
        pytest.param("_first", ["test_public"], id="one hop"),
        pytest.param("_second", ["test_public"], id="two hops"),
        pytest.param("_third", ["test_public"], id="three hops"),
        pytest.param("_fourth", [], id="too far"),
        pytest.param("_slow", ["test_fast"], id="by what an except clause defines"),
        pytest.param("lonely", ["test_alias"], id="another name of it"),
        pytest.param("Base.size", ["test_low_size"], id="inherited"),
        pytest.param("Low._get_level", ["test_low_level"], id="a property's getter"),
        pytest.param("Low._level", ["test_low_runs"], id="a property that a method reads"),
        pytest.param("Low.step", ["test_low_runs"], id="called by its base class"),
        pytest.param("Other.get", ["test_fetch"], id="through its own class"),
        pytest.param("Base.get", [], id="not through another class's method of that name"),
    ],
)
def test_a_function_that_no_test_names_is_reached_through_its_users(root, qualname, tests):
    assert names(root, qualname) == tests


def test_users_in_other_modules_count(root):
    assert names(root, "digest", "pkg/deep.py") == ["test_summed"]
    assert names(root, "_mixed", "pkg/deep.py") == ["test_summed"]


def test_a_function_inside_another_is_reached_through_that_one(tmp_path):
    root = write(
        tmp_path,
        {
            "mod.py": "class C:\n    def m(self):\n        def inner():\n            return 1\n"
            "        return inner()\n\n    def other(self):\n        return 2\n",
            "test_mod.py": "from mod import C\n\n\ndef test_m():\n    assert C().m() == 1\n\n\n"
            "def test_other():\n    assert C().other() == 2\n",
        },
    )
    assert names(root, "C.m.inner", "mod.py") == ["test_m"]


def test_where_few_tests_name_it_those_of_its_users_follow(tmp_path):
    users = "".join(f"def user{n}(x):\n    return f(x)\n\n\n" for n in range(30))
    tests = "".join(f"def test_user{n}():\n    assert mod.user{n}(1) == 1\n\n\n" for n in range(30))
    root = write(
        tmp_path,
        {
            "mod.py": f"def f(x):\n    return x\n\n\n{users}",
            "test_mod.py": f"import mod\n\n\n{tests}def test_f():\n    assert mod.f(1) == 1\n",
        },
    )
    found = names(root, "f", "mod.py")
    assert found[0] == "test_f"
    assert len(found) == 15
    many = "".join(f"def test_f{n}():\n    assert mod.f({n}) == {n}\n\n\n" for n in range(50))
    (root / "test_mod.py").write_text(f"import mod\n\n\n{tests}{many}")
    found = names(root, "f", "mod.py")
    assert len(found) == 40
    assert all(name.startswith("test_f") for name in found)
    module = parse((root / "mod.py").read_text())
    every = referencing_tests(root, root / "mod.py", module, module.functions[0])
    assert len(every) == 50, "regressions are looked for in all of them"


MIXIN = """\
import unittest

from mod import Box


class Shared:
    def test_put(self):
        self.assertEqual(self.make().put(1), 1)

    def test_own(self):
        raise AssertionError("overridden")


class TestBox(unittest.TestCase, Shared):
    def make(self):
        return Box()

    def test_own(self):
        self.assertEqual(self.make().put(2), 2)
"""


def test_tests_that_a_class_inherits_are_its_own(tmp_path):
    root = write(
        tmp_path,
        {"mod.py": "class Box:\n    def put(self, x):\n        return x\n", "test_mod.py": MIXIN},
    )
    selection = chosen(root, "mod.py", "Box.put")
    assert set(selection.node_ids) == {
        "test_mod.py::TestBox::test_put",
        "test_mod.py::TestBox::test_own",
    }
    source = test_source(root, selection)
    assert "self.make().put(1)" in source
    assert "overridden" not in source


@pytest.mark.parametrize(
    ("files", "test_file"),
    [
        ({}, "test.py"),
        ({}, "app/tests.py"),
        ({"pytest.ini": "[pytest]\npython_files = check_*.py\n"}, "checks/check_f.py"),
        ({"tox.ini": "[pytest]\npython_files =\n    test_*.py\n    *Spec.py\n"}, "FSpec.py"),
        ({"setup.cfg": "[tool:pytest]\npython_files = check/*.py\n"}, "check/f.py"),
        ({"pyproject.toml": '[tool.pytest]\npython_files = ["spec_*.py"]\n'}, "spec_f.py"),
        (
            {"pyproject.toml": '[tool.pytest.ini_options]\ntestpaths = ["qa/all.py"]\n'},
            "qa/all.py",
        ),
        ({"pytest.ini": "[pytest]\n", "setup.cfg": "[tool:pytest]\npython_files = no.py"}, None),
        ({"pyproject.toml": "[tool.pytest"}, None),
        ({"pytest.ini": "python_files"}, None),
    ],
)
def test_which_files_hold_tests_is_the_projects_word_too(tmp_path, files, test_file):
    test = "from mod import f\n\n\ndef test_f():\n    assert f(1) == 1\n"
    more = {"mod.py": "def f(x):\n    return x\n", "no.py": test}
    # An empty pyproject.toml would be pytest's word, if there were one.
    root = write(tmp_path, {"pyproject.toml": "", **files, **more, test_file or "no.py": test})
    expected = (f"{test_file}::test_f",) if test_file else ()
    assert chosen(root, "mod.py", "f").node_ids == expected


DOCUMENTED = '''\
def f(x):
    """Same.

    >>> f(1)
    1
    {more}"""
    {comment}return x
'''


@pytest.mark.parametrize(
    ("more", "comment", "origin", "node_ids"),
    [
        ("", "", "docstring", ("test_mod.py::test_f", "test_mod.py::test_more")),
        ("# test: test_mod.py::test_f\n    ", "", "docstring", ("test_mod.py::test_f",)),
        ("", "# assert f(2) == 2\n    ", "comment", ()),
    ],
    ids=["examples alone", "tests named in the docstring", "asserts in a comment"],
)
def test_tests_join_examples_unless_the_user_said_which(tmp_path, more, comment, origin, node_ids):
    tests = "from mod import f\n\n\ndef test_f():\n    assert f(1) == 1\n\n\n"
    tests += "def test_more():\n    assert f(3) == 3\n"
    code = DOCUMENTED.format(more=more, comment=comment)
    root = write(tmp_path, {"mod.py": code, "test_mod.py": tests})
    selection = chosen(root, "mod.py", "f")
    assert selection.origin == origin
    assert selection.node_ids == node_ids
    assert any(snippet.kind == "doctest" for snippet in selection.snippets)
