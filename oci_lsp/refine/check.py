"""Running a function's test on today's code, without a model."""

from __future__ import annotations

import asyncio
import time

from oci_lsp.errors import OciError, TestsError
from oci_lsp.refine.task import Baseline, Event, Observer, Result, Task, Verifier, counted
from oci_lsp.refine.today import EndError, Today, check_source
from oci_lsp.refine.trial import Trials
from oci_lsp.settings import Settings
from oci_lsp.verify.verdict import Report


async def check(task: Task, verifier: Verifier, settings: Settings, observe: Observer) -> Result:
    """Run the test of `task`, a function's: `already_passing`, `failed`, or why it tells nothing.

    `observe` is given the report as a `Baseline`.

    Raises:
        asyncio.CancelledError: the caller cancelled; the kernel was stopped.
    """
    started = time.monotonic()
    reports: list[Report] = []

    def watch(event: Event) -> None:
        if isinstance(event, Baseline):
            reports.append(event.report)
        observe(event)

    trials = Trials(task, verifier, settings, watch)
    today = Today(task, trials, watch)
    try:
        await asyncio.to_thread(check_source, task)
        await asyncio.to_thread(today.select_tests)
        await today.failure()
        result = Result("already_passing", "")
    except EndError as end:
        result = Result(end.outcome, str(end))
    except TestsError as error:
        result = Result("broken_test", str(error))
    except OciError as error:
        result = Result("error", str(error))
    if reports and reports[-1].verdict not in ("passed", "broken", "vacuous"):
        result = Result("failed", f"{task.label}: {reports[-1].summary}")
    elif result.outcome == "already_passing":
        tests = counted(len(trials.labels), "test")
        result = Result("already_passing", f"{task.label}: {tests} passed.{today.left_out}")
    return Result(
        result.outcome, result.message, tests=trials.labels, seconds=time.monotonic() - started
    )
