"""Names and links: what paths may hold, and what a project's root may be."""

from __future__ import annotations

from pathlib import Path

from oci_lsp.verify.verdict import Snippet
from tests.verify.projects.shape import ADD, NODE, TEST, Shape


def _root(name: str) -> Shape:
    return Shape(f"a root named {name}", where=name)


def _linked_root(root: Path) -> None:
    (root.parent / "link").symlink_to(root)


def _linked_source(root: Path) -> None:
    (root / "real").mkdir()
    (root / "calc.py").rename(root / "real/calc.py")
    (root / "calc.py").symlink_to("real/calc.py")


def _linked_tests(root: Path) -> None:
    (root / "tests").rename(root / "checks")
    (root / "tests").symlink_to("checks")


def _linked_package(root: Path) -> None:
    (root / "pkg").symlink_to("code")


def _linked_data(root: Path) -> None:
    (root.parent / "three.txt").write_text("3")
    (root / "tests/three.txt").symlink_to(root.parent / "three.txt")


SHAPES = (
    _root("with spaces in it"),
    _root("größe 日本語"),
    _root("[brackets]"),
    _root("-dash"),
    _root("per%cent and 'quotes' $HOME"),
    _root("a.dot.ted"),
    _root("x" * 200),
    Shape(
        "a test file beyond ASCII, with a space",
        {"tests/test_calc.py": None, "tests/test größe 1.py": TEST},
        ("tests/test größe 1.py::test_add",),
    ),
    Shape(
        "asserts in a folder with brackets",
        {"calc.py": None, "[a]/calc.py": ADD},
        (),
        file="[a]/calc.py",
        snippets=(Snippet("asserts", "assert add(2, 3) == 5\n", 1),),
    ),
    Shape(
        "a test folder with a leading dash",
        {"tests/test_calc.py": None, "-tests/test_calc.py": TEST},
        ("-tests/test_calc.py::test_add",),
    ),
    Shape(
        "names beyond ASCII in the code",
        {
            "calc.py": None,
            "größe.py": "def zähle(a, b):\n    return a - b\n",
            "tests/test_calc.py": "from größe import zähle\n\ndef test_zähle():\n"
            "    assert zähle(2, 3) == 5\n",
        },
        ("tests/test_calc.py::test_zähle",),
        file="größe.py",
        function="zähle",
        says="zähle(2, 3) returned -1, expected 5",
    ),
    Shape("a symlinked root", make=_linked_root, opened="link"),
    Shape("a symlinked source file", make=_linked_source),
    Shape("a symlinked tests folder", make=_linked_tests),
    Shape(
        "a symlinked package",
        {"calc.py": None, "code/calc.py": ADD}
        | {"tests/test_calc.py": TEST.replace("from calc", "from pkg.calc")},
        make=_linked_package,
        file="code/calc.py",
    ),
    Shape(
        "data behind a symlink that leads out",
        {
            "tests/test_calc.py": "import os\nfrom calc import add\n\ndef test_add():\n"
            "    here = os.path.dirname(__file__)\n"
            "    assert add(2, int(open(here + '/three.txt').read())) == 5\n"
        },
        make=_linked_data,
        at_home=True,
        says="returned -1, expected 5",
    ),
    Shape(
        "a symlinked root of an editable src layout",
        {"calc.py": None, "src/pkg/__init__.py": "", "src/pkg/calc.py": ADD}
        | {"tests/test_calc.py": TEST.replace("from calc", "from pkg.calc")}
        | {"pytest.ini": "[pytest]\npythonpath = src\n"},
        (NODE,),
        file="src/pkg/calc.py",
        make=_linked_root,
        opened="link",
    ),
)
