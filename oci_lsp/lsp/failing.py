"""oci_lsp.fixFailing: a job on all that fails in a file or a folder, ending in one edit."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from lsprotocol import types as lsp

from oci_lsp.errors import TargetError
from oci_lsp.lsp.anchor import reapplied
from oci_lsp.lsp.applying import TRIES, send, text_edits
from oci_lsp.lsp.background import Background
from oci_lsp.lsp.consent import require_trust
from oci_lsp.lsp.deciding import previews, wanted
from oci_lsp.lsp.documents import Document, path_of
from oci_lsp.lsp.jobs import Finished
from oci_lsp.lsp.tasks import unsaved
from oci_lsp.refine.suite import Change, SuiteResult, fix_failing
from oci_lsp.refine.task import Outcome, Result, unified_diff
from oci_lsp.settings import Settings
from oci_lsp.source.target import find_root

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server


@dataclass(frozen=True)
class Place:
    """What is to be all green; `path` is real, a file or a folder."""

    uri: str
    path: Path

    @property
    def label(self) -> str:
        return f"all that fails in {self.path.name}"


def place(server: Server, uri: str | None) -> Place:
    """The file or folder of a request, by default the workspace's only folder.

    Raises:
        TargetError: there is none on this machine, or it is not told which.
    """
    if uri is None:
        folders = server.configuration.folders
        if len(folders) != 1:
            which = "There is no workspace folder" if not folders else "There are several folders"
            raise TargetError(which, "Name a file or a folder: `uri`.")
        uri = folders[0]
    path = path_of(uri)
    if path is None or not path.exists():
        raise TargetError(f"{uri} is no file or folder on this machine", "Save it first.")
    return Place(uri, path.resolve())


class FailingJob(Background):
    """Repairs all that fails in one place."""

    def __init__(self, server: Server, job_id: str, where: Place) -> None:
        key = unquote(where.uri), "* failing"
        super().__init__(server, job_id, key, where.label, "fixing")
        self._where = where
        self._repaired: list[SuiteResult] = []

    async def _work(self, slots: asyncio.Semaphore) -> Result:
        server, path = self._server, self._where.path
        folder, folder_uri = server.configuration.folder_of(path)
        root = await asyncio.to_thread(find_root, path, folder)
        await require_trust(server, folder, root, self._report)
        self._report("queued")
        async with slots:
            documents = tuple(server.documents)
            buffers = await asyncio.to_thread(unsaved, root, documents)
            settings = await server.configuration.settings(root, folder_uri)
            async with server.jobs.sessions.lease(root, settings) as session:
                done = await fix_failing(
                    session,
                    self._observe,
                    scope=path,
                    buffers=buffers,
                    finished=self._repaired.append,
                )
        if not done.changes:
            return done.whole
        return await self._put_in(done, root, settings)

    async def _put_in(self, done: SuiteResult, root: Path, settings: Settings) -> Result:
        server = self._server
        if not await wanted(server, settings, self.id, done.whole, self._report):
            return _not_made(done, "cancelled", "you did not want it")
        preview = previews(server, settings)
        self._applying = not preview
        self._report("waiting for the editor's preview" if preview else "applying the edit")
        return await apply(server, done, root, preview=preview)

    def _finished(self, result: Result) -> Finished:
        return Finished(self.id, None, result, key=self.key)

    def cancelled(self) -> Finished:
        # What had been repaired by then is in the diff.
        whole = self._repaired[0].whole if self._repaired else Result("cancelled", "Cancelled.")
        result = dataclasses.replace(
            whole, outcome="cancelled", message="Cancelled: all files are as they were."
        )
        return Finished(self.id, None, self._ended(result), key=self.key)


# -- the edit ------------------------------------------------------------------------------


async def apply(server: Server, done: SuiteResult, root: Path, *, preview: bool) -> Result:
    """Send all files' edits as one; what comes back tells whether it was made.

    A file that changed meanwhile takes the repairs all the same, where the repaired functions
    are what they were. What was tested together is put in together, or not at all.

    Args:
        preview: have the client show the edit first; it must take annotated edits.
    """
    note = lsp.ChangeAnnotation("oci-lsp: all that fails", preview, done.whole.message)
    for _ in range(TRIES):
        documents = tuple(server.documents)
        fitted = await asyncio.to_thread(_fitted, server, done, documents)
        for one in fitted:
            if one.text is None:
                name = one.change.path.name
                why = f"{name} was changed meanwhile; your own version stays"
                return _not_made(done, "stale", why)
        if tuple(server.documents) != documents:
            continue
        refusal = await send(server, [(one.document, one.edits) for one in fitted], note)
        if not refusal:
            return dataclasses.replace(done.whole, diff="".join(one.diff(root) for one in fitted))
        if tuple(server.documents) == documents:
            outcome: Outcome = "cancelled" if preview else "error"
            return _not_made(done, outcome, f"the editor did not take it: {refusal}")
    return _not_made(done, "stale", "the files kept changing")


@dataclass(frozen=True)
class _Fitted:
    """A file as it is now, and its text with the repairs; None where they do not fit any more."""

    change: Change
    document: Document
    text: str | None
    edits: Sequence[lsp.TextEdit]

    def diff(self, root: Path) -> str:
        name = self.change.path.relative_to(root).as_posix()
        return unified_diff(name, self.document.text, self.text or "")


def _fitted(server: Server, done: SuiteResult, documents: Sequence[Document]) -> list[_Fitted]:
    by_path = {document.path.resolve(): document for document in documents if document.path}
    found = []
    for change in done.changes:
        document = by_path.get(change.path) or _on_disk(server, change.path)
        text = _with_repairs(done, change, document.text)
        edits = text_edits(document, text) if text is not None else ()
        found.append(_Fitted(change, document, text, edits))
    return found


def _on_disk(server: Server, path: Path) -> Document:
    """A file that no buffer holds."""
    try:
        text = path.read_bytes().decode("utf-8").removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"{path} cannot be read: {error}") from None
    return Document(path.as_uri(), 0, text, "python", server.documents.encoding)


def _with_repairs(done: SuiteResult, change: Change, current: str) -> str | None:
    if current == change.old:
        return change.new
    text: str | None = current
    for repair in done.repairs:
        if repair.task.path == change.path and repair.result.outcome == "passed":
            text = reapplied(repair.task, repair.result, text) if text is not None else None
    return text


def _not_made(done: SuiteResult, outcome: Outcome, why: str) -> Result:
    """The result of an edit that was not made; the diff stays, to show what passed."""
    message = f"What was repaired was not put in: {why}. {done.whole.message}"
    return dataclasses.replace(done.whole, outcome=outcome, message=message)
