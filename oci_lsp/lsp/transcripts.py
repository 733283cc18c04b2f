"""oci_lsp.showTranscript: a job's conversation and attempts as a page in the editor."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException

from oci_lsp.lsp.jobs import Finished

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server


async def show(server: Server, finished: Finished) -> str:
    """Write a job's page to a file of the user's own, have it shown, and give its URI."""
    path = await asyncio.to_thread(_write, finished)
    shown = False
    if server.client.shows_documents:
        try:
            answer = await server.window_show_document_async(
                lsp.ShowDocumentParams(path.as_uri(), take_focus=True)
            )
            shown = answer.success
        except JsonRpcException:
            shown = False
    if not shown:
        server.messages.info(f"oci-lsp: the transcript is in {path}")
    return path.as_uri()


def _write(finished: Finished) -> Path:
    from oci_lsp.history import save_page
    from oci_lsp.refine.transcript import Transcript, markdown

    task, result = finished.task, finished.result
    if task is None:
        return save_page(finished.job_id, f"# {result.outcome}\n\n{result.message}\n")
    transcript = Transcript.of(finished.job_id, task, result, created=finished.ended)
    return save_page(finished.job_id, markdown(transcript))
