"""What today's code must show before a model is asked: it can be tested, and the test is red."""

from __future__ import annotations

import asyncio

from oci_lsp.errors import OciError
from oci_lsp.refine.task import Baseline, Observer, Outcome, Stage, Task, counted
from oci_lsp.refine.trial import Trials
from oci_lsp.source.functions import Function
from oci_lsp.source.problems import syntax_error_outside
from oci_lsp.source.testnames import is_test
from oci_lsp.verify.verdict import Report


class EndError(Exception):
    """The job is over before its time; carries what the user is told."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


def check_source(task: Task) -> None:
    """The code of a task can be read, and is there to be written.

    Raises:
        EndError: it is not.
    """
    target, module = task.target, task.module
    if isinstance(target, Function) and is_test(task.path, target):
        raise EndError(
            "error",
            f"{task.label} is a test, and tests are never changed. Fix the function that it tests.",
        )
    asked_to_write = task.kind == "generate" and not task.feedback
    if asked_to_write and isinstance(target, Function) and not module.is_stub(target):
        raise EndError(
            "error",
            f"{task.label} is written already. Fix it instead, or leave `...` as its "
            "body to have it written anew.",
        )
    row = syntax_error_outside(module, target)
    if row is not None:
        raise EndError(
            "error",
            f"{task.path.name} has a syntax error in line {row + 1}, outside of "
            f"{task.label}. No test can run until it is mended.",
        )


class Today:
    """Examines today's code of one task; each method but `close` ends the job where it must.

    Raises, throughout:
        EndError: there is nothing to do, or nothing that a pass could tell.
    """

    def __init__(self, task: Task, trials: Trials, observe: Observer) -> None:
        self.task = task
        self.trials = trials
        self.observe = observe
        self.red: frozenset[str] = frozenset()
        self.again: asyncio.Task[Report | None] | None = None
        # Found tests that cannot tell anything today, for the user's eyes.
        self.left_out = ""

    def select_tests(self) -> None:
        """There is a test."""
        if self.trials.select().empty:
            raise EndError(
                "no_test",
                f"There is no test for {self.task.label} in {self.task.root}. Name one "
                "(`--test NODEID`, or a line `# test: NODEID` above the function), or write an "
                "example (`>>> call`, `assert ...`) in its docstring or in the comment above it.",
            )

    async def failure(self) -> str:
        """How the test fails on today's code; "" where it does not or there is no code yet."""
        self.observe(Stage("baseline"))
        report = await self.trials.baseline()
        if report is None:
            return ""
        if left_out := self.trials.leave_out_skipped(report):
            self.left_out = f" Left out: {', '.join(left_out)}."
            self.observe(
                Stage("baseline", detail=f"without {counted(len(left_out), 'skipped test')}")
            )
            report = await self.trials.baseline() or report
        if isinstance(self.task.target, Function):
            self.observe(Baseline(report))
        if report.verdict == "broken":
            told = report.feedback or report.summary
            if report.summary not in told:
                told = f"{report.summary}\n{told}"
            raise EndError("broken_test", f"The test cannot be run: {told}")
        red = [test for test in report.tests if test.outcome != "passed"]
        if red and all(test.outcome == "skipped" for test in red):
            names = ", ".join(f"{test.id} ({test.message})" for test in red)
            raise EndError(
                "broken_test",
                f"Skipped, so it can tell nothing: {names}. Take the mark away, or name another "
                "test.",
            )
        if report.verdict == "vacuous":
            raise EndError(
                "broken_test",
                f"The test passes without ever calling {self.task.label}, so it can't tell a right "
                "version from a wrong one. Name a test that calls it.",
            )
        if report.verdict != "passed":
            if report.verdict == "failed":
                self.red = frozenset(test.id for test in red)
            return report.feedback
        if not (self.task.diagnostics or self.task.feedback):
            raise EndError(
                "already_passing", f"The test of {self.task.label} passes already.{self.left_out}"
            )
        return ""

    def look_again(self) -> None:
        """Beside the model's first turn: a test that is green now is flaky."""
        if self.red and self.task.kind == "fix":
            self.again = asyncio.create_task(self.trials.baseline_again(), name="oci-lsp again")

    async def check_red_twice(self) -> None:
        """A pass tells something only if today's code is red each time."""
        try:
            report = await self.again if self.again is not None else None
        except OciError:  # no second look could be had: the first one stands
            return
        if report is None or report.verdict in ("broken", "timed_out", "crashed"):
            return
        green = {test.id for test in report.tests if test.outcome == "passed"}
        if self.red <= green:
            names = ", ".join(sorted(self.red))
            raise EndError(
                "broken_test",
                f"Flaky: red and then green on the same code, today's: {names}. Its pass tells "
                f"nothing about {self.task.label}. Name another test, or mend this one.",
            )

    async def close(self) -> None:
        """Stop the second look, if it still goes on."""
        if self.again is not None:
            self.again.cancel()
            await asyncio.gather(self.again, return_exceptions=True)
