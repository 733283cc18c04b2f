"""How tests are written: fixtures, parameters, classes, unittest, doctest, async, hypothesis."""

from __future__ import annotations

from collections.abc import Mapping

from oci_lsp.verify.verdict import Snippet
from tests.verify.projects.shape import ADD, NODE, SAYS, TEST, Shape

_DOCTEST = '''"""Sums.

>>> add(0, 0)
0
"""


def add(a, b):
    """Add.

    >>> add(2, 3)
    5
    """
    return a - b
'''
_PRINTED = "add(2, 3)\nprinted: -1\nexpected: 5"
_ASYNC = "{}from calc import add\n\n{}async def test_add():\n    assert add(2, 3) == 5\n"
_README = "How to add\n==========\n\n>>> from calc import add\n>>> add(2, 3)\n5\n"


def _test(
    name: str,
    test: str,
    *ids: str,
    says: str = SAYS,
    needs: tuple[str, ...] = (),
    files: Mapping[str, str] | None = None,
) -> Shape:
    """A shape with the test file given; ids are those inside it."""
    return Shape(
        name,
        {"tests/test_calc.py": test, **(files or {})},
        tuple(f"tests/test_calc.py::{node}" for node in ids or ("test_add",)),
        says=says,
        needs=needs,
    )


def _odd(name: str, node: str, *, value: str | None = None, says: str = SAYS) -> Shape:
    """A test whose parameter's id is unusual."""
    return _test(
        f"a parameter's id {name}",
        "import pytest\nfrom calc import add\n\n@pytest.mark.parametrize('name', ["
        f"pytest.param(1, id={value or node!r}), 'another'])\ndef test_add(name):\n"
        "    assert add(2, 3) == 5\n",
        f"test_add[{node}]",
        says=says,
    )


