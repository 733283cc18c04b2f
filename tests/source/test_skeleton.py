"""A new test file: where the project would put it, what it holds, and that it fails."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from oci_lsp.source.functions import parse
from oci_lsp.source.skeleton import make, skeleton
from oci_lsp.source.target import target_named
from oci_lsp.source.tests import find_tests
from tests.projects import BUGGY, write

TESTED = "def test_it():\n    assert True\n"


def made(root, name="pkg/calc.py", qualname="add"):
    function = parse((root / name).read_text()).named(qualname)
    return skeleton(root, root / name, qualname, function)


@pytest.mark.parametrize(
    ("files", "source", "expected"),
    [
        ([], "calc.py", "test_calc.py"),
        (["tests/conftest.py"], "calc.py", "tests/test_calc.py"),
        ([], "pkg/calc.py", "tests/test_calc.py"),
        (["tests/unit/test_other.py"], "pkg/calc.py", "tests/unit/test_calc.py"),
        (["a.py", "test_a.py"], "calc.py", "test_calc.py"),
        (["pkg/a.py", "pkg/test_a.py"], "pkg/calc.py", "pkg/test_calc.py"),
        (["pkg/a.py", "pkg/tests/test_a.py"], "lib/calc.py", "lib/tests/test_calc.py"),
        (["pkg/a.py", "tests/test_a.py"], "pkg/sub/calc.py", "tests/test_calc.py"),
        (["src/p/s/a.py", "tests/s/test_a.py"], "src/p/t/calc.py", "tests/t/test_calc.py"),
        (
            ["src/p/s/a.py", "tests/s/test_a.py", "src/p/b.py", "tests/test_b.py"],
            "src/p/calc.py",
            "tests/test_calc.py",
        ),
        (["pkg/a.py", "pkg/a_test.py"], "pkg/calc.py", "pkg/calc_test.py"),
        # The name is taken, or would clash with a file of the same name elsewhere.
        (["tests/test_calc.py"], "pkg/calc.py", "tests/test_calc_add.py"),
        (
            ["tests/test_calc.py", "tests/test_calc_add.py"],
            "pkg/calc.py",
            "tests/test_pkg_calc_add.py",
        ),
        (
            ["pkg/a.py", "pkg/test_a.py", "other/test_calc.py"],
            "pkg/calc.py",
            "pkg/test_calc_add.py",
        ),
    ],
)  # fmt: skip
def test_where_the_project_would_put_it(tmp_path, files, source, expected):
    texts = {name: TESTED if "test_" in name or "_test" in name else "" for name in files}
    root = write(tmp_path, {**texts, source: BUGGY})
    found = made(root, source)
    assert found is not None
    assert found.path.relative_to(root).as_posix() == expected


def test_the_projects_own_folder_and_pattern(tmp_path):
    ini = '[tool.pytest.ini_options]\ntestpaths = ["checks"]\npython_files = "check_*.py"\n'
    root = write(tmp_path, {"pyproject.toml": ini, "pkg/calc.py": BUGGY})
    assert made(root).path == root / "checks/test_calc.py"
    write(root, {"pyproject.toml": ini, "pkg/a.py": "", "checks/check_a.py": TESTED})
    assert made(root).path == root / "checks/check_calc.py"


def test_packages_of_tests_stay_packages(tmp_path):
    files = {"src/p/s/a.py": "", "tests/__init__.py": "", "tests/s/__init__.py": ""}
    root = write(tmp_path, {**files, "tests/s/test_a.py": TESTED, "src/p/t/calc.py": BUGGY})
    found = made(root, "src/p/t/calc.py")
    assert found.path == root / "tests/t/test_calc.py"
    assert found.packages == (root / "tests/t/__init__.py",)


@pytest.mark.parametrize(
    ("source", "qualname", "code", "first", "example"),
    [
        ("src/p/calc.py", "add", BUGGY, "from p.calc import add", "assert add(a, b) == ..."),
        ("calc.py", "add", "async def add(a, *, b, c=1): ...", "", "asyncio.run(add(a, b)) == "),
        ("pkg/calc.py", "A.f", "class A:\n    def f(self, x): ...\n", " import A", "A(...).f(x) "),
        ("calc.py", "A.f", "class A:\n    @staticmethod\n    def f(x): ...\n", "", "A.f(x) == ..."),
    ],
)  # fmt: skip
def test_what_it_begins_with(tmp_path, source, qualname, code, first, example):
    root = write(tmp_path, {source: code, "src/p/__init__.py": ""})
    found = made(root, source, qualname)
    assert first in found.text.splitlines()[0]
    assert example in found.text
    assert found.text.splitlines()[found.line].startswith("    raise NotImplementedError(")


def test_tests_that_import_the_module_teach_its_name(tmp_path):
    files = {"python/app/calc.py": BUGGY, "python/tests/test_x.py": "import app.calc\n" + TESTED}
    root = write(tmp_path, files)
    assert made(root, "python/app/calc.py").text.startswith("from app.calc import add\n")


def test_a_module_that_no_import_reaches_gets_none(tmp_path):
    root = write(tmp_path, {"my-script.py": BUGGY})
    assert made(root, "my-script.py") is None


def test_it_fails_and_is_no_test_of_the_function_until_it_is_filled_in(tmp_path):
    root = write(tmp_path, {"calc.py": BUGGY})
    found = made(root, "calc.py")
    make([(found.path, found.text)])
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(found.path)]
    plain = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, env=plain, check=False)
    assert done.returncode == 1, done.stdout
    assert "say here what add must do" in done.stdout
    module = parse(BUGGY)
    target = target_named(module, "add")
    assert find_tests(root, root / "calc.py", module, target).empty
    again = made(root, "calc.py")
    assert (again.path, again.exists) == (found.path, True)
    filled = found.text.replace(found.text.splitlines()[found.line], "    assert add(1, 2) == 3")
    found.path.write_text(filled)
    selection = find_tests(root, root / "calc.py", module, target)
    assert selection.node_ids == ("test_calc.py::test_add",)
    assert not made(root, "calc.py").exists


def test_nothing_that_exists_is_overwritten_and_nothing_half_made_stays(tmp_path):
    (tmp_path / "b.py").write_text("mine")
    with pytest.raises(FileExistsError):
        make([(tmp_path / "new/a.py", "x"), (tmp_path / "b.py", "y")])
    assert (tmp_path / "b.py").read_text() == "mine"
    assert not (tmp_path / "new/a.py").exists()
