"""Where in its file the function stands, what is wrapped around it, and how its module is named."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from tests.verify.projects.shape import ADD, NODE, TEST, Shape

_CLASS_TEST = "from calc import Sum\n\n\ndef test_add():\n    assert {} == 5\n"


def _place(name: str, code: str, test: str, says: str, function: str = "add", **more: str) -> Shape:
    """A shape whose calc.py and test are the ones given."""
    return Shape(
        name,
        {"calc.py": code, "tests/test_calc.py": test},
        function=function,
        says=says,
        fix=(more.get("bad", "a - b"), more.get("good", "a + b")),
    )


def _named(module: str) -> Shape:
    """A module of the project with the name of one of ours, or of one of Python."""
    file = module.replace(".", "/") + ".py"
    return Shape(
        f"a module named {module}",
        {
            "calc.py": None,
            **({"oci_lsp/__init__.py": ""} if "." in module else {}),
            file: ADD,
            "tests/test_calc.py": TEST.replace("from calc", f"from {module}"),
        },
        file=file,
    )


def _compiled_sibling(root: Path) -> None:
    """A module of a compiled form beside the function, as Cython leaves it."""
    folder = Path(sysconfig.get_path("stdlib"), "lib-dynload")
    found = sorted(folder.glob("_*.so"), key=lambda path: path.stat().st_size)
    if not found:
        pytest.skip("this Python has no compiled module in a file of its own")
    name = found[0].name.partition(".")[0]
    (root / "pkg" / found[0].name).write_bytes(found[0].read_bytes())
    (root / "pkg/speed.py").write_text(f"from pkg import {name} as compiled\n")


SHAPES = (
    Shape(
        "the function inside the test file",
        {"calc.py": None, "tests/test_calc.py": ADD + "\n\n" + TEST.partition("\n\n\n")[2]},
        file="tests/test_calc.py",
    ),
    Shape(
        "a fixture's helper in conftest.py",
        {
            "calc.py": None,
            "conftest.py": f"import pytest\n\n\n{ADD}\n\n@pytest.fixture\ndef total():\n"
            "    return add(2, 3)\n",
            "tests/test_calc.py": "def test_add(total):\n    assert total == 5\n",
        },
        file="conftest.py",
        says="expected 5",
    ),
    Shape(
        "a helper module of the tests",
        {
            "calc.py": None,
            "tests/helper.py": ADD,
            "tests/test_calc.py": TEST.replace("from calc", "from helper"),
        },
        file="tests/helper.py",
    ),
    _place(
        "a guarded script",
        "import sys\n\n"
        + ADD
        + "\n\nif __name__ == '__main__':\n    print(add(*map(int, sys.argv)))\n",
        TEST,
        "add(2, 3) returned -1, expected 5",
    ),
    Shape(
        "a package's __init__.py",
        {"calc.py": None, "calc/__init__.py": ADD},
        file="calc/__init__.py",
    ),
    Shape(
        "a package's __main__.py, run by python -m",
        {
            "calc.py": None,
            "pkg/__init__.py": "",
            "pkg/__main__.py": ADD + "\n\nif __name__ == '__main__':\n    print(add(2, 3))\n",
            "tests/test_calc.py": "import subprocess, sys\n\ndef test_add():\n"
            "    printed = subprocess"
            ".check_output([sys.executable, '-m', 'pkg'], text=True)\n"
            "    assert printed == '5\\n'\n",
        },
        file="pkg/__main__.py",
        says="printed was '-1\\n', expected '5\\n'",
    ),
    _place(
        "a method",
        "class Sum:\n    def __init__(self, a):\n        self.a = a\n\n    def add(self, b):\n"
        "        return self.a - b\n",
        _CLASS_TEST.format("Sum(2).add(3)"),
        "Sum(2).add(3) returned -1, expected 5",
        "Sum.add",
        bad="self.a - b",
        good="self.a + b",
    ),
    _place(
        "a static method",
        "class Sum:\n    @staticmethod\n    def add(a, b):\n        return a - b\n",
        _CLASS_TEST.format("Sum.add(2, 3)"),
        "Sum.add(2, 3) returned -1, expected 5",
        "Sum.add",
    ),
    _place(
        "a class method",
        "class Sum:\n    @classmethod\n    def add(cls, a, b):\n        return a - b\n",
        _CLASS_TEST.format("Sum.add(2, 3)"),
        "Sum.add(2, 3) returned -1, expected 5",
        "Sum.add",
    ),
    _place(
        "a property",
        "class Sum:\n    a, b = 2, 3\n\n    @property\n    def total(self):\n"
        "        return self.a - self.b\n",
        _CLASS_TEST.format("Sum().total"),
        "Sum().total was -1, expected 5",
        "Sum.total",
        bad="self.a - self.b",
        good="self.a + self.b",
    ),
    _place(
        "an operator's method",
        "class Sum:\n    def __init__(self, a):\n        self.a = a\n\n"
        "    def __add__(self, other):\n"
        "        return self.a - other.a\n",
        _CLASS_TEST.format("Sum(2) + Sum(3)"),
        "was -1, expected 5",
        "Sum.__add__",
        bad="self.a - other.a",
        good="self.a + other.a",
    ),
    _place(
        "a nested function",
        "def adder(a):\n    def add(b):\n        return a - b\n\n    return add\n",
        "from calc import adder\n\n\ndef test_add():\n    assert adder(2)(3) == 5\n",
        "adder(2)(3) returned -1, expected 5",
        "adder.add",
    ),
    _place(
        "a cached function",
        "import functools\n\n\n@functools.lru_cache(maxsize=None)\ndef add(a, b):\n"
        "    return a - b\n",
        TEST,
        "add(2, 3) returned -1, expected 5",
    ),
    _place(
        "a context manager",
        "import contextlib\n\n\n@contextlib.contextmanager\ndef adding(a, b):\n    yield a - b\n",
        "from calc import adding\n\n\ndef test_add():\n    with adding(2, 3) as total:\n"
        "        assert total == 5\n",
        "total was -1, expected 5",
        "adding",
    ),
    _place(
        "a decorator that hides the function's name",
        "def plain(function):\n    def call(*values):\n        return function(*values)\n"
        "    return call\n\n\n@plain\ndef add(a, b):\n    return a - b\n",
        TEST,
        "add(2, 3) returned -1, expected 5",
    ),
    _place(
        "a dataclass's method",
        "from dataclasses import dataclass\n\n\n@dataclass(frozen=True)\nclass Sum:\n    a: int\n"
        "    b: int = 3\n\n    def total(self):\n        return self.a - self.b\n",
        _CLASS_TEST.format("Sum(2).total()"),
        "Sum(2).total() returned -1, expected 5",
        "Sum.total",
        bad="self.a - self.b",
        good="self.a + self.b",
    ),
    _place(
        "a generator",
        "def sums(pairs):\n    for a, b in pairs:\n        yield a - b\n",
        "from calc import sums\n\n\ndef test_add():\n    assert list(sums([(2, 3)])) == [5]\n",
        "list(sums([(2, 3)])) returned [-1], expected [5]",
        "sums",
    ),
    _place(
        "an overloaded function",
        "from typing import overload\n\n\n@overload\ndef add(a: int, b: int) -> int: ...\n"
        "@overload\ndef add(a: str, b: str) -> str: ...\ndef add(a, b):\n    return a - b\n",
        TEST,
        "add(2, 3) returned -1, expected 5",
    ),
    _place(
        "a single dispatch's base",
        "import functools\n\n\n@functools.singledispatch\ndef add(a, b):\n    return a - b\n\n\n"
        "@add.register\ndef _(a: str, b):\n    return a\n",
        TEST,
        "add(2, 3) returned -1, expected 5",
    ),
    _place(
        "an async function",
        "async def add(a, b):\n    return a - b\n",
        "import asyncio\nfrom calc import add\n\n\ndef test_add():\n"
        "    assert asyncio.run(add(2, 3)) == 5\n",
        "asyncio.run(add(2, 3)) returned -1, expected 5",
    ),
    _place(
        "an abstract class's method, called through a subclass",
        "import abc\n\n\nclass Base(abc.ABC):\n    @abc.abstractmethod\n    def two(self): ...\n\n"
        "    def add(self, b):\n        a = self.two()\n        return a - b\n",
        "from calc import Base\n\n\nclass Sum(Base):\n    def two(self):\n        return 2\n\n\n"
        "def test_add():\n    assert Sum().add(3) == 5\n",
        "Sum().add(3) returned -1, expected 5",
        "Base.add",
    ),
    _place(
        "a function in an if and a try block",
        "import sys\n\ntry:\n    import nowhere_at_all\nexcept ImportError:\n"
        "    if sys.version_info:\n"
        "        def add(a, b):\n            return a - b\n",
        TEST,
        "add(2, 3) returned -1, expected 5",
    ),
    _place(
        "the module is loaded anew by the test",
        ADD,
        "import importlib\nimport calc\n\n\ndef test_add():\n"
        "    assert importlib.reload(calc).add(2, 3) == 5\n",
        "importlib.reload(calc).add(2, 3) returned -1, expected 5",
    ),
    _place(
        "the function runs at import only",
        ADD + "\n\nTOTAL = add(2, 3)\n",
        "import calc\n\n\ndef test_add():\n    assert calc.TOTAL == 5\n",
        "calc.TOTAL was -1, expected 5",
    ),
    Shape(
        "re-exported by the package",
        {
            "calc.py": None,
            "pkg/__init__.py": "from ._calc import add as add\n__all__ = ['add']\n",
            "pkg/_calc.py": ADD,
            "tests/test_calc.py": TEST.replace("from calc", "from pkg"),
        },
        file="pkg/_calc.py",
    ),
    Shape(
        "a compiled sibling",
        {
            "calc.py": None,
            "pkg/__init__.py": "",
            "pkg/calc.py": "from pkg.speed import compiled\n\n\n" + ADD,
            "tests/test_calc.py": TEST.replace("from calc", "from pkg.calc"),
        },
        (NODE,),
        file="pkg/calc.py",
        make=_compiled_sibling,
    ),
    *map(
        _named,
        (
            "session",
            "plugin",
            "types_",
            "json5",
            "driver",
            "probe",
            "oci_lsp.verify",
            "code",
            "secrets",
        ),
    ),
)
