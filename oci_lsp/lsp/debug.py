"""oci_lsp.printDebugInformation and oci_lsp.restartEngine."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp

from oci_lsp import __version__
from oci_lsp.errors import OciError

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server

_PACKAGES = ("pygls", "lsprotocol", "jupyter-client", "ipykernel", "tree-sitter", "torch")


def print_information(server: Server) -> dict[str, Any]:
    """What a report of a fault should hold; also sent to the client's log. Holds no secrets."""
    information = {
        "version": __version__,
        "python": f"{platform.python_version()} {sys.executable}",
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "positionEncoding": server.documents.encoding,
        "trusted": server.configuration.trusted,
        "documents": [
            {"uri": document.uri, "version": document.version, "sha256": _digest(document.text)}
            for document in server.documents
        ],
        "jobs": server.jobs.state(),
        "sessions": len(server.jobs.sessions),
    }
    text = json.dumps(information, indent=2)
    server.window_log_message(lsp.LogMessageParams(lsp.MessageType.Info, text))
    return information


def _digest(text: str) -> str:
    """Tells whether the editor and the server have the same text, and nothing else of it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # 20 ms that the start can spare

    try:
        return version(package)
    except PackageNotFoundError:
        return None


async def restart_engine(server: Server) -> str:
    """End the local engine, for every editor window; the next job starts a fresh one."""
    from oci_lsp.engine import lifecycle

    try:
        await lifecycle.stop()
    except OciError as error:
        server.messages.warning(f"oci-lsp: {error}")
        return str(error)
    message = "The engine was stopped; the next job starts it again."
    server.messages.info(f"oci-lsp: {message}")
    return message
