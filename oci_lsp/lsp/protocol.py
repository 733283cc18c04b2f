"""What this server does differently from pygls at the level of messages."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from cattrs import Converter
from lsprotocol import types as lsp
from pygls.exceptions import (
    JsonRpcException,
    JsonRpcInvalidRequest,
    JsonRpcMethodNotFound,
    JsonRpcParseError,
)
from pygls.protocol import LanguageServerProtocol, lsp_method

from oci_lsp.lsp.documents import Documents

if TYPE_CHECKING:
    from pygls.lsp.server import LanguageServer


class Protocol(LanguageServerProtocol):
    """Keeps the buffers itself, answers malformed requests, and ends without `sys.exit`."""

    def __init__(self, server: LanguageServer, converter: Converter) -> None:
        self.documents = Documents()
        super().__init__(server, converter)

    @property
    def was_shut_down(self) -> bool:
        """Whether the client asked for a shutdown, as it should before `exit`."""
        return self._shutdown

    def structure_message(self, data: dict[str, Any]) -> Any:
        """As pygls does, but a message that makes no sense keeps nobody waiting.

        pygls only raises, or takes a request for a notification: the client would wait for ever,
        and so would whoever waits here for a client's malformed answer.
        """
        try:
            if "id" in data and _is_notification(data.get("method")):
                raise JsonRpcMethodNotFound.of(data["method"])
            return super().structure_message(data)
        except JsonRpcException as error:
            if "id" in data and "method" in data:
                self._send_response(data["id"], error=error.to_response_error())
            elif isinstance(name := data.get("id"), str):  # pygls' own ids are strings
                waiting = self._request_futures.pop(name, None)
                if waiting and not waiting.done():
                    waiting.set_exception(error)
            raise

    def refuse_unread(self) -> None:
        """Tell the client that what it sent is no message; there is no id to answer to."""
        error = JsonRpcParseError().to_response_error()
        self._send_data({"jsonrpc": self.VERSION, "id": None, "error": error})

    def handle_message(self, message: Any) -> None:
        """As pygls does, but a request after `shutdown` gets an answer, too."""
        if self.was_shut_down and hasattr(message, "method") and hasattr(message, "id"):
            error = JsonRpcInvalidRequest("The server was shut down").to_response_error()
            self._send_response(message.id, error=error)
        else:
            super().handle_message(message)

    @lsp_method(lsp.INITIALIZE)
    def lsp_initialize(self, params: lsp.InitializeParams) -> Generator[Any, Any, Any]:
        result = yield from super().lsp_initialize(params)
        self.documents.encoding = result.capabilities.position_encoding or "utf-16"
        return result

    @lsp_method(lsp.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: lsp.DidOpenTextDocumentParams) -> None:
        self.documents.open(params.text_document)

    @lsp_method(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: lsp.DidChangeTextDocumentParams) -> None:
        self.documents.change(params)
        self._tell(lsp.TEXT_DOCUMENT_DID_CHANGE, params)

    @lsp_method(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: lsp.DidCloseTextDocumentParams) -> None:
        self.documents.close(params.text_document.uri)
        self._tell(lsp.TEXT_DOCUMENT_DID_CLOSE, params)

    def _tell(self, method: str, params: Any) -> None:
        """Call what the server registered for a notification that is handled here first.

        pygls would have it yielded, but keeps a future for each notification whose handler is a
        generator, for ever.
        """
        if handler := self.fm.features.get(method):
            handler(params)

    @lsp_method(lsp.EXIT)
    def lsp_exit(self, *args: Any) -> Generator[Any, Any, None]:
        """End the reading of messages; the process ends when all is cleared away."""
        if stop := self._server._stop_event:
            stop.set()
        yield from ()


def _is_notification(method: Any) -> bool:
    """Whether the protocol knows a method that takes no `id`."""
    if not isinstance(method, str):
        return False
    types = lsp.METHOD_TO_TYPES.get(method)
    return types is not None and types[1] is None
