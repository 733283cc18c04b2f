"""Where a test fails on today's code: at its assert, and in the function."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oci_lsp.refine.task import Task
from oci_lsp.source.functions import Function, parse
from oci_lsp.verify.verdict import Place, Report, TestResult


@dataclass(frozen=True)
class Failure:
    """A test that fails.

    Attributes:
        message: what was seen and what was expected.
        at: the assert or the call in the test's own file; None where that cannot be told.
        inside: the line of the function's file that raised, counted from 0; None: none of the
            function's own did.
    """

    test: str
    message: str
    at: Place | None
    inside: int | None


def failures(task: Task, report: Report) -> tuple[Failure, ...]:
    """The tests that failed in a report on today's code of `task`; reads the disk."""
    return tuple(
        _failure(task, test) for test in report.tests if test.outcome in ("failed", "error")
    )


def _failure(task: Task, test: TestResult) -> Failure:
    first, last = task.target.lines if isinstance(task.target, Function) else (0, -1)
    entered = [
        number
        for number, place in enumerate(test.places)
        if number and place.path == task.path and first <= place.line <= last
    ]
    before = test.places[: entered[0]] if entered else test.places
    # A snippet stands in the function's own file, often in the function itself.
    own = test.places[:1] if "::" not in test.id else before
    file = task.root / test.id.partition("::")[0]
    asserted = [place for place in own if place.path == file]
    return Failure(
        test=test.id,
        message=test.message or test.outcome,
        at=asserted[-1] if asserted else _definition(task, file, test.id),
        inside=test.places[entered[-1]].line if entered else None,
    )


def _definition(task: Task, file: Path, node_id: str) -> Place | None:
    """Where a test begins that never came to its first line (a fixture is missing)."""
    name = ".".join(node_id.partition("[")[0].split("::")[1:])
    try:
        text = task.buffers.get(file) or file.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None
    module = parse(text)
    test = module.named(name) if name else None
    return Place(file, module.lines.row(test.definition.start)) if test else None
