"""Diagnostics: tests that fail on the text as it is, at their assert and in the function."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from lsprotocol import types as lsp

from oci_lsp.lsp.documents import Document
from oci_lsp.lsp.targets import Key

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server
    from oci_lsp.refine.failures import Failure
    from oci_lsp.refine.task import Task
    from oci_lsp.verify.verdict import Report

SOURCE = "oci-lsp"


@dataclass(frozen=True)
class Ran:
    """A function's tests as they ran on today's text, and the buffers of that moment."""

    key: Key
    document: Document
    task: Task
    report: Report
    buffers: tuple[Document, ...]


@dataclass(frozen=True)
class _Shown:
    """One function's failures by the (unquoted) URI of the file that they are shown in."""

    diagnostics: Mapping[str, tuple[lsp.Diagnostic, ...]]
    public: bool


class Failures:
    """What failed last and still stands; a change of any text it speaks of clears it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._shown: dict[Key, _Shown] = {}

    async def show(self, ran: Ran, *, publish: bool) -> None:
        """Take over what failed in a run, unless a text that it speaks of has changed meanwhile.

        Args:
            publish: whether the client is to show it, too.
        """
        found = await asyncio.to_thread(_diagnostics, ran)
        now = {unquote(document.uri): document for document in self._server.documents}
        then = {unquote(document.uri): document for document in ran.buffers}
        if all(now.get(uri) is then.get(uri) for uri in (*found, unquote(ran.document.uri))):
            self._replace(ran.key, _Shown(found, publish) if found else None)

    def clear(self, key: Key) -> None:
        """The function's tests passed."""
        self._replace(key, None)

    def changed(self, uri: str) -> None:
        """The text of a file changed: what failed on the old one means nothing now."""
        for key, shown in tuple(self._shown.items()):
            if unquote(uri) in shown.diagnostics or unquote(uri) == key[0]:
                self._replace(key, None)

    def closed(self, uri: str) -> None:
        """A buffer is gone: its functions can be mended no more. A test stays where it is."""
        for key in tuple(self._shown):
            if unquote(uri) == key[0]:
                self._replace(key, None)

    def on(self, key: Key) -> bool:
        """Whether a test of the function is known to fail now."""
        return key in self._shown

    def blamed(self, uri: str, problem: lsp.Diagnostic) -> Key | None:
        """The function whose failure one of our diagnostics in a file tells of."""
        for key, shown in self._shown.items():
            for diagnostic in shown.diagnostics.get(unquote(uri), ()):
                same = diagnostic.range.start.line == problem.range.start.line
                if same and diagnostic.message == problem.message:
                    return key
        return None

    def _replace(self, key: Key, new: _Shown | None) -> None:
        old = self._shown.pop(key, None)
        if new is not None:
            self._shown[key] = new
        for uri in {*_public(old), *_public(new)}:
            self._publish(uri)
        if old is not new:
            self._server.lenses_changed()

    def _publish(self, uri: str) -> None:
        if self._server.leaving:
            return
        document = self._server.documents.get(uri)
        together = [
            diagnostic
            for shown in self._shown.values()
            for diagnostic in (shown.diagnostics.get(uri, ()) if shown.public else ())
        ]
        self._server.text_document_publish_diagnostics(
            lsp.PublishDiagnosticsParams(
                document.uri if document else Path(uri.removeprefix("file://")).as_uri(), together
            )
        )


def _public(shown: _Shown | None) -> Iterable[str]:
    return shown.diagnostics if shown is not None and shown.public else ()


def _diagnostics(ran: Ran) -> dict[str, tuple[lsp.Diagnostic, ...]]:
    from oci_lsp.refine.failures import failures

    files = _Files(ran)
    found: dict[str, list[lsp.Diagnostic]] = {}
    for failure in failures(ran.task, ran.report):
        document = files.at(failure.at.path) if failure.at else None
        place = _line(document, failure.at.line) if document and failure.at else None
        here = _in_function(ran, failure)
        if document and place:
            found.setdefault(unquote(document.uri), []).append(
                _diagnostic(
                    place, f"{ran.task.label}: {failure.message}", lsp.DiagnosticSeverity.Error
                )
            )
            if document.uri == ran.document.uri and here.start.line == place.start.line:
                continue
        related = (
            [lsp.DiagnosticRelatedInformation(lsp.Location(document.uri, place), failure.test)]
            if document and place
            else None
        )
        words = f"{failure.test} fails: {failure.message}"
        found.setdefault(unquote(ran.document.uri), []).append(
            _diagnostic(here, words, lsp.DiagnosticSeverity.Warning, related)
        )
    return {uri: tuple(diagnostics) for uri, diagnostics in found.items()}


def _diagnostic(
    place: lsp.Range,
    message: str,
    severity: lsp.DiagnosticSeverity,
    related: Sequence[lsp.DiagnosticRelatedInformation] | None = None,
) -> lsp.Diagnostic:
    return lsp.Diagnostic(
        place, message, severity=severity, source=SOURCE, related_information=related
    )


def _in_function(ran: Ran, failure: Failure) -> lsp.Range:
    """The line that raised, else the one with the function's name."""
    from oci_lsp.source.functions import Function

    target, document = ran.task.target, ran.document
    line = failure.inside
    if line is None:
        start = target.definition.start if isinstance(target, Function) else target.span.start
        line = document.lines.row(start)
    return _line(document, line)


def _line(document: Document, line: int) -> lsp.Range:
    """A line without its indent."""
    line = min(line, len(document.lines) - 1)
    text, start = document.lines.content(line), document.lines.start(line)
    return lsp.Range(
        document.position(start + len(text) - len(text.lstrip())),
        document.position(start + len(text.rstrip())),
    )


class _Files:
    """The files of a run as documents: the buffer where one is open, else what the disk has."""

    def __init__(self, ran: Ran) -> None:
        self._ran = ran
        self._open = {d.path.resolve(): d for d in ran.buffers if d.path is not None}

    def at(self, path: Path) -> Document | None:
        """None where the file cannot be read."""
        if path in self._open:
            return self._open[path]
        try:
            text = path.read_bytes().decode()
        except (OSError, UnicodeDecodeError):
            return None
        return Document(path.as_uri(), 0, text, "python", self._ran.document.encoding)
