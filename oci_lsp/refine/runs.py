"""What a task's runs are made of: the buffers, the selected tests, the function, the time-out."""

from __future__ import annotations

from pathlib import Path

from oci_lsp.refine.task import Task
from oci_lsp.settings import VerifySettings
from oci_lsp.source.functions import Span
from oci_lsp.source.lines import Lines
from oci_lsp.source.splice import Spliced
from oci_lsp.source.tests import Selection
from oci_lsp.verify.verdict import Candidate, Report, Run, Snippet

# Candidates that loop for ever come in families, and each would be waited for. Once one has used up
# the time-out, the others get this part of it, or these seconds, or so many times what today's code
# took, whichever is most.
_PATIENCE = 0.25
_LEAST_SECONDS = 5.0
_TIMES_TODAYS = 4.0


class Runs:
    """Makes the runs of one task; what they took decides how long later ones may take."""

    def __init__(self, task: Task, settings: VerifySettings) -> None:
        self.selection = Selection((), (), "none")
        self._task = task
        self._settings = settings
        self._hung = False
        self._todays_seconds = 0.0

    def today(self, text: str, candidate: Candidate) -> Run:
        """The selected tests on today's code."""
        return self._selected(text, candidate, confirm=False)

    def candidate(self, spliced: Spliced) -> Run:
        """The selected tests on a candidate, whose pass must be confirmed."""
        found = self.of(spliced.text, spliced.function, spliced.name, spliced.qualname)
        return self._selected(spliced.text, found, confirm=self._settings.confirm)

    def others(self, text: str, node_ids: tuple[str, ...], seconds: float) -> Run:
        """Other tests on a text of the file; they need not call the function."""
        return Run(files=self._files(text), node_ids=node_ids, timeout=seconds)

    def of(self, text: str, span: Span, name: str, qualname: str) -> Candidate:
        """The function at a span of a text of the file."""
        lines = Lines(text)
        rows = lines.row(span.start), lines.row(span.end)
        return Candidate(self._task.path, name, qualname, rows)

    def took(self, report: Report, *, today: bool) -> None:
        """Learn from a run that has ended."""
        if today:
            self._todays_seconds = report.seconds
        else:
            self._hung = self._hung or report.verdict == "timed_out"

    def _selected(self, text: str, candidate: Candidate, *, confirm: bool) -> Run:
        return Run(
            files=self._files(text),
            node_ids=self.selection.node_ids,
            snippets=tuple(
                Snippet(item.kind, item.text, item.line) for item in self.selection.snippets
            ),
            snippet_path=self._task.path,
            candidate=candidate,
            original=self._task.module.text,
            timeout=self._timeout(),
            confirm=confirm,
        )

    def _files(self, text: str) -> dict[Path, str]:
        return {**self._task.buffers, self._task.path: text}

    def _timeout(self) -> float:
        whole = self._settings.timeout
        if not self._hung:
            return whole
        least = max(_LEAST_SECONDS, whole * _PATIENCE, self._todays_seconds * _TIMES_TODAYS)
        return min(whole, least)
