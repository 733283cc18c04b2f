"""Words to the user: messages, and questions with buttons."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server

_log = logging.getLogger(__name__)


class Messages:
    """Shows messages in the editor; one server's."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._shown: set[str] = set()
        self._questions: dict[str, asyncio.Future[bool]] = {}

    def info(self, text: str) -> None:
        self._show(text, lsp.MessageType.Info)

    def warning(self, text: str) -> None:
        self._show(text, lsp.MessageType.Warning)

    def warn_once(self, text: str) -> None:
        """Show a warning unless it was shown before."""
        if text not in self._shown:
            self._shown.add(text)
            self.warning(text)

    def _show(self, text: str, kind: lsp.MessageType) -> None:
        _log.info("%s: %s", kind.name, text)
        if not self._server.leaving:
            self._server.window_show_message(lsp.ShowMessageParams(kind, text))

    async def ask(self, question: str, *, yes: str = "Yes") -> bool:
        """Ask for a yes or no; several jobs with the same question share one answer.

        A yes holds as long as the server runs. A client that cannot ask answers no.

        Args:
            yes: the word on the button that agrees.
        """
        asked = self._questions.get(question)
        if asked is None:
            asked = asyncio.ensure_future(self._agreed(question, yes))
            self._questions[question] = asked
        # A job that is cancelled leaves the question on the screen: the next one waits for it too.
        answer = await asyncio.shield(asked)
        if not answer:
            self._questions.pop(question, None)
        return answer

    async def _agreed(self, question: str, yes: str) -> bool:
        try:
            return await self.choose(question, (yes, "No")) == yes
        except asyncio.CancelledError:  # pygls gives up what is open when the client leaves
            return False

    async def choose(self, question: str, answers: Sequence[str]) -> str | None:
        """Ask a question once, and wait for one of the answers.

        None where the user puts the question away, or the client cannot ask.
        """
        items = [lsp.MessageActionItem(answer) for answer in answers]
        params = lsp.ShowMessageRequestParams(lsp.MessageType.Info, question, items)
        try:
            answer = await self._server.window_show_message_request_async(params)
        except JsonRpcException as error:
            _log.warning("The client cannot ask %r: %s", question, error)
            return None
        return answer.title if answer is not None and answer.title in answers else None
