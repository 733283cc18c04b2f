"""Pins written into pyproject.toml: all else stays, and what is written is found again."""

from __future__ import annotations

import tomllib

import pytest

from oci_lsp.errors import OciError
from oci_lsp.settings import read_pyproject
from oci_lsp.source.functions import parse
from oci_lsp.source.pins import pinned_text, write_pin
from oci_lsp.source.target import target_named
from oci_lsp.source.tests import find_tests
from tests.projects import BUGGY, calc, write

KEY = "calc.py::add"
TESTS = ["tests/test_all.py::test_a", "assert add(1, 2) == 3"]
HEADER = "[tool.oci-lsp.tests]\n"
PIN = '"calc.py::add" = ["tests/test_all.py::test_a", "assert add(1, 2) == 3"]\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", HEADER + PIN),
        ("[project] # mine\nname='x'\n", "[project] # mine\nname='x'\n\n" + HEADER + PIN),
        (
            '[tool.oci-lsp.tests]\n# kept\n"calc.py::add" = ["old"]  # why\n\n[tool.z]\nb = 2\n',
            f"[tool.oci-lsp.tests]\n# kept\n{PIN.rstrip()}  # why\n\n[tool.z]\nb = 2\n",
        ),
        (
            "[tool.oci-lsp]\nrefine.turns = 3\n\n[tool.pytest]\na = 1\n",
            f"[tool.oci-lsp]\nrefine.turns = 3\n\n{HEADER}{PIN}\n[tool.pytest]\na = 1\n",
        ),
    ],
)
def test_only_the_pin_changes(before, after):
    assert pinned_text(before, KEY, TESTS) == after
    windows = pinned_text(before.replace("\n", "\r\n"), KEY, TESTS)
    assert windows == (after.replace("\n", "\r\n") if before else after)


@pytest.mark.parametrize(
    "before",
    [
        "[tool]\noci-lsp = {refine = {turns = 3}}\n",
        "[tool.oci-lsp]\ntests = {'b.py::f' = 'x'}\n",
        "tool.oci-lsp.tests.x = 'y'\n[a]\n",
        "[tool.oci-lsp.tests.'calc.py']\nadd = 'q'\n",
        "[tool.a]\nx = 1\n[b]\ny = 1\n[tool.oci-lsp.refine]\nturns = 1\n",
        "[tool.oci-lsp.refine]\nturns = 1\n[b]\ny = 1\n[tool.oci-lsp.tests]\nz = 'z'\n",
    ],
)
def test_odd_layouts_say_the_same_and_the_pin(before):
    after = tomllib.loads(pinned_text(before, KEY, TESTS))
    assert after["tool"]["oci-lsp"]["tests"].pop(KEY) == TESTS
    if not after["tool"]["oci-lsp"]["tests"]:
        del after["tool"]["oci-lsp"]["tests"]
    assert after == tomllib.loads(before)


@pytest.mark.parametrize("before", ["x = \n", "tool = 3\n", "[tool]\noci-lsp = []\n"])
def test_what_cannot_be_pinned_is_told(before):
    with pytest.raises(OciError, match=r"pyproject\.toml could not be changed"):
        pinned_text(before, KEY, TESTS)


def test_a_written_pin_is_found_and_outweighs_the_older_forms(tmp_path):
    root = write(tmp_path, {"calc.py": BUGGY, "pyproject.toml": "[tool.oci-lsp.tests]\nadd='x'\n"})
    (root / "pyproject.toml").chmod(0o640)
    assert write_pin(root, root / "calc.py", "add", TESTS[1:]) == root / "pyproject.toml"
    assert (root / "pyproject.toml").stat().st_mode & 0o777 == 0o640
    pins = read_pyproject(root)[0]["tests"]
    module = parse(BUGGY)
    selection = find_tests(root, root / "calc.py", module, target_named(module, "add"), pins=pins)
    assert (selection.origin, [s.text for s in selection.snippets]) == ("pin", [TESTS[1] + "\n"])
    assert {p.name for p in root.iterdir()} == {"calc.py", "pyproject.toml"}


def test_a_project_without_the_file_gets_one(tmp_path):
    root = calc(tmp_path)
    (root / "pyproject.toml").unlink()
    write_pin(root, root / "calc.py", "add", TESTS)
    assert (root / "pyproject.toml").read_text() == HEADER + PIN
