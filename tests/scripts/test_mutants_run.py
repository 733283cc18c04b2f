"""The ground truth from real pytest, and the product's verdicts from real kernels."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bench_mutants import judge_by_product, judge_by_pytest
from mutants import truth
from mutants.operators import mutations
from mutants.projects import Checkout, Project

from oci_lsp.settings import VerifySettings
from oci_lsp.verify.pool import Verifier
from tests.projects import write

CODE = "def public(x):\n    return _helper(x)\n\n\ndef _helper(x):\n    return x < 3\n"
TESTS = """\
from mod import public


def test_far():
    assert public(1)


def test_edge():
    assert not public(3)


def test_unrelated():
    assert True
"""
COVERED = truth.Covered("mod.py", "_helper", 5, ("test_mod.py::test_edge", "test_mod.py::test_far"))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = write(tmp_path / "tiny", {"mod.py": CODE, "test_mod.py": TESTS})
    return Checkout(Project("tiny", "1", "", "", ("mod",), ""), root, Path(sys.executable))


def test_pytest_says_which_covering_tests_a_mutant_turns_red(checkout, tmp_path):
    scratch = truth.Scratch(checkout, tmp_path / "scratch")
    before = sorted(path.name for path in checkout.root.rglob("*"))
    flipped = CODE.replace("x < 3", "x <= 3")
    outcomes = scratch.run("mod.py", flipped, COVERED.tests)
    assert outcomes.red == ("test_mod.py::test_edge",)
    assert outcomes.passed == ("test_mod.py::test_far",)
    broken = scratch.run("mod.py", "import nowhere\n", COVERED.tests)
    assert broken.broken
    assert (scratch.root / "mod.py").read_text() == CODE
    assert sorted(path.name for path in checkout.root.rglob("*")) == before


async def test_the_product_refuses_the_mutant_and_finds_a_test_that_kills(checkout, tmp_path):
    _, helper = list(truth.functions(CODE))[1]
    mutation = next(m for m in mutations(CODE, helper) if m.operator == "comparison flipped")
    row = judge_by_pytest(truth.Scratch(checkout, tmp_path / "scratch"), COVERED, mutation)
    assert row["killers"] == ["test_mod.py::test_edge"]
    assert (row["before"], row["after"]) == ("x < 3", "(x <= 3)")
    settings = VerifySettings(interpreter=sys.executable)
    async with Verifier(checkout.root, settings) as verifier:
        judged = await judge_by_product(verifier, row, mutation)
    assert (judged["mutant"], judged["original"]) == ("failed", "passed")
    assert (judged["found_mutant"], judged["found_original"]) == ("failed", "passed")
    assert judged["node_ids"] == ["test_mod.py::test_far", "test_mod.py::test_edge"]
    assert judged["killed_by"] == ["test_mod.py::test_edge"]


def test_a_test_that_is_red_on_the_original_too_kills_nothing(checkout, tmp_path):
    red = "\n\ndef test_red():\n    assert public(1) == 7\n"
    (checkout.root / "test_mod.py").write_text(TESTS + red)
    tests = (*COVERED.tests, "test_mod.py::test_red")
    _, helper = list(truth.functions(CODE))[1]
    mutation = next(m for m in mutations(CODE, helper) if m.operator == "comparison flipped")
    scratch = truth.Scratch(checkout, tmp_path / "scratch")
    row = judge_by_pytest(scratch, truth.Covered("mod.py", "_helper", 5, tests), mutation)
    assert row["killers"] == ["test_mod.py::test_edge"]
    assert row["covering"] == 3
