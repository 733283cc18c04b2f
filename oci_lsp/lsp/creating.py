"""Making a file: by the client where it can, which shows and undoes it, else on the disk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException

from oci_lsp.errors import OciError

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server
    from oci_lsp.source.skeleton import Skeleton


async def create(server: Server, skeleton: Skeleton) -> None:
    """Make a test file; nothing that exists is overwritten.

    Raises:
        OciError: it could not be made.
    """
    if server.client.creates_files:
        await _by_client(server, skeleton)
        return
    from oci_lsp.source.skeleton import make

    files = [*((package, "") for package in skeleton.packages), (skeleton.path, skeleton.text)]
    try:
        await asyncio.to_thread(make, files)
    except OSError as error:
        raise _not_made(skeleton, error.strerror or str(error)) from error


async def _by_client(server: Server, skeleton: Skeleton) -> None:
    paths = (*skeleton.packages, skeleton.path)
    options = lsp.CreateFileOptions(overwrite=False, ignore_if_exists=False)
    made = [lsp.CreateFile(path.as_uri(), options=options) for path in paths]
    start = lsp.Range(lsp.Position(0, 0), lsp.Position(0, 0))
    uri = lsp.OptionalVersionedTextDocumentIdentifier(skeleton.path.as_uri())
    text = lsp.TextDocumentEdit(uri, [lsp.TextEdit(start, skeleton.text)])
    edit = lsp.WorkspaceEdit(document_changes=[*made, text])
    params = lsp.ApplyWorkspaceEditParams(edit, label=f"oci-lsp: {skeleton.path.name}")
    try:
        answer = await server.workspace_apply_edit_async(params)
    except JsonRpcException as error:
        raise _not_made(skeleton, str(error)) from error
    if not answer.applied:
        raise _not_made(skeleton, answer.failure_reason or "the editor refused")


def _not_made(skeleton: Skeleton, why: str) -> OciError:
    return OciError(f"{skeleton.path} could not be made: {why}", "Make it by hand, or name a test.")
