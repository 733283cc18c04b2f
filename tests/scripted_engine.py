"""The scripted engine: an OpenAI-protocol server that replays given replies and records requests.

The one stand-in of the test suite. In a test:

    with ScriptedEngine(["```python\\ndef f(): return 1\\n```"]) as engine:
        ...EngineClient(engine.url, model="scripted")...
        assert "AssertionError" in engine.prompts[1]

In a process of its own, from the repository's root:
`python -m tests.scripted_engine --replies FILE (--socket PATH | --port N)`, where FILE is a JSON
list. It prints `ready URL-or-PATH` once it listens. Each item is a string, a list of strings (one
per candidate), or an object with the fields of `Reply`. `GET /requests` gives what was asked so
far.

Standard library only; tests/openai_wire.py holds the bytes that go over the connection.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.openai_wire import ChatStream, error_body, read_request, send, tokens


@dataclass(frozen=True)
class Reply:
    """What one request gets.

    Attributes:
        texts: the candidates; candidate i of n is `texts[i % len(texts)]`.
        delay: seconds before each token (a token is a word with the white space before it).
        first_delay: seconds before anything is sent.
        status: the HTTP status; anything but 200 is an error reply with `message`.
        message: the error's message.
        dies_after: tokens (all candidates together) after which the connection is cut.
        exits: with `dies_after`, the whole process ends too (only in a process of its own).
        error_after: tokens after which an error event with `message` ends the stream.
        when: only a request whose prompt contains this text gets the reply.
    """

    texts: tuple[str, ...] = ("",)
    delay: float = 0.0
    first_delay: float = 0.0
    status: int = 200
    message: str = "scripted error"
    dies_after: int | None = None
    exits: bool = False
    error_after: int | None = None
    when: str = ""

    @classmethod
    def of(cls, item: str | Sequence[str] | Mapping[str, Any] | Reply) -> Reply:
        """A reply from a string, a list of candidates or a JSON object."""
        if isinstance(item, Reply):
            return item
        if isinstance(item, str):
            return cls((item,))
        if isinstance(item, Mapping):
            fields = dict(item)
            if "texts" in fields:
                fields["texts"] = tuple(fields["texts"])
            return cls(**fields)
        return cls(tuple(item))


@dataclass
class Recorded:
    """One chat request: its payload and what became of it.

    `outcome` is "running", "finished", "error", "died" or "disconnected" (the client went away);
    `tokens` counts what was sent, `headers` have lower-case names.
    """

    payload: dict[str, Any]
    headers: dict[str, str]
    outcome: str = "running"
    tokens: int = 0

    @property
    def prompt(self) -> str:
        """The contents of all messages, one after the other."""
        return "\n\n".join(message["content"] for message in self.payload["messages"])


@dataclass
class ScriptedEngine:
    """The server, in a thread of its own while the context lasts.

    Attributes:
        replies: what is replayed, in order; each request takes the first that fits it.
        repeat: begin anew after the last reply; otherwise more requests get HTTP 500.
        delay: default of `Reply.delay` for replies that give none.
        socket: listen on this unix socket instead of a TCP port.
        port: TCP port on 127.0.0.1; 0: a free one.
        foreign: hide that our extensions are understood (as any other OpenAI server).
        ignores_n: answer with one candidate however many are asked for, as some servers do.
        key: the API key asked for; empty: none.
        model: the model it claims to serve; a request for another gets 404 if `strict_model`.
    """

    replies: Sequence[str | Sequence[str] | Mapping[str, Any] | Reply] = ()
    repeat: bool = False
    delay: float = 0.0
    socket: Path | None = None
    port: int = 0
    foreign: bool = False
    ignores_n: bool = False
    key: str = ""
    model: str = "scripted"
    strict_model: bool = False
    requests: list[Recorded] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._left = [Reply.of(item) for item in self.replies]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    @property
    def url(self) -> str:
        """The base URL; for a unix socket a made-up host."""
        return "http://engine" if self.socket else f"http://127.0.0.1:{self.port}"

    @property
    def prompts(self) -> list[str]:
        """The prompt of each chat request so far."""
        return [request.prompt for request in self.requests]

    def add(self, *items: str | Sequence[str] | Mapping[str, Any] | Reply) -> None:
        """Append replies while the server runs."""
        self._left += [Reply.of(item) for item in items]

    def wait(self, outcome: str, count: int = 1, seconds: float = 20.0) -> None:
        """Block until `count` requests ended so, or raise TimeoutError."""
        end = time.monotonic() + seconds
        while sum(request.outcome == outcome for request in self.requests) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{outcome}: {[r.outcome for r in self.requests]}")
            time.sleep(0.01)

    def __enter__(self) -> Self:
        ready = threading.Event()

        def work() -> None:
            try:
                asyncio.run(self.serve(ready.set))
            except BaseException as error:
                self._failure = error
                ready.set()

        self._thread = threading.Thread(target=work, name="scripted-engine", daemon=True)
        self._thread.start()
        ready.wait()
        if self._failure:
            raise self._failure
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._loop and self._stop and self._thread:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)

    async def serve(self, ready: Any = lambda: None) -> None:
        """Serve until told to stop; `ready` is called once the socket listens."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        if self.socket:
            server = await asyncio.start_unix_server(self._connection, str(self.socket))
        else:
            server = await asyncio.start_server(self._connection, "127.0.0.1", self.port)
            self.port = server.sockets[0].getsockname()[1]
        ready()
        await self._stop.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self.socket:
            self.socket.unlink(missing_ok=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            with contextlib.suppress(OSError, RuntimeError):
                writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection may carry another."""
        method, path, headers, body = await read_request(reader)
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            await send(writer, 401, error_body(401, "Incorrect API key provided"))
        elif (method, path) == ("POST", "/v1/chat/completions"):
            return await self._chat(json.loads(body), headers, reader, writer)
        elif path == "/v1/models":
            await send(
                writer, 200, {"object": "list", "data": [{"id": self.model, "object": "model"}]}
            )
        elif path == "/health" and self.foreign:
            await send(writer, 200, {"status": "ok"})
        elif path == "/health":
            await send(
                writer,
                200,
                {
                    "status": "ready",
                    "progress": 1.0,
                    "detail": "",
                    "model": self.model,
                    "pid": os.getpid(),
                    "version": "scripted",
                    "device": "cpu",
                    "extensions": ["greedy_first", "prediction"],
                },
            )
        elif path == "/requests":
            rows = [vars(request) | {"prompt": request.prompt} for request in self.requests]
            await send(writer, 200, rows)
        else:
            await send(writer, 404, error_body(404, f"Not Found: {path}"))
        return True

    def _take(self, request: Recorded) -> Reply | None:
        for index, reply in enumerate(self._left):
            if reply.when in request.prompt:
                del self._left[index]
                if self.repeat and not self._left:
                    self._left = [Reply.of(item) for item in self.replies]
                return reply
        return None

    async def _chat(
        self,
        payload: dict[str, Any],
        headers: dict[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        request = Recorded(payload, headers)
        self.requests.append(request)
        reply = self._take(request)
        if reply is None:
            reply = Reply(status=500, message=f"no reply left for request {len(self.requests)}")
        elif self.strict_model and payload.get("model") != self.model:
            reply = Reply(status=404, message=f"The model {payload.get('model')} does not exist")
        gone = asyncio.ensure_future(reader.read(1))  # end of stream: the client went away
        work = asyncio.ensure_future(self._reply(request, reply, writer))
        try:
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                request.outcome = "disconnected"
                return False
            return await work
        except ConnectionError:
            request.outcome = "disconnected"
            return False
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _reply(self, request: Recorded, reply: Reply, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(reply.first_delay)
        if reply.status != 200:
            request.outcome = "error"
            await send(writer, reply.status, error_body(reply.status, reply.message))
            return False
        count = 1 if self.ignores_n else int(request.payload.get("n") or 1)
        rows = [tokens(reply.texts[i % len(reply.texts)]) for i in range(count)]
        limit = int(request.payload.get("max_tokens") or 2**31)
        usage = {
            "prompt_tokens": len(tokens(request.prompt)),
            "completion_tokens": sum(min(len(row), limit) for row in rows),
            "prompt_tokens_details": {"cached_tokens": 0},
        }
        stream = ChatStream(writer, self.model)
        if request.payload.get("stream"):
            await stream.start()
        # Candidates advance side by side, one token each in turn, as a batch does.
        for step in itertools.count():
            alive = False
            for index, row in enumerate(rows):
                if step > min(len(row), limit):
                    continue
                alive = True
                await asyncio.sleep(reply.delay or self.delay)
                if request.tokens == reply.dies_after:
                    request.outcome = "died"
                    if reply.exits:
                        os._exit(1)
                    return False
                if request.tokens == reply.error_after:
                    request.outcome = "error"
                    await stream.event(error_body(500, reply.message))
                    await stream.end(done=False)
                    return False
                if step == min(len(row), limit):
                    reason = "length" if len(row) > limit else "stop"
                    await stream.choice(index, "", reason)
                else:
                    await stream.choice(index, row[step], None)
                    request.tokens += 1
            if not alive:
                break
        request.outcome = "finished"
        await stream.finish(usage)
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--replies", type=Path, required=True, help="JSON list of replies")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", type=Path, help="unix socket to listen on")
    where.add_argument("--port", type=int, help="TCP port on 127.0.0.1; 0: a free one")
    parser.add_argument("--repeat", action="store_true", help="begin anew after the last reply")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each token")
    parser.add_argument("--foreign", action="store_true", help="hide our extensions")
    options = parser.parse_args()
    engine = ScriptedEngine(
        json.loads(options.replies.read_text("utf-8")),
        repeat=options.repeat,
        delay=options.delay,
        socket=options.socket,
        port=options.port or 0,
        foreign=options.foreign,
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(engine.serve(lambda: print("ready", options.socket or engine.url, flush=True)))


if __name__ == "__main__":
    main()
