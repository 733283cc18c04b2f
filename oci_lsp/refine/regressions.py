"""Regressions: other tests, named by the task or referencing the function; none may turn red."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from oci_lsp.refine.runs import Runs
from oci_lsp.refine.task import Task, Verifier
from oci_lsp.settings import RefineSettings
from oci_lsp.source.functions import Function
from oci_lsp.source.tests import referencing_tests
from oci_lsp.verify import feedback
from oci_lsp.verify.verdict import Report, TestResult


class Regressions:
    """Runs the other tests of one task within a budget of seconds; 0: none are run."""

    def __init__(
        self, task: Task, verifier: Verifier, runs: Runs, settings: RefineSettings
    ) -> None:
        self._task = task
        self._verifier = verifier
        self._runs = runs
        self._seconds = settings.suite_seconds if task.green else settings.regression_seconds
        self._setting = "suiteSeconds" if task.green else "regressionSeconds"
        self._others: tuple[str, ...] | None = None
        self._green_before: dict[str, bool] | None = None
        self._unjudged = 0
        self._flaky: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the last run beside its result, a sentence each."""
        notes = []
        if self._unjudged:
            notes.append(
                f"{self._unjudged} other tests were not reached within"
                f" {self._seconds:g} s (refine.{self._setting})."
            )
        if self._flaky:
            notes.append(f"Flaky, red and green on the same code: {', '.join(self._flaky)}.")
        return tuple(notes)

    async def find(self) -> bool:
        """Whether there are other tests to run; found once."""
        if self._others is None:
            self._others = await asyncio.to_thread(self._find)
        return bool(self._others)

    async def turned_red(self, text: str) -> Report | None:
        """The report on those tests that were green and are not so with `text`; None: none.

        Raises:
            OciError: the kernel could not be started.
        """
        if not await self.find():
            return None
        report = await self._run(text, self._others or ())
        # What the budget did not suffice for.
        not_run = [test.id for test in report.tests if test.outcome == "missing"]
        self._unjudged = len(not_run) if report.verdict == "timed_out" else 0
        if report.verdict in ("passed", "vacuous"):
            return None
        if self._green_before is None:
            # Only now is it worth knowing which of them were green at all.
            before = await self._run(self._task.module.text, self._others or ())
            self._green_before = {test.id: test.outcome == "passed" for test in before.tests}
        turned = self._turned(report)
        if turned:
            turned = await self._not_by_chance(text, turned)
        if not turned:
            return None
        summary = "other tests turned red: " + ", ".join(test.id for test in turned)
        text = feedback.compose(summary, turned, "")
        return Report("failed", turned, summary, text, report.seconds)

    def _turned(self, report: Report) -> tuple[TestResult, ...]:
        assert self._green_before is not None
        now = {test.id: test for test in report.tests}
        turned: list[TestResult] = []
        for name, was_green in self._green_before.items():
            if not was_green or (name in now and now[name].outcome == "passed"):
                continue
            # A test that was not reached is not judged; the one that used up the budget is.
            if report.verdict == "timed_out" and (
                name not in now or now[name].outcome == "missing"
            ):
                continue
            gone = TestResult(name, "missing", message="it is no longer collected")
            turned.append(now.get(name, gone))
        return tuple(turned)

    async def _not_by_chance(
        self, text: str, turned: tuple[TestResult, ...]
    ) -> tuple[TestResult, ...]:
        again = await self._run(text, tuple(test.id for test in turned))
        green = {test.id for test in again.tests if test.outcome == "passed"}
        self._flaky |= dict.fromkeys(test.id for test in turned if test.id in green)
        return tuple(test for test in turned if test.id not in green)

    async def _run(self, text: str, node_ids: tuple[str, ...]) -> Report:
        return await self._verifier.run(self._runs.others(text, node_ids, self._seconds))

    def _find(self) -> tuple[str, ...]:
        target = self._task.target
        if not isinstance(target, Function) or self._seconds <= 0:
            return ()
        found = self._task.green or referencing_tests(
            self._task.root, self._task.path, self._task.module, target, self._task.buffers
        )
        return tuple(_left(found, self._runs.selection.node_ids))


def covers(chosen: str, test: str) -> bool:
    """Whether a selected node id (a file, a class, a test) holds the other."""
    return test == chosen or test.startswith((f"{chosen}::", f"{chosen}["))


def _left(found: Iterable[str], selected: tuple[str, ...]) -> Iterable[str]:
    return (test for test in found if not any(covers(chosen, test) for chosen in selected))
