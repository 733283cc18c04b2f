"""A run of a whole suite: what is collected, and which functions each test entered."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import ANY

import pytest

from oci_lsp.verify.verdict import Place, Report, Run
from tests.verify import pythons
from tests.verify.conftest import Project

SHOP = """\
import functools


def logged(function):
    @functools.wraps(function)
    def around(*args):
        return function(*args)

    return around


@logged
def price(n):
    return sum(cents(k) for k in range(n))


def cents(k):
    return 100 // k


class Cart:
    def total(self):
        yield price(1)
"""
TESTS = """\
import cProfile
import threading
import pytest
import shop


@pytest.fixture(scope="module")
def half():
    return shop.cents(2)


@pytest.fixture
def cart(half):
    return shop.Cart()


def test_cents():
    assert shop.cents(2) == 50


def test_profiled():
    cProfile.Profile().runcall(shop.cents, 2)


def test_price():
    shop.price(1)


def test_generator(cart):
    next(cart.total())


def test_thread():
    worker = threading.Thread(target=shop.cents, args=(4,))
    worker.start()
    worker.join()


def test_nothing():
    pass


def test_late(half):
    assert half == 50
"""
# Lines, from 0, at which the functions of SHOP begin.
AROUND, PRICE, CENTS, TOTAL = 4, 11, 16, 21
SUM = 13  # the generator in price


@pytest.fixture
def shop(project: Project) -> Project:
    project.write("shop.py", SHOP)
    project.write("tests/test_shop.py", TESTS)
    (project.root / "tests/test_calc.py").unlink()
    return project


async def suite(
    project: Project, files: dict[Path, str] | None = None, timeout: float = 20
) -> Report:
    async with project.verifier() as verifier:
        return await verifier.run(Run(files=files or {}, suite=True, timeout=timeout))


def entered(report: Report, project: Project, file: str = "shop.py") -> dict[str, list[int]]:
    path = project.root / file
    return {
        test.id.partition("::")[2]: [place.line for place in test.entered if place.path == path]
        for test in report.tests
    }


FOUND = {
    "test_cents": [CENTS],
    "test_price": [AROUND, PRICE, SUM, CENTS],
    "test_generator": [CENTS, TOTAL, AROUND, PRICE, SUM],
    "test_thread": [CENTS],
    "test_nothing": [],
    # Its fixture was set up for an earlier test.
    "test_late": [CENTS],
}


async def test_each_test_has_the_functions_that_it_entered(shop: Project):
    report = await suite(shop)
    assert [test.outcome for test in report.tests] == [
        "passed", "passed", "failed", "failed", "passed", "passed", "passed"
    ]  # fmt: skip
    assert entered(report, shop) == FOUND | {"test_profiled": ANY}
    assert entered(report, shop, "tests/test_shop.py")["test_nothing"] == [38]
    assert report.tests[2].places[-1] == Place(shop.root / "shop.py", 17)


@pytest.mark.parametrize("version", ["3.9", "3.12", "3.13"])
async def test_other_pythons_tell_the_same(shop: Project, version: str):
    venv = pythons.environment(version, pythons.PYTESTS.get(version, "pytest"))
    shop.set(interpreter=str(venv / "bin/python"))
    assert entered(await suite(shop), shop) == FOUND | {"test_profiled": ANY}


async def test_a_file_that_cannot_be_imported_does_not_hide_the_others(shop: Project):
    shop.write(
        "tests/test_broken.py", "import shop\n\nshop.cents(0)\n\n\ndef test_a():\n    pass\n"
    )
    report = await suite(shop)
    broken = next(test for test in report.tests if test.id == "tests/test_broken.py")
    assert broken.outcome == "error"
    assert "ZeroDivisionError" in broken.message
    assert broken.places[-1] == Place(shop.root / "shop.py", 17)
    assert "test_cents" in entered(report, shop)


async def test_a_test_that_hangs_is_told_with_where_it_was(shop: Project):
    loops = SHOP.replace("return 100 // k", "while k: pass")
    report = await suite(shop, {shop.root / "shop.py": loops}, timeout=4)
    assert report.verdict == "timed_out"
    hung = next(test for test in report.tests if test.id.endswith("test_cents"))
    assert hung.outcome == "failed"
    assert hung.places[-1] == Place(shop.root / "shop.py", 17)
