"""From bytes to messages: what is no message is told to the client, and the next one is read.

pygls has a reader too. It takes an object anywhere in a message for a message of its own when it
has a key `jsonrpc`, knows one spelling of the header only, and gives no answer to broken JSON.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oci_lsp.lsp.protocol import Protocol

_log = logging.getLogger(__name__)


async def read_messages(reader: Any, protocol: Protocol, stopped: threading.Event) -> None:
    """Hand messages to the protocol until the stream ends or `stopped` is set.

    Raises:
        asyncio.IncompleteReadError: the stream ended within a message.
        ValueError: a header line that is longer than any client's.
    """
    while not stopped.is_set() and (length := await _length(reader)) is not None:
        body = await reader.readexactly(length)
        try:
            message = json.loads(body)
        except (ValueError, RecursionError) as error:
            _log.warning("This is no JSON: %s", error)
            protocol.refuse_unread()
            continue
        if not isinstance(message, dict) or message.get("jsonrpc") != protocol.VERSION:
            _log.warning("This is no message of JSON-RPC 2.0: %.200r", message)
            protocol.refuse_unread()
            continue
        try:
            protocol.handle_message(protocol.structure_message(message))
        except Exception:  # noqa: BLE001 - whatever one message does, the next one is read
            _log.exception("Unable to handle a message")


async def _length(reader: Any) -> int | None:
    """The length of the next body in bytes; None at the end of the stream.

    Header fields that say nothing of the length are skipped, as HTTP has it.
    """
    length: int | None = None
    while line := await reader.readline():
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
        elif not line.strip() and length is not None:
            return length
    return None
