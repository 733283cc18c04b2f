"""Where a project keeps its code, its tests and its configuration, and how it is installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.verify.projects.shape import ADD, TEST, Shape

PKG_TEST = TEST.replace("from calc", "from pkg.calc")
IN_SRC = {"calc.py": None, "src/pkg/__init__.py": "", "src/pkg/calc.py": ADD}
PYTHONPATH = "[tool.pytest.ini_options]\npythonpath = ['src']\n"
PROJECT = (
    "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n"
    "[project]\nname = 'pkg'\nversion = '1'\n"
)
# The form in which setuptools >= 64 makes a flat project importable.
FINDER = """
import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location

MAPPING = {mapping!r}


class _EditableFinder:
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname in MAPPING:
            init = MAPPING[fullname] + "/__init__.py"
            return spec_from_file_location(
                fullname, init, submodule_search_locations=[MAPPING[fullname]])
        return None


def install():
    if not any(finder is _EditableFinder for finder in sys.meta_path):
        sys.meta_path.append(_EditableFinder)
"""


def venv(root: Path) -> Path:
    """A virtual environment in the project that sees our own packages; gives its site-packages."""
    folder = root / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python3.*/site-packages")
    (site / "zz_ours.pth").write_text(str(Path(pytest.__file__).parents[1]))
    return site


def with_pth(root: Path) -> None:
    """As `pip install -e` leaves a src layout."""
    (venv(root) / "__editable__.pkg-1.pth").write_text(str(root / "src"))


def with_finder(root: Path) -> None:
    """As `pip install -e` leaves a flat layout."""
    site = venv(root)
    code = FINDER.format(mapping={"pkg": str(root / "lib/pkg")})
    (site / "__editable___pkg_1_finder.py").write_text(code)
    text = "import __editable___pkg_1_finder; __editable___pkg_1_finder.install()"
    (site / "__editable__.pkg-1.pth").write_text(text)


def installed(root: Path) -> None:
    """`pip install -e .` for real, with the setuptools that lies here, without the network."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed")
    venv(root)
    command = [str(root / ".venv/bin/python"), "-m", "pip", "install", "-q", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--no-deps", "--no-index", "-e", str(root)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def relative_link(target: str, name: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        (root / name).symlink_to(target)

    return make


SHAPES = (
    Shape("flat modules"),
    Shape(
        "flat package",
        {
            "calc.py": None,
            "pkg/__init__.py": "",
            "pkg/calc.py": ADD,
            "tests/test_calc.py": PKG_TEST,
        },
        file="pkg/calc.py",
    ),
    Shape(
        "src layout by pythonpath",
        {**IN_SRC, "tests/test_calc.py": PKG_TEST, "pyproject.toml": PYTHONPATH},
        file="src/pkg/calc.py",
    ),
    Shape(
        "src layout, editable by .pth",
        {**IN_SRC, "tests/test_calc.py": PKG_TEST},
        file="src/pkg/calc.py",
        make=with_pth,
    ),
    Shape(
        "editable by import-hook finder",
        {"calc.py": None, "lib/pkg/__init__.py": "", "lib/pkg/calc.py": ADD}
        | {"tests/test_calc.py": PKG_TEST},
        file="lib/pkg/calc.py",
        make=with_finder,
    ),
    Shape(
        "editable, pip install -e, src layout",
        {**IN_SRC, "tests/test_calc.py": PKG_TEST, "pyproject.toml": PROJECT},
        file="src/pkg/calc.py",
        make=installed,
        needs=("setuptools",),
    ),
    Shape(
        "editable, pip install -e, package elsewhere",
        {"calc.py": None, "code/__init__.py": "", "code/calc.py": ADD}
        | {"tests/test_calc.py": PKG_TEST}
        | {"pyproject.toml": PROJECT + "[tool.setuptools]\npackages = ['pkg']\n"}
        | {"setup.cfg": "[options]\npackage_dir =\n    pkg = code\n"},
        file="code/calc.py",
        make=installed,
        needs=("setuptools",),
    ),
    Shape(
        "a console script of the project",
        {
            **IN_SRC,
            "src/pkg/cli.py": "from pkg.calc import add\n\n\ndef main():\n    print(add(2, 3))\n",
        }
        | {"pyproject.toml": PROJECT + "[project.scripts]\nadd-two-three = 'pkg.cli:main'\n"}
        | {
            "tests/test_calc.py": "import subprocess\n\ndef test_add():\n"
            "    printed = subprocess.check_output(['add-two-three'], text=True)\n"
            "    assert printed == '5\\n'\n"
        },
        file="src/pkg/calc.py",
        make=installed,
        needs=("setuptools",),
        says="printed was '-1\\n', expected '5\\n'",
    ),
    Shape(
        "an older copy is installed, the source is beside the tests",
        {
            "calc.py": None,
            "pkg/__init__.py": "",
            "pkg/calc.py": ADD,
            "tests/test_calc.py": PKG_TEST,
        },
        file="pkg/calc.py",
        make=lambda root: _older_copy(venv(root)),
    ),
    Shape(
        "rootdir conftest adds to sys.path",
        {"calc.py": None, "code/calc.py": ADD}
        | {
            "conftest.py": "import os, sys\nhere = os.path.dirname(os.path.abspath(__file__))\n"
            "sys.path.insert(0, os.path.join(here, 'code'))\n"
        },
        file="code/calc.py",
    ),
    Shape(
        "nested conftests",
        {
            "conftest.py": "import pytest\n\n@pytest.fixture\ndef two():\n    return 1\n",
            "tests/conftest.py": "import pytest\n\n@pytest.fixture\ndef two(two):\n"
            "    return two + 1\n",
            "tests/deep/conftest.py": "import pytest\n\n@pytest.fixture\ndef three(two):\n"
            "    return two + 1\n",
            "tests/deep/test_calc.py": "from calc import add\n\ndef test_add(two, three):\n"
            "    assert add(two, three) == 5\n",
        },
        ("tests/deep/test_calc.py::test_add",),
    ),
    Shape(
        "namespace package (PEP 420)",
        {"calc.py": None, "space/pkg/calc.py": ADD}
        | {"tests/test_calc.py": TEST.replace("from calc", "from space.pkg.calc")},
        file="space/pkg/calc.py",
    ),
    Shape(
        "namespace package over two folders",
        {"calc.py": None, "one/space/calc.py": ADD, "two/space/numbers_.py": "TWO = 2\n"}
        | {
            "tests/test_calc.py": "from space.calc import add\nfrom space.numbers_ import TWO\n\n"
            "def test_add():\n    assert add(TWO, 3) == 5\n",
            "pytest.ini": "[pytest]\npythonpath = one two\n",
        },
        file="one/space/calc.py",
        says="add(TWO, 3) returned -1, expected 5",
    ),
    Shape(
        "namespace package by pkgutil",
        {
            "calc.py": None,
            "one/space/__init__.py": "__path__ = __import__('pkgutil').extend_path(__path__, "
            "__name__)\n",
            "two/space/__init__.py": "__path__ = __import__('pkgutil').extend_path(__path__, "
            "__name__)\n",
            "two/space/calc.py": ADD,
            "tests/test_calc.py": TEST.replace("from calc", "from space.calc"),
            "pytest.ini": "[pytest]\npythonpath = one two\n",
        },
        file="two/space/calc.py",
    ),
    Shape("tests beside the code", {"test_calc.py": TEST}, ("test_calc.py::test_add",)),
    Shape(
        "tests inside the package",
        {"calc.py": None, "pkg/__init__.py": "", "pkg/calc.py": ADD}
        | {
            "pkg/tests/__init__.py": "",
            "pkg/tests/test_calc.py": TEST.replace("from calc", "from ..calc"),
        },
        ("pkg/tests/test_calc.py::test_add",),
        file="pkg/calc.py",
    ),
    Shape(
        "duplicate basenames with importmode=importlib",
        {
            "tests/one/test_calc.py": TEST,
            "tests/two/test_calc.py": TEST,
            "pytest.ini": "[pytest]\naddopts = --import-mode=importlib\npythonpath = .\n",
        },
        ("tests/one/test_calc.py::test_add", "tests/two/test_calc.py::test_add"),
    ),
    Shape(
        "the source's package imported with importmode=importlib",
        {"calc.py": None, "src/pkg/__init__.py": "", "src/pkg/calc.py": ADD}
        | {"src/pkg/test_calc.py": TEST.replace("from calc", "from pkg.calc")}
        | {"pytest.ini": "[pytest]\naddopts = --import-mode=importlib\npythonpath = src\n"},
        ("src/pkg/test_calc.py::test_add",),
        file="src/pkg/calc.py",
    ),
    Shape(
        "testpaths and python_files of its own",
        {
            "checks/calc_spec.py": "from calc import add\n\nclass DescribeAdd:\n"
            "    def it_adds(self):\n        assert add(2, 3) == 5\n",
            "pytest.ini": "[pytest]\ntestpaths = checks\npython_files = *_spec.py\n"
            "python_classes = Describe*\npython_functions = it_*\n",
        },
        ("checks/calc_spec.py::DescribeAdd::it_adds",),
    ),
    Shape(
        "nested project: pyproject in a subfolder",
        {"calc.py": None, "tests/test_calc.py": None, "pyproject.toml": "[project]\nname = 'top'\n"}
        | {f"part/{name}": text for name, text in IN_SRC.items() if text is not None}
        | {"part/tests/test_calc.py": PKG_TEST, "part/pyproject.toml": PYTHONPATH},
        ("part/tests/test_calc.py::test_add",),
        file="part/src/pkg/calc.py",
    ),
    Shape(
        "nested project: pytest's options lie above the opened folder",
        {
            "../pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--strict-markers'\n"
            "markers = ['quick']\npythonpath = ['project/code']\n"
        }
        | {"calc.py": None, "code/calc.py": ADD}
        | {
            "tests/test_calc.py": "import pytest\nfrom calc import add\n\n@pytest.mark.quick\n"
            "def test_add():\n    assert add(2, 3) == 5\n"
        },
        file="code/calc.py",
        at_home=True,
    ),
    Shape(
        "nested project: conftest above the opened folder",
        {
            "../pytest.ini": "[pytest]\n",
            "../conftest.py": "import pytest\n\n@pytest.fixture\ndef two():\n    return 2\n",
            "tests/test_calc.py": "from calc import add\n\ndef test_add(two):\n"
            "    assert add(two, 3) == 5\n",
        },
        at_home=True,
    ),
    Shape(
        "a git worktree",
        {".git": "gitdir: /nowhere/.git/worktrees/project\n", "setup.cfg": "[tool:pytest]\n"},
    ),
    Shape(
        "confcutdir below the root",
        {
            "conftest.py": "raise RuntimeError('not to be read')\n",
            "tests/conftest.py": "import sys, os\nsys.path.insert(0, os.getcwd())\n",
            "pytest.ini": "[pytest]\naddopts = --confcutdir=tests\n",
        },
    ),
    Shape(
        "a test package with relative imports of a helper",
        {
            "tests/__init__.py": "",
            "tests/helper.py": "from calc import add\n\ndef check(a, b, total):\n"
            "    assert add(a, b) == total\n",
            "tests/test_calc.py": "from .helper import check\n\ndef test_add():\n"
            "    check(2, 3, 5)\n",
        },
        says="assert add(2, 3) == 5 was false",
    ),
    Shape(
        "pytest_plugins of the project",
        {
            "plugins/__init__.py": "",
            "plugins/numbers_.py": "import pytest\n\n@pytest.fixture\ndef two():\n    return 2\n",
            "conftest.py": "pytest_plugins = ['plugins.numbers_']\n",
            "tests/test_calc.py": "from calc import add\n\ndef test_add(two):\n"
            "    assert add(two, 3) == 5\n",
        },
    ),
    Shape(
        "assertions of a helper are rewritten by the project",
        {
            "helper.py": "from calc import add\n\ndef check(a, b, total):\n"
            "    assert add(a, b) == total\n",
            "conftest.py": "import pytest\npytest.register_assert_rewrite('helper')\n",
            "tests/test_calc.py": "from helper import check\n\ndef test_add():\n"
            "    check(2, 3, 5)\n",
        },
    ),
)


def _older_copy(site: Path) -> None:
    (site / "pkg").mkdir()
    (site / "pkg/__init__.py").write_text("")
    (site / "pkg/calc.py").write_text("def add(a, b):\n    return 'installed'\n")
