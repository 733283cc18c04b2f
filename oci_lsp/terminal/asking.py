"""Asking for a test in a terminal, and whether it shall stay the function's test."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

from oci_lsp.errors import OciError, TestsError
from oci_lsp.refine.asking import Offer, answered, offer, pin, pinnable, to_fill_in, with_tests
from oci_lsp.refine.task import Result, Task
from oci_lsp.source.skeleton import Skeleton, make
from oci_lsp.terminal.ask import Prompt

# Tests in the menu: more would push the question off the screen.
_MOST = 9
_NUMBERS = re.compile(r"\d+(?:[\s,]+\d+)*")
_CREATE = "c"


async def ask_for_test(task: Task, prompt: Prompt) -> Task | Result:
    """The task with a test that the user picks or types, where it has none; as it was, if not.

    Where the user has a test file made, the result with which the job ends.

    Raises:
        OciError: the file could not be made.
    """
    found = await asyncio.to_thread(offer, task)
    if found is None:
        return task
    text = _menu(found)
    while answer := await prompt(f"{text}\n> "):
        if answer == _CREATE and found.skeleton:
            if not found.skeleton.exists:
                _create(found.skeleton)
            return to_fill_in(task, found.place)
        try:
            return await asyncio.to_thread(with_tests, task, _tests(found, answer))
        except TestsError as error:
            text = str(error)
    return task


def _menu(found: Offer) -> str:
    lines = [found.question]
    for number, test in enumerate(found.tests[:_MOST], 1):
        lines.append(f"  {number}  {test.node_id}" + (f" ({test.why})" if test.why else ""))
    if found.skeleton:
        verb = "fill in" if found.skeleton.exists else "create"
        lines.append(f"  {_CREATE}  {verb} {found.place}")
    ways = ["numbers"] if found.tests else []
    ways += [_CREATE] if found.skeleton else []
    ways += ["a test's id", f"asserts ({found.example})"]
    return "\n".join([*lines, f"Type {', '.join(ways)}, or nothing to leave it:"])


def _tests(found: Offer, answer: str) -> tuple[str, ...]:
    """The tests that an answer means.

    Raises:
        TestsError: a number that is not in the menu.
    """
    if not _NUMBERS.fullmatch(answer):
        return answered(answer)
    shown = found.tests[:_MOST]
    numbers = [int(word) for word in re.findall(r"\d+", answer)]
    if wrong := [number for number in numbers if not 1 <= number <= len(shown)]:
        raise TestsError(f"There is no test {wrong[0]} in the list")
    return tuple(shown[number - 1].node_id for number in numbers)


def _create(skeleton: Skeleton) -> None:
    try:
        make([*((package, "") for package in skeleton.packages), (skeleton.path, skeleton.text)])
    except OSError as error:
        raise OciError(f"{skeleton.path} could not be made: {error.strerror}") from error


async def pin_tests(
    task: Task, *, wanted: bool, ask: Callable[[str], Awaitable[bool]] | None
) -> str:
    """Pin the task's own tests where that is `wanted`, or the user says yes; what was done.

    Args:
        ask: asks the user; None: not asked.
    """
    if not pinnable(task):
        found = "Nothing was pinned: the tests were found without being named."
        return found if wanted else ""
    question = f"Keep this test for {task.label}, as a pin in pyproject.toml?"
    if not wanted and not (ask and await ask(question)):
        return ""
    try:
        return f"Pinned in {await asyncio.to_thread(pin, task)}."
    except OciError as error:
        return str(error)
