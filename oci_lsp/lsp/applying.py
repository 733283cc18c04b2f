"""Putting a passed candidate into the client's buffer, and nowhere else."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException

from oci_lsp.lsp.anchor import reapplied
from oci_lsp.lsp.documents import Document
from oci_lsp.refine.task import Outcome, Result, Task, unified_diff
from oci_lsp.source.splice import minimal_edits

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server

# The buffer may change again while an edit is on its way; then the edit is made anew.
TRIES = 3
_ANSWER_SECONDS = 60.0
# With the editor's own preview the answer is the user's.
_PREVIEW_SECONDS = 900.0
_ANNOTATION = "oci-lsp"

Edited = tuple[Document, Sequence[lsp.TextEdit]]
"""A file and what is to change in it; the file need not be open in the editor."""


async def apply(server: Server, uri: str, task: Task, result: Result, *, preview: bool) -> Result:
    """Send the edit of a result that passed; what comes back tells whether it was made.

    `text` and `diff` of the returned result are those of the edit that was made.

    Args:
        preview: have the client show the edit first; it must take annotated edits.
    """
    refusal = "it kept changing"
    for _ in range(TRIES):
        document = server.documents.get(uri)
        if document is None:
            return _not_made(task, result, "stale", f"{task.path.name} was closed meanwhile")
        text = await asyncio.to_thread(reapplied, task, result, document.text)
        if text is None:
            why = f"{task.label} was changed meanwhile"
            return _not_made(task, result, "stale", f"{why}; your own version stays")
        if text == document.text:
            return result
        edits = await asyncio.to_thread(text_edits, document, text)
        if server.documents.get(uri) is not document:
            continue
        note = lsp.ChangeAnnotation(f"oci-lsp: {task.label}", preview, result.message)
        refusal = await send(server, [(document, edits)], note)
        if not refusal:
            return await asyncio.to_thread(_made, task, result, document, text)
        if preview and server.documents.get(uri) is document:
            return declined(task, result, f"it was not taken in the preview ({refusal})")
        if server.documents.get(uri) is document:
            return _not_made(task, result, "error", f"the editor refused the edit: {refusal}")
    return _not_made(task, result, "stale", f"{task.path.name} is not what it was: {refusal}")


def text_edits(document: Document, text: str) -> list[lsp.TextEdit]:
    """What makes a file's text another one."""
    return [
        lsp.TextEdit(document.range(edit.span), edit.replacement)
        for edit in minimal_edits(document.text, text)
    ]


async def send(server: Server, edited: Sequence[Edited], note: lsp.ChangeAnnotation) -> str:
    """Ask the client to make the edits, all as one; why it did not, or ""."""
    edit = _workspace_edit(server, edited, note)
    params = lsp.ApplyWorkspaceEditParams(edit, label=note.label)
    seconds = _PREVIEW_SECONDS if note.needs_confirmation else _ANSWER_SECONDS
    try:
        answer = await asyncio.wait_for(server.workspace_apply_edit_async(params), seconds)
    except JsonRpcException as error:
        return str(error) or "it cannot apply edits"
    except TimeoutError:
        return f"it gave no answer within {seconds:g} seconds"
    return "" if answer.applied else answer.failure_reason or "it gave no reason"


def _workspace_edit(
    server: Server, edited: Sequence[Edited], note: lsp.ChangeAnnotation
) -> lsp.WorkspaceEdit:
    """The edit in the form that the client takes, bound to the versions where it can be."""
    client = server.client
    if not client.takes_versioned_edits:
        return lsp.WorkspaceEdit(changes={document.uri: edits for document, edits in edited})
    changes = []
    for document, edits in edited:
        is_open = server.documents.get(document.uri) is document
        identifier = lsp.OptionalVersionedTextDocumentIdentifier(
            document.uri, document.version if is_open else None
        )
        noted = [lsp.AnnotatedTextEdit(_ANNOTATION, edit.range, edit.new_text) for edit in edits]
        annotated = client.takes_annotated_edits
        changes.append(lsp.TextDocumentEdit(identifier, noted if annotated else edits))
    annotations = {_ANNOTATION: note} if client.takes_annotated_edits else None
    return lsp.WorkspaceEdit(document_changes=changes, change_annotations=annotations)


def _made(task: Task, result: Result, document: Document, text: str) -> Result:
    if document.text == task.module.text:
        return result
    message = f"{result.message} The file had changed around it; the edit fits its present text."
    path = task.path.relative_to(task.root).as_posix()
    diff = unified_diff(path, document.text, text)
    return dataclasses.replace(result, text=text, diff=diff, message=message)


def declined(task: Task, result: Result, why: str) -> Result:
    """A passed result whose edit the user did not want."""
    return _not_made(task, result, "cancelled", why)


def _not_made(task: Task, result: Result, outcome: Outcome, why: str) -> Result:
    """The result without its text; the diff stays, so that the user can see what passed."""
    message = f"A candidate for {task.label} passed but was not put in: {why}."
    return dataclasses.replace(result, outcome=outcome, text=None, message=message)
