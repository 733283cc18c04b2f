"""oci_lsp.showTranscript: a job's conversation and attempts as a page in the editor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from oci_lsp.lsp.jobs import Finished

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server


async def show(server: Server, finished: Finished) -> str:
    """Have a job's page shown, and give its URI."""
    text = await asyncio.to_thread(_page, finished)
    return await server.pages.show(f"{finished.job_id}.md", text)


def _page(finished: Finished) -> str:
    from oci_lsp.refine.transcript import Transcript, markdown

    task, result = finished.task, finished.result
    if task is None:
        return f"# {result.outcome}\n\n{result.message}\n"
    return markdown(Transcript.of(finished.job_id, task, result, created=finished.ended))
