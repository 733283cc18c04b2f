"""The wire of the scripted engine: HTTP requests in, chat completions of OpenAI's protocol out.

Standard library only, and byte by byte: the engine that uses it must be able to die in mid-stream.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from typing import Any


async def read_request(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str], bytes]:
    """Method, path, headers with lower-case names, and body of the next request.

    Raises:
        asyncio.IncompleteReadError: the client went away.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in head[1:] if line)
    }
    return method, path, headers, await reader.readexactly(int(headers.get("content-length", 0)))


@dataclass
class ChatStream:
    """Writes chat chunks, or gathers them for a reply that was not to be streamed (no `start`)."""

    writer: asyncio.StreamWriter
    model: str
    streaming: bool = False
    gathered: dict[int, tuple[str, str | None]] = field(default_factory=dict)

    async def start(self) -> None:
        """Begin a stream."""
        self.streaming = True
        self.writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )
        await self.writer.drain()

    async def event(self, data: Any) -> None:
        """Send one server-sent event."""
        line = data if isinstance(data, str) else json.dumps(data)
        body = f"data: {line}\n\n".encode()
        self.writer.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")
        await self.writer.drain()

    def _chunk(self, **fields: Any) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self.streaming else "chat.completion"
        stamp = {"id": "scripted", "object": kind, "created": int(time.time()), "model": self.model}
        return stamp | fields

    async def choice(self, index: int, text: str, reason: str | None) -> None:
        """A piece of one candidate; `reason` ends it."""
        if not self.streaming:
            self.gathered[index] = (self.gathered.get(index, ("", None))[0] + text, reason)
            return
        delta = {"content": text} if text else {}
        choice = {"index": index, "delta": delta, "finish_reason": reason}
        await self.event(self._chunk(choices=[choice]))

    async def finish(self, usage: dict[str, Any]) -> None:
        """End the reply with the counts of tokens."""
        if self.streaming:
            await self.event(self._chunk(choices=[], usage=usage))
            await self.end(done=True)
            return
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": text},
                "finish_reason": reason,
            }
            for index, (text, reason) in sorted(self.gathered.items())
        ]
        await send(self.writer, 200, self._chunk(choices=choices, usage=usage), last=True)

    async def end(self, *, done: bool) -> None:
        """End the stream; without `done` as a server does that failed."""
        if done:
            await self.event("[DONE]")
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()


def tokens(text: str) -> list[str]:
    """A text in the pieces that go over the wire: words with the white space before them."""
    return re.findall(r"\s*\S+|\s+$", text)


def error_body(status: int, message: str) -> dict[str, Any]:
    """What an error reply holds."""
    return {"error": {"message": message, "type": "scripted", "param": None, "code": status}}


async def send(writer: asyncio.StreamWriter, status: int, data: Any, *, last: bool = False) -> None:
    """Send a whole reply as JSON; `last`: the connection carries no other."""
    body = json.dumps(data).encode()
    lines = [
        f"HTTP/1.1 {status} Scripted",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    if last:
        lines.append("connection: close")
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()
