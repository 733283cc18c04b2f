"""The ranking of suspects: a pure function of what each test entered."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from oci_lsp.refine.suspects import Named, Spectrum, suspects


def named(*names: str) -> tuple[Named, ...]:
    return tuple(Named(Path("/p/m.py"), name) for name in names)


def spectrum(entered: str, raising: str = "") -> Spectrum:
    return Spectrum(named(*entered.split()), named(*raising.split()))


def order(found, test: str) -> list[str]:
    return [suspect.function.qualname for suspect in found[test]]


def test_what_green_tests_enter_too_is_suspected_less():
    spectra = {
        "red": spectrum("shared own"),
        "green": spectrum("shared"),
        "other": spectrum("unrelated"),
    }
    found = suspects(spectra, ["red"], ["green", "other"])
    assert order(found, "red") == ["own", "shared"]
    assert [s.score for s in found["red"]] == [1.0, pytest.approx(math.sqrt(1 / 2))]


def test_what_more_red_tests_enter_is_suspected_more():
    spectra = {"a": spectrum("one shared"), "b": spectrum("two shared")}
    found = suspects(spectra, ["a", "b"], [])
    assert order(found, "a") == ["shared", "one"]
    assert order(found, "b") == ["shared", "two"]


def test_of_equals_the_traceback_decides_innermost_first_then_the_later_call():
    spectra = {"red": spectrum("outer inner raises late last", "outer inner raises")}
    found = suspects(spectra, ["red"], [])
    assert order(found, "red") == ["raises", "inner", "outer", "last", "late"]


def test_a_function_that_called_itself_is_as_near_as_its_innermost_frame():
    spectra = {"red": spectrum("walk visit", "walk visit walk")}
    assert order(suspects(spectra, ["red"], []), "red") == ["walk", "visit"]


def test_a_test_that_entered_nothing_has_no_suspects():
    assert suspects({"red": spectrum("")}, ["red"], []) == {"red": ()}
