"""One job in the background: from the request to the edit and the notification."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

from oci_lsp.lsp.anchor import own_text
from oci_lsp.lsp.applying import apply, declined
from oci_lsp.lsp.asking import ask_for_test
from oci_lsp.lsp.background import Background
from oci_lsp.lsp.consent import require_trust
from oci_lsp.lsp.deciding import previews, wanted
from oci_lsp.lsp.documents import Document
from oci_lsp.lsp.failures import Ran
from oci_lsp.lsp.jobs import Finished
from oci_lsp.lsp.targets import Key, key_of
from oci_lsp.lsp.tasks import Order, build, file_of
from oci_lsp.refine.asking import offer
from oci_lsp.refine.task import Baseline, Event, Result, Task
from oci_lsp.settings import Settings
from oci_lsp.source.functions import Function, parse
from oci_lsp.verify.verdict import Report

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server


class Job(Background):
    """Runs one order."""

    def __init__(self, server: Server, job_id: str, key: Key, order: Order) -> None:
        doing = "writing" if order.kind == "generate" else "fixing"
        super().__init__(server, job_id, key, order.label, "testing" if order.run_only else doing)
        self.order = order
        self._task: Task | None = None
        self._picked = False
        self._today: Report | None = None

    async def _work(self, slots: asyncio.Semaphore) -> Result:
        server, order = self._server, self.order
        path = file_of(order.document)
        folder, folder_uri = server.configuration.folder_of(path)
        buffers = tuple(server.documents)
        task = await asyncio.to_thread(build, order, path, folder, buffers)
        self._task = task
        await require_trust(server, folder, task.root, self._report)
        self._report("queued")
        if found := await asyncio.to_thread(offer, task):
            self._report("waiting for your answer: which test?")
            answer = await ask_for_test(server, found, task)
            if isinstance(answer, Result):
                return self._ended(answer)
            self._picked = bool(answer)
            arguments = dataclasses.replace(order.arguments, tests=answer)
            self.order = order = dataclasses.replace(order, arguments=arguments)
            self._report("queued")
        async with slots:
            # Time has passed, and other files may have changed.
            buffers = tuple(server.documents)
            task = await asyncio.to_thread(build, order, path, folder, buffers)
            self._task = task
            settings = await server.configuration.settings(task.root, folder_uri)
            async with server.jobs.sessions.lease(task.root, settings) as session:
                if order.run_only:
                    result = await session.check(task, self._observe)
                else:
                    result = await session.run(task, self._observe, self.id)
        if result.outcome == "passed":
            result = await self._put_in(task, result, settings)
        await self._show_failures(task, result, buffers, settings)
        return result

    async def _put_in(self, task: Task, result: Result, settings: Settings) -> Result:
        server = self._server
        if not await wanted(server, settings, self.id, result, self._report):
            return declined(task, result, "you did not want it")
        preview = previews(server, settings)
        self._applying = not preview
        self._report("waiting for the editor's preview" if preview else "applying the edit")
        return await apply(server, self.order.document.uri, task, result, preview=preview)

    async def _show_failures(
        self, task: Task, result: Result, buffers: tuple[Document, ...], settings: Settings
    ) -> None:
        """Show what fails on the text as it is, or no longer show what does not."""
        failures = self._server.failures
        if result.outcome in ("passed", "already_passing"):
            failures.clear(self.key)
        elif self._today is not None and result.outcome in ("failed", "cancelled"):
            ran = Ran(self.key, self.order.document, task, self._today, buffers)
            await failures.show(ran, publish=settings.diagnostics)

    def _observe(self, event: Event) -> None:
        super()._observe(event)
        if isinstance(event, Baseline):
            self._today = event.report

    def _finished(self, result: Result) -> Finished:
        return Finished(self.id, self._task, result, self._key_now(result), self._picked)

    def cancelled(self) -> Finished:
        message = f"Cancelled: {self.order.label} is as it was."
        result = self._ended(Result("cancelled", message))
        return Finished(self.id, self._task, result, key=self.key)

    def _key_now(self, result: Result) -> Key:
        """Names the target after the job: a comment that became a function, by the function."""
        target = self.order.target
        if result.text is None or isinstance(target, Function):
            return self.key
        module, comment = parse(result.text), own_text(self.order.document.module, target)
        now = module.at(module.text.index(comment)) if comment in module.text else None
        return key_of(self.order.document.uri, now) if now else self.key
