"""oci_lsp.showTranscript: a job's conversation and attempts as a page in the editor."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from oci_lsp.lsp.jobs import Finished
from oci_lsp.lsp.showing import show_document

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server

_KEPT = 50


async def show(server: Server, finished: Finished) -> str:
    """Write a job's page to a file of the user's own, have it shown, and give its URI."""
    path = await asyncio.to_thread(_write, finished)
    if not await show_document(server, path.as_uri()):
        server.messages.info(f"oci-lsp: the transcript is in {path}")
    return path.as_uri()


def _write(finished: Finished) -> Path:
    from oci_lsp.paths import state_dir
    from oci_lsp.refine.transcript import markdown

    folder = state_dir() / "transcripts"
    folder.mkdir(mode=0o700, exist_ok=True)
    task, result = finished.task, finished.result
    text = f"# {result.outcome}\n\n{result.message}\n" if task is None else markdown(task, result)
    path = folder / f"{finished.job_id}.md"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    for old in sorted(folder.glob("*.md"), key=_written)[:-_KEPT]:
        old.unlink(missing_ok=True)
    return path


def _written(page: Path) -> float:
    """When a page was written; another window, or another request, may have removed it."""
    try:
        return page.stat().st_mtime
    except FileNotFoundError:
        return 0.0
