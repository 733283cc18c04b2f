"""Work-done progress of one job, created by the server; its cancel button cancels the job."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server

# A job that does the same for so long shows the time, and shows again that it is alive.
_TICK = 1.0
_SILENT = 2.0

_log = logging.getLogger(__name__)


class JobProgress:
    """Shows nothing where the client has no progress, and before it has agreed to the token."""

    def __init__(self, server: Server, job_id: str, title: str, cancel: Callable[[], None]) -> None:
        self._server = server
        # A token must never be used twice, not even after its end.
        self._token = f"oci-lsp/{job_id}"
        self._title = title
        self._cancel = cancel
        self._begun = False
        self._ended = False
        self._message = ""
        self._started = time.monotonic()
        self._showing: asyncio.Task[None] | None = None

    def start(self, message: str) -> None:
        """Ask the client for a progress bar; the job does not wait for it."""
        self._message = message
        if self._server.client.shows_progress:
            self._showing = asyncio.create_task(self._show(), name="oci-lsp progress")

    def report(self, message: str) -> None:
        """Show what the job does now."""
        if message == self._message:
            return
        self._message = message
        if self._begun:
            self._tell()

    def end(self, message: str) -> None:
        self._ended = True
        if self._showing:
            self._showing.cancel()
        if self._begun:
            self._bar.end(self._token, lsp.WorkDoneProgressEnd(message=message))
        # pygls never drops a token by itself.
        self._bar.tokens.pop(self._token, None)

    @property
    def _bar(self) -> Any:
        return self._server.work_done_progress

    def _tell(self) -> None:
        seconds = time.monotonic() - self._started
        message = self._message + (f" \N{MIDDLE DOT} {seconds:.0f} s" if seconds > _SILENT else "")
        self._bar.report(self._token, lsp.WorkDoneProgressReport(message=message))

    async def _show(self) -> None:
        try:
            await self._bar.create_async(self._token)
        except JsonRpcException as error:
            _log.info("The client shows no progress: %s", error)
            return
        if self._ended:
            self._bar.tokens.pop(self._token, None)
            return
        self._bar.tokens[self._token].add_done_callback(self._cancelled)
        self._begun = True
        begin = lsp.WorkDoneProgressBegin(self._title, cancellable=True, message=self._message)
        self._bar.begin(self._token, begin)
        while not self._ended:
            await asyncio.sleep(_TICK)
            self._tell()

    def _cancelled(self, future: Future[Any]) -> None:
        if future.cancelled():
            self._cancel()
