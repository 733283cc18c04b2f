"""What the user is offered where no test was found, and what the answer makes of a task."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oci_lsp.errors import OciError
from oci_lsp.refine.task import Result, Task
from oci_lsp.refine.today import EndError, check_source
from oci_lsp.refine.trial import select
from oci_lsp.source.functions import Function
from oci_lsp.source.generated import wanted_name
from oci_lsp.source.nearby import Nearby, nearby_tests
from oci_lsp.source.skeleton import Skeleton, skeleton
from oci_lsp.source.snippets import requested_snippet


@dataclass(frozen=True)
class Offer:
    """Ways to a test for a task that has none."""

    question: str
    tests: tuple[Nearby, ...]
    """Tests of the project that may fit, the nearest first."""
    skeleton: Skeleton | None
    """The test file that could be made."""
    place: str
    """Its path from the project's root; "" without one."""
    example: str
    """What an assert may look like."""


def offer(task: Task) -> Offer | None:
    """What to offer; None where a test is not what the task lacks. Reads the project."""
    if task.tests:
        return None
    try:
        check_source(task)
        if not select(task).empty:
            return None
    except (EndError, OciError):  # the job itself ends with it
        return None
    name = _name(task)
    function = task.target if isinstance(task.target, Function) else None
    made = skeleton(task.root, task.path, name, function, task.buffers) if name else None
    return Offer(
        question=f"There is no test for {task.label}.",
        tests=nearby_tests(task.root, task.path, name, task.buffers),
        skeleton=made,
        place=_relative(task.root, made.path) if made else "",
        example=f"assert {name.rpartition('.')[2] or 'f'}(...) == ...",
    )


def _name(task: Task) -> str:
    """The qualified name of the function, "" where a comment gives none."""
    if isinstance(task.target, Function):
        return task.target.qualname
    return wanted_name(task.target) or ""


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def answered(text: str) -> tuple[str, ...]:
    """The tests that a typed answer holds: one text of asserts or examples, or node ids by line.

    Raises:
        TestsError: it is neither.
    """
    if requested_snippet(text) is not None:
        return (text.strip("\n"),)
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def with_tests(task: Task, tests: Sequence[str]) -> Task:
    """The task with the tests that the user has picked or typed.

    Raises:
        TestsError: one of them cannot be used.
    """
    told = dataclasses.replace(task, tests=tuple(tests))
    select(told)
    return told


def to_fill_in(task: Task, place: str) -> Result:
    """How a job ends for which a test file was made, which now waits for its user."""
    return Result(
        "no_test", f"Say in {place} what {task.label} must do, save it, and run this again."
    )


def pinnable(task: Task) -> bool:
    """Whether the task's function has a name to pin tests under."""
    return bool(task.tests and _name(task))


def pin(task: Task) -> Path:
    """Write the task's own tests as its function's pin; the file that was changed.

    Raises:
        OciError: pyproject.toml cannot be changed.
    """
    # The library that keeps the file's layout is loaded for those alone who pin.
    from oci_lsp.source.pins import write_pin

    return write_pin(task.root, task.path, _name(task), task.tests)
