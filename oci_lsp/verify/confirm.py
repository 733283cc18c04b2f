"""A pass must hold once more: with the tests renamed and in reverse order, and not by luck."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from oci_lsp.verify.wire import Variant

Judgement = dict[str, Any]


async def confirmed(
    passed: Judgement, attempt: Callable[[Variant], Awaitable[Judgement]]
) -> Judgement:
    """The judgement on a run that passed, after further runs of the same code.

    One more run as a rule. Where it differs, a third one, again as the user wrote the tests, tells
    a flaky test from a candidate (or a test) that depends on the tests' names or order.
    """
    disguised = await attempt("disguised")
    if _holds(disguised, passed):
        return passed
    again = await attempt("plain")
    if not _holds(again, passed):
        return _flaky(again)
    names = ", ".join(_not_passed(disguised)) or disguised["summary"]
    return disguised | {
        "verdict": "failed",
        "silent": False,
        "summary": "Passed as the tests stand, but not under other names and in reverse order:"
        f" {names}. The function must not depend on the test that calls it. (If it is the tests"
        " that do, turn off verify.confirm.)",
    }


def _holds(judgement: Judgement, passed: Judgement) -> bool:
    # A function that is called in another process looks vacuous each time.
    return judgement["verdict"] == "passed" or bool(passed["silent"] and judgement["silent"])


def _flaky(again: Judgement) -> Judgement:
    names = _not_passed(again)
    return again | {
        "verdict": "failed",
        "silent": False,
        "flaky": names,
        "summary": f"Flaky: {', '.join(names) or again['summary']} passed and then did not, on the"
        " same code, so a pass tells nothing.",
    }


def _not_passed(judgement: Judgement) -> list[str]:
    return [test["id"] for test in judgement["tests"] if test["outcome"] != "passed"]
