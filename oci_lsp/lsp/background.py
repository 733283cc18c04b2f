"""What every job in the background has: a bar, a cancel, attempts, and an outcome in any case."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from oci_lsp.errors import OciError
from oci_lsp.lsp.jobs import Finished
from oci_lsp.lsp.progress import JobProgress
from oci_lsp.lsp.targets import Key
from oci_lsp.lsp.telling import Telling
from oci_lsp.refine.task import Attempt, Attempted, Event, Result, Stage

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server

_log = logging.getLogger(__name__)


class Background(ABC):
    """A job; `Jobs` starts it and is told how it ended.

    Args:
        key: of what it works on; no two jobs with the same one run at a time.
        label: what it works on, for the user's eyes.
        doing: what it does with it: `fixing`.
    """

    def __init__(self, server: Server, job_id: str, key: Key, label: str, doing: str) -> None:
        self.id = job_id
        self.key = key
        self.label = label
        self.stage = "queued"
        self.asyncio_task: asyncio.Task[None] | None = None
        self._server = server
        self._started = time.monotonic()
        self._attempts: list[Attempt] = []
        self._applying = False
        self._telling = Telling(server, job_id, label)
        self._progress = JobProgress(server, job_id, f"oci-lsp: {doing} {label}", self.cancel)

    def begin(self) -> None:
        """Show that the job waits for its turn."""
        self._progress.start(self.stage)

    def cancel(self) -> None:
        """Stop the model and the kernels; too late once the edit is on its way to the editor.

        What an editor's preview shows is in the user's own hands.
        """
        if self.asyncio_task and not self._applying:
            self.asyncio_task.cancel()

    async def run(self, slots: asyncio.Semaphore) -> Finished:
        """Do the work; every failure becomes an outcome.

        Args:
            slots: one is held while kernels and the model work, none while the user is asked.

        Raises:
            asyncio.CancelledError: the job was cancelled.
        """
        try:
            result = await self._work(slots)
        except OciError as error:
            result = self._ended(Result("error", str(error)))
        except Exception as error:  # noqa: BLE001 - a fault of ours must end the job, not hang it
            _log.exception("Job %s failed", self.id)
            result = self._ended(
                Result(
                    "error",
                    f"oci-lsp itself failed ({type(error).__name__}: {error}). "
                    "Please report it with the server's log.",
                )
            )
        return self._finished(result)

    @abstractmethod
    async def _work(self, slots: asyncio.Semaphore) -> Result: ...

    @abstractmethod
    def _finished(self, result: Result) -> Finished:
        """What is remembered of a job that was not cancelled."""

    @abstractmethod
    def cancelled(self) -> Finished:
        """How a cancelled job ended."""

    def _observe(self, event: Event) -> None:
        self._telling.event(event)
        if isinstance(event, Stage):
            self._report(str(event))
        elif isinstance(event, Attempted):
            self._attempts.append(event.attempt)

    def _report(self, stage: str) -> None:
        self.stage = stage
        self._progress.report(stage)

    def _ended(self, result: Result) -> Result:
        return dataclasses.replace(
            result,
            attempts=tuple(self._attempts),
            seconds=time.monotonic() - self._started,
        )

    def end(self, result: Result) -> None:
        """Close the progress bar and tell the client."""
        self._progress.end(result.message)
        self._server.jobs.announce(self.id, result)