SHAPES = (
    _test(
        "parametrised",
        "import pytest\nfrom calc import add\n\n@pytest.mark.parametrize('a, b, total',"
        " [(0, 0, 0), (2, 3, 5)])\ndef test_add(a, b, total):\n    assert add(a, b) == total\n",
        "test_add[2-3-5]",
    ),
    _test(
        "parametrised, all of a function's",
        "import pytest\nfrom calc import add\n\n@pytest.mark.parametrize('a', [2, 1])\n"
        "@pytest.mark.parametrize('b', [3])\ndef test_add(a, b):\n    assert add(a, b) - b == a\n",
        says="add(2, 3) - 3 was -4, expected 2",
    ),
    _odd("with slashes and brackets", "a/b[c]"),
    _odd("with colons", "a::b"),
    _odd("with spaces", "two and three "),
    _odd("very long", "x" * 900),
    _test(
        "a parameter's id beyond ASCII",
        "import pytest\nfrom calc import add\n\n"
        "@pytest.mark.parametrize('name', ['grüße', '日本'])\n"
        "def test_add(name):\n    assert add(2, 3) == 5\n",
        "test_add[gr\\xfc\\xdfe]",
        "test_add[\\u65e5\\u672c]",
    ),
    _test(
        "a parameter's id beyond ASCII, by the ini option",
        "import pytest\nfrom calc import add\n\n@pytest.mark.parametrize('name', ['grüße'])\n"
        "def test_add(name):\n    assert add(2, 3) == 5\n",
        "test_add[grüße]",
        files={
            "pytest.ini": "[pytest]\n"
            "disable_test_id_escaping_and_forfeit_all_rights_to_community_support = true\n"
        },
    ),
    _test(
        "indirect parameters",
        "import pytest\nfrom calc import add\n\n@pytest.fixture\ndef pair(request):\n"
        "    return request.param, 3\n\n@pytest.mark.parametrize('pair', [2], indirect=True)\n"
        "def test_add(pair):\n    assert add(*pair) == 5\n",
        "test_add[2]",
        says="add(*(2, 3)) returned -1, expected 5",
    ),
    _test(
        "nested classes",
        "from calc import add\n\nclass TestOuter:\n    class TestInner:\n"
        "        def test_add(self):\n"
        "            assert add(2, 3) == 5\n",
        "TestOuter::TestInner::test_add",
    ),
    _test(
        "session, module and autouse fixtures",
        "import pytest\nfrom calc import add\n\nseen = []\n\n@pytest.fixture(scope='session')\n"
        "def two():\n    seen.append('two')\n    yield 2\n\n@pytest.fixture(scope='module')\n"
        "def three(two):\n    yield two + 1\n    seen.clear()\n\n@pytest.fixture(autouse=True)\n"
        "def always():\n    seen.append('always')\n\ndef test_add(two, three):\n"
        "    assert seen == ['two', 'always']\n    assert add(two, three) == 5\n",
    ),
    _test(
        "xunit style set-up",
        "from calc import add\n\ndef setup_module(module):\n    module.TWO = 2\n\nclass TestAdd:\n"
        "    def setup_method(self):\n        self.three = 3\n\n    def test_add(self):\n"
        "        assert add(TWO, self.three) == 5\n",
        "TestAdd::test_add",
        says="add(TWO, self.three) returned -1, expected 5",
    ),
    _test(
        "a test that calls many, with the mark usefixtures",
        "import pytest\nfrom calc import add\n\n@pytest.fixture\ndef ready():\n    pass\n\n"
        "pytestmark = pytest.mark.usefixtures('ready')\n\n@pytest.mark.filterwarnings('error')\n"
        "def test_add():\n    assert [add(n, n) for n in range(5)] == [0, 2, 4, 6, 8]\n",
        says="expected [0, 2, 4, 6, 8]",
    ),
    _test(
        "unittest with set-up of class and module",
        "import unittest\nfrom calc import add\n\ndef setUpModule():\n    global TWO\n"
        "    TWO = 2\n\n"
        "class Case(unittest.TestCase):\n    @classmethod\n    def setUpClass(cls):\n"
        "        cls.three = 3\n\n    def setUp(self):\n        self.addCleanup(print)\n\n"
        "    def test_add(self):\n        self.assertEqual(add(TWO, self.three), 5)\n",
        "Case::test_add",
        says="-1 != 5",
    ),
    _test(
        "unittest's subTest",
        "import unittest\nfrom calc import add\n\nclass Case(unittest.TestCase):\n"
        "    def test_add(self):\n        for a in (0, 2):\n            with self.subTest(a=a):\n"
        "                self.assertEqual(add(a, 0), a)\n        with self.subTest(a=3):\n"
        "            self.assertEqual(add(2, 3), 5)\n",
        "Case::test_add",
        says="-1 != 5",
    ),
    _test(
        "unittest with load_tests",
        "import unittest\nfrom calc import add\n\nclass Case(unittest.TestCase):\n"
        "    def test_add(self):\n        self.assertEqual(add(2, 3), 5)\n\n"
        "def load_tests(loader, tests, pattern):\n    return tests\n",
        "Case::test_add",
        says="-1 != 5",
    ),
    _test(
        "unittest's IsolatedAsyncioTestCase",
        "import unittest\nfrom calc import add\n\nclass Case(unittest.IsolatedAsyncioTestCase):\n"
        "    async def asyncSetUp(self):\n        self.two = 2\n\n    async def test_add(self):\n"
        "        self.assertEqual(add(self.two, 3), 5)\n",
        "Case::test_add",
        says="-1 != 5",
    ),
    _test(
        "pytest-asyncio, strict",
        _ASYNC.format("import pytest\n", "@pytest.mark.asyncio\n"),
        needs=("pytest_asyncio",),
    ),
    _test(
        "pytest-asyncio, auto, with an async fixture",
        "import pytest_asyncio\n"
        + _ASYNC.format("", "@pytest_asyncio.fixture\nasync def two():\n    return 2\n\n")
        .replace("test_add()", "test_add(two)")
        .replace("add(2,", "add(two,"),
        needs=("pytest_asyncio",),
        files={"pytest.ini": "[pytest]\nasyncio_mode = auto\n"},
    ),
    _test(
        "anyio",
        _ASYNC.format(
            "import pytest\n",
            "@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n\n@pytest.mark.anyio\n",
        ),
        needs=("anyio",),
    ),
    _test(
        "hypothesis",
        "from hypothesis import given, strategies as st\nfrom calc import add\n\n"
        "@given(st.integers(), st.integers())\ndef test_add(a, b):\n"
        "    assert add(a, b) - a == b\n",
        says="add(0, 1) - 0",
        needs=("hypothesis",),
    ),
    _test(
        "hypothesis with a class, examples and a deadline",
        "from hypothesis import example, given, settings, strategies as st\n"
        "from calc import add\n\n"
        "class TestAdd:\n    @settings(deadline=2000, max_examples=20)\n    @example(b=3)\n"
        "    @given(b=st.integers(3, 9))\n    def test_add(self, b):\n"
        "        assert add(2, b) == 2 + b\n",
        "TestAdd::test_add",
        says="add(2, 3) returned -1, expected 5",
        needs=("hypothesis",),
    ),
    Shape(
        "a function's doctest by --doctest-modules",
        {"calc.py": _DOCTEST, "pytest.ini": "[pytest]\naddopts = --doctest-modules\n"},
        ("calc.py::calc.add",),
        says=_PRINTED,
    ),
    Shape(
        "a package's doctests, the whole file",
        {"calc.py": None, "pkg/__init__.py": "", "pkg/calc.py": _DOCTEST}
        | {"setup.cfg": "[tool:pytest]\naddopts = --doctest-modules\n"},
        ("pkg/calc.py",),
        file="pkg/calc.py",
        says=_PRINTED,
    ),
    Shape(
        "a doctest beside a test, by node id, without the option",
        {"calc.py": _DOCTEST},
        (NODE,),
        snippets=(Snippet("doctest", ">>> add(2, 3)\n5\n", 8),),
    ),
    Shape(
        "a doctest with options and a conftest's namespace",
        {
            "calc.py": _DOCTEST.replace("add(2, 3)\n    5", "add(two, 3)\n    5"),
            "pytest.ini": "[pytest]\naddopts = --doctest-modules\n"
            "doctest_optionflags = ELLIPSIS NORMALIZE_WHITESPACE\n",
            "conftest.py": "import pytest\n\n@pytest.fixture(autouse=True)\n"
            "def names(doctest_namespace):\n    doctest_namespace['two'] = 2\n",
        },
        ("calc.py::calc.add",),
        says="add(two, 3)\nprinted: -1\nexpected: 5",
    ),
    Shape(
        "a text file's doctest",
        {
            "docs/adding.txt": _README,
            "pytest.ini": "[pytest]\naddopts = --doctest-glob=*.txt\npythonpath = .\n",
        },
        ("docs/adding.txt::adding.txt",),
        says=_PRINTED,
    ),
    Shape(
        "README.rst's doctest",
        {"README.rst": _README, "tox.ini": "[pytest]\naddopts = --doctest-glob=*.rst\n"},
        ("README.rst::README.rst",),
        says=_PRINTED,
    ),
    Shape(
        "asserts as a snippet, alone",
        {},
        (),
        snippets=(Snippet("asserts", "assert add(2, 3) == 5\n", 1),),
    ),
    Shape(
        "a snippet in a package of a src layout",
        {
            "calc.py": None,
            "src/pkg/__init__.py": "from .calc import add\n",
            "src/pkg/calc.py": ADD,
            "tests/test_calc.py": TEST.replace("from calc", "from pkg"),
        },
        (),
        file="src/pkg/calc.py",
        snippets=(Snippet("asserts", "assert add(2, 3) == 5\n", 1),),
    ),
)
