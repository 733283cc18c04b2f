"""window/logMessage and $/logTrace: what a job does, for the editor's output view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types as lsp

from oci_lsp.refine.task import Attempted, Baseline, Event, Stage, Suspected, counted

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server


class Telling:
    """Tells of one job: its verdicts always, its stages and candidates as far as `$/setTrace` says.

    Raises, throughout: nothing; a client without such a view leaves the messages unread.
    """

    def __init__(self, server: Server, job_id: str, label: str) -> None:
        self._server = server
        self._who = f"{label} ({job_id})"

    def event(self, event: Event) -> None:
        """Something happened in the job."""
        if isinstance(event, Stage):
            self._trace(str(event))
        elif isinstance(event, Suspected):
            tests = counted(len(event.tests), "failing test")
            self.log(f"{event.label}: {tests}, {event.tests[0]}")
        elif isinstance(event, Baseline):
            self.log(f"today's code: {event.report.verdict}. {event.report.summary}")
        elif isinstance(event, Attempted):
            attempt = event.attempt
            seconds = f"{attempt.generate_seconds:.1f} s + {attempt.verify_seconds:.1f} s"
            self.log(f"attempt {attempt.number}: {attempt.verdict} ({seconds}). {attempt.summary}")
            self._trace(f"attempt {attempt.number}", attempt.code)

    def log(self, text: str) -> None:
        """A line for the user who looks for it."""
        if not self._server.leaving:
            self._server.window_log_message(
                lsp.LogMessageParams(lsp.MessageType.Info, f"{self._who}: {text}")
            )

    def _trace(self, text: str, verbose: str | None = None) -> None:
        value = self._server.protocol.trace
        if value == lsp.TraceValue.Off or self._server.leaving:
            return
        more = verbose if value == lsp.TraceValue.Verbose else None
        self._server.log_trace(lsp.LogTraceParams(f"{self._who}: {text}", more))
