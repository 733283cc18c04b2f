"""The language server: its parts, and which of them answers which message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer

from oci_lsp import __version__
from oci_lsp.lsp import commands, transport
from oci_lsp.lsp.asking import Pins
from oci_lsp.lsp.client import Client
from oci_lsp.lsp.code_actions import KINDS, code_actions
from oci_lsp.lsp.configuration import Configuration
from oci_lsp.lsp.failures import Failures
from oci_lsp.lsp.jobs import Jobs
from oci_lsp.lsp.lenses import code_lenses
from oci_lsp.lsp.messages import Messages
from oci_lsp.lsp.pages import Pages
from oci_lsp.lsp.protocol import Protocol

if TYPE_CHECKING:
    from oci_lsp.lsp.documents import Documents

# What the first request would otherwise wait for, lightest first.
_NEEDED_SOON = ("oci_lsp.source.functions", "oci_lsp.lsp.job", "oci_lsp.refine.session")

_log = logging.getLogger(__name__)


class Server(LanguageServer):
    """One client's server; `aclose` ends every process that it started."""

    def __init__(self, assignments: Sequence[str] = ()) -> None:
        """`assignments`: the command line's `--set KEY=VALUE` words, which outweigh all else."""
        super().__init__("oci-lsp", __version__, protocol_cls=Protocol)
        self.leaving = False
        self.client_name = ""
        self.messages = Messages(self)
        self.pages = Pages(self)
        self.failures = Failures(self)
        self.configuration = Configuration(self, assignments)
        self.jobs = Jobs(self)
        self.pins = Pins(self)
        self._warming: asyncio.Task[None] | None = None
        _register(self)

    @property
    def documents(self) -> Documents:
        """The client's buffers."""
        return cast("Protocol", self.protocol).documents

    @property
    def client(self) -> Client:
        """What the client can do."""
        return Client(self.client_capabilities)

    def warm(self) -> None:
        """Import what jobs need, in the background."""
        self._warming = asyncio.create_task(asyncio.to_thread(_import, _NEEDED_SOON))

    def lenses_changed(self) -> None:
        """Have the client ask for its code lenses again, where it can be told to."""
        if self.client.refreshes_lenses and not self.leaving:
            self.workspace_code_lens_refresh(None)

    async def aclose(self) -> None:
        """Cancel the jobs and end their kernels; the engine, which others share, lives on."""
        self.leaving = True
        await self.pins.close()
        await self.jobs.close()


def _import(names: Sequence[str]) -> None:
    for name in names:
        import_module(name)


def _register(server: Server) -> None:
    """Bind messages to what answers them."""

    @server.feature(lsp.INITIALIZE)
    def initialize(params: lsp.InitializeParams) -> None:
        server.configuration.initialise(params.initialization_options)
        server.client_name = params.client_info.name if params.client_info else ""
        server.protocol.trace = params.trace or lsp.TraceValue.Off

    @server.feature(lsp.INITIALIZED)
    async def initialized(params: lsp.InitializedParams) -> None:
        server.configuration.begin()
        server.warm()

    @server.feature(lsp.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def configuration_changed(params: lsp.DidChangeConfigurationParams) -> None:
        server.configuration.changed(params.settings)

    @server.feature(lsp.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    async def folders_changed(params: lsp.DidChangeWorkspaceFoldersParams) -> None:
        server.configuration.folders_changed()

    @server.feature(
        lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=list(KINDS))
    )
    def actions(params: lsp.CodeActionParams) -> list[lsp.CodeAction | lsp.Command] | None:
        return code_actions(server, params)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: lsp.DidChangeTextDocumentParams) -> None:
        server.failures.changed(params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        server.failures.closed(params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_CODE_LENS, lsp.CodeLensOptions())
    async def lenses(params: lsp.CodeLensParams) -> list[lsp.CodeLens] | None:
        return await code_lenses(server, params.text_document.uri)

    @server.feature(lsp.SHUTDOWN)
    async def shutdown(params: None) -> None:
        await server.aclose()

    commands.register(server)


def main_stdio(*, assignments: Sequence[str] = (), log_file: Path | None = None) -> int:
    """Serve the client on stdin and stdout until it leaves; the exit status.

    Raises:
        OciError: the log cannot be written.
    """
    transport.set_up_logging(log_file)
    return transport.serve_stdio(lambda: Server(assignments))


def main_tcp(
    host: str, port: int, *, assignments: Sequence[str] = (), log_file: Path | None = None
) -> int:
    """Serve the first client that connects, until it leaves; the exit status.

    Raises:
        OciError: not a loopback address, the port is taken, or the log cannot be written.
    """
    transport.set_up_logging(log_file)
    return transport.serve_tcp(lambda: Server(assignments), host, port)
