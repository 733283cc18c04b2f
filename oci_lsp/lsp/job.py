"""One job in the background: from the request to the edit and the notification."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from typing import TYPE_CHECKING

from oci_lsp.errors import OciError
from oci_lsp.lsp.anchor import own_text
from oci_lsp.lsp.applying import apply
from oci_lsp.lsp.asking import ask_for_test
from oci_lsp.lsp.jobs import Finished
from oci_lsp.lsp.progress import JobProgress
from oci_lsp.lsp.targets import Key, key_of
from oci_lsp.lsp.tasks import Order, build, file_of
from oci_lsp.refine.asking import offer
from oci_lsp.refine.task import Attempt, Attempted, Event, Result, Stage, Task
from oci_lsp.source.functions import CommentBlock, Function, parse

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server

_log = logging.getLogger(__name__)


class Job:
    """Runs one order; `Jobs` starts it and is told how it ended."""

    def __init__(self, server: Server, job_id: str, key: Key, order: Order) -> None:
        self.id = job_id
        self.key = key
        self.order = order
        self.stage = "queued"
        self.asyncio_task: asyncio.Task[None] | None = None
        self._server = server
        self._started = time.monotonic()
        self._task: Task | None = None
        self._attempts: list[Attempt] = []
        self._applying = False
        self.picked = False
        """The user was asked for the test, and gave one."""
        verb = "writing" if order.kind == "generate" else "fixing"
        self._progress = JobProgress(server, job_id, f"oci-lsp: {verb} {order.label}", self.cancel)

    def begin(self) -> None:
        """Show that the job waits for its turn."""
        self._progress.start(self.stage)

    def cancel(self) -> None:
        """Stop the model and the kernel; too late once the edit is on its way to the editor."""
        if self.asyncio_task and not self._applying:
            self.asyncio_task.cancel()

    async def run(self, slots: asyncio.Semaphore) -> Finished:
        """Do the work, once one of the `slots` is free; every failure becomes an outcome.

        Raises:
            asyncio.CancelledError: the job was cancelled.
        """
        try:
            # Whoever thinks about an answer keeps no other job waiting.
            result = await self._ask_for_test()
            if result is None:
                async with slots:
                    result = await self._work()
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
        text, key = self._final(result)
        return Finished(self.id, self._task, result, text, key)

    async def _ask_for_test(self) -> Result | None:
        """Where there is no test, have the user give one; a result where that ends the job."""
        task, _ = await self._build()
        found = await asyncio.to_thread(offer, task)
        if found is None:
            return None
        self._report("waiting for your answer: which test?")
        answer = await ask_for_test(self._server, found, task)
        if isinstance(answer, Result):
            return self._ended(answer)
        arguments = dataclasses.replace(self.order.arguments, tests=answer)
        self.order = dataclasses.replace(self.order, arguments=arguments)
        self.picked = bool(answer)
        self._report("queued")
        return None

    async def _build(self) -> tuple[Task, str]:
        """The task as things are now, and the URI of its workspace folder."""
        path = file_of(self.order.document)
        folder, folder_uri = self._server.configuration.folder_of(path)
        buffers = tuple(self._server.documents)
        self._task = await asyncio.to_thread(build, self.order, path, folder, buffers)
        return self._task, folder_uri

    async def _work(self) -> Result:
        server, order = self._server, self.order
        task, folder_uri = await self._build()
        settings = await server.configuration.settings(task.root, folder_uri)
        async with server.jobs.sessions.lease(task.root, settings) as session:
            result = await session.run(task, self._observe, self.id)
            if result.outcome == "passed":
                self._applying = True
                self._report("applying the edit")
                result = await apply(server, order.document.uri, task, result)
        return result

    def _observe(self, event: Event) -> None:
        if isinstance(event, Stage):
            self._report(str(event))
        elif isinstance(event, Attempted):
            self._attempts.append(event.attempt)

    def _report(self, stage: str) -> None:
        self.stage = stage
        self._progress.report(stage)

    def cancelled(self) -> Finished:
        """How a cancelled job ended."""
        message = f"Cancelled: {self.order.label} is as it was."
        result = self._ended(Result("cancelled", message))
        return Finished(self.id, self._task, result, key=self.key)

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

    def _final(self, result: Result) -> tuple[str, Key]:
        """The function's own text now, and its key.

        The text is "" where the job's conversation speaks of another one. A comment that became a
        function is pointed at by the function's name.
        """
        target, uri = self.order.target, self.order.document.uri
        if result.outcome == "stale" or result.outcome == "error":
            return "", self.key
        if result.text is None:
            return own_text(self.order.document.module, target), self.key
        module = parse(result.text)
        now: Function | None
        if isinstance(target, CommentBlock):
            comment = own_text(self.order.document.module, target)
            now = module.at(module.text.index(comment)) if comment in module.text else None
        else:
            now = module.named(target.qualname)
        if now is None:
            return "", self.key
        return own_text(module, now), key_of(uri, now)
