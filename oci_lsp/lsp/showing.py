"""window/showDocument: a file before the user's eyes, where the client has that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server


async def show_document(server: Server, uri: str, line: int | None = None) -> bool:
    """Have a file shown, with the cursor in a line (0-based); whether it was."""
    if not server.client.shows_documents:
        return False
    place = None if line is None else lsp.Range(lsp.Position(line, 0), lsp.Position(line, 0))
    params = lsp.ShowDocumentParams(uri, take_focus=True, selection=place)
    try:
        return (await server.window_show_document_async(params)).success
    except JsonRpcException:
        return False
