"""One project's jobs: its kernels, the engine they share, their transcripts."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from oci_lsp import history
from oci_lsp.engine import lifecycle
from oci_lsp.engine.client import EngineClient
from oci_lsp.errors import OciError
from oci_lsp.refine.check import check
from oci_lsp.refine.loop import refine
from oci_lsp.refine.task import Observer, Result, Stage, Task
from oci_lsp.refine.transcript import Transcript
from oci_lsp.settings import Settings
from oci_lsp.verify.pool import Verifier
from oci_lsp.verify.verdict import Report, Run

Consent = Callable[[str], Awaitable[bool]]

_log = logging.getLogger(__name__)


class Session:
    """Runs jobs of one project; an async context manager that ends its kernels.

    The engine is shared with other sessions and ends by itself; the kernels are this session's own.

    Args:
        root: the project's folder, a real path.
        settings: in force for all jobs; another set of settings takes another session.
        consent: asks the user a yes-or-no question (a download, reduced isolation).
    """

    def __init__(self, root: Path, settings: Settings, consent: Consent | None = None) -> None:
        self.root = root
        self.settings = settings
        self._consent = consent
        self._verifier = Verifier(root, settings.verify, consent=consent)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the kernels. Jobs still running must have been cancelled and awaited."""
        await self._verifier.close()

    def new_job_id(self) -> str:
        """An identifier that is unique across sessions."""
        return uuid.uuid4().hex[:12]

    async def check(self, task: Task, observe: Observer) -> Result:
        """Run the test of a function on today's code; no model, no transcript.

        Raises:
            asyncio.CancelledError: the caller cancelled.
        """
        return await check(task, self._verifier, self.settings, observe)

    async def run_suite(self, files: Mapping[Path, str]) -> Report:
        """Run the project's whole test suite; `files` are texts by path that count unsaved.

        Raises:
            OciError: the kernel could not be started.
        """
        seconds = self.settings.refine.suite_seconds
        return await self._verifier.run(Run(files=files, suite=True, timeout=seconds))

    async def run(self, task: Task, observe: Observer, job_id: str) -> Result:
        """Run one job and keep its transcript.

        Raises:
            asyncio.CancelledError: the caller cancelled; the transcript is kept all the same.
        """

        def progress(what: str, fraction: float | None) -> None:
            observe(Stage("engine", detail=what, fraction=fraction))

        def finished(result: Result) -> None:
            try:
                transcript = Transcript.of(job_id, task, result, self.settings)
                history.save(job_id, transcript.records(), self.settings.history)
            except (OSError, OciError) as error:
                # A full disk, a folder that is no longer ours: the fix that has just passed must
                # not be lost for it.
                _log.warning("The transcript could not be written: %s", error)

        async with AsyncExitStack() as stack:

            async def connect() -> EngineClient:
                client = await lifecycle.connect(
                    self.settings.engine, progress=progress, consent=self._consent
                )
                return await stack.enter_async_context(client)

            return await refine(task, connect, self._verifier, self.settings, observe, finished)
