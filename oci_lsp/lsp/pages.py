"""Pages: texts of ours that the editor opens, kept for a while in files of the user's own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from oci_lsp.lsp.showing import show_document

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server

_KEPT = 50


class Pages:
    """Writes pages and has them shown; one server's."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def show(self, name: str, text: str) -> str:
        """Write a page, have it shown, and give its URI; where none is shown, say where it is."""
        path = await asyncio.to_thread(_write, name, text)
        if not await show_document(self._server, path.as_uri()):
            self._server.messages.info(f"oci-lsp: the page is in {path}")
        return path.as_uri()


def _write(name: str, text: str) -> Path:
    from oci_lsp.paths import pages_dir

    folder = pages_dir()
    path = folder / name
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        # A model may write half an emoji, which is no UTF-8.
        file.write(text.encode("utf-8", "backslashreplace"))
    for old in sorted(folder.iterdir(), key=_written)[:-_KEPT]:
        old.unlink(missing_ok=True)
    return path


def _written(page: Path) -> float:
    """When a page was written; another window, or another request, may have removed it."""
    try:
        return page.stat().st_mtime
    except FileNotFoundError:
        return 0.0
