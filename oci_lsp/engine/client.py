"""The client of every engine: ours over its unix socket, or any OpenAI-compatible server."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ipaddress
import json
import logging
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit, urlunsplit

from oci_lsp.engine import retries
from oci_lsp.engine.protocol import (
    Delta,
    Event,
    Health,
    Message,
    ProtocolError,
    Queued,
    Request,
    Usage,
    chat_payload,
    lines,
    parse_chunk,
    parse_health,
)
from oci_lsp.errors import EngineError

if TYPE_CHECKING:
    import httpx

__all__ = ["Delta", "EngineClient", "Health", "Message", "Queued", "Request", "Usage"]

_log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
# A remote server may queue a request for long; ours announces itself and is waited for.
REMOTE_SILENCE_SECONDS = 300.0


class _PassingError(EngineError):
    """A failure after which another trial may succeed; `retry_after` is the server's header."""

    def __init__(self, message: str, advice: str, retry_after: str | None = None) -> None:
        super().__init__(message, advice)
        self.retry_after = retry_after


def public_address(url: str) -> str:
    """An address for messages and logs, where no password and no key has a place."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


class EngineClient:
    """Talks to one engine; an async context manager.

    Args:
        base_url: `http://host:8000`, `https://host/some/v1`; for a unix socket any host.
        socket: the unix socket of our own engine.
        api_key: sent as a bearer token.
        model: the model asked for.
    """

    def __init__(
        self,
        base_url: str,
        *,
        socket: Path | None = None,
        api_key: str | None = None,
        model: str,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EngineError(
                f"engine.url {base_url!r} is not an http:// or https:// address",
                "Give it as http://host:port or https://host/v1.",
            )
        self.model = model
        self.base_url = public_address(base_url)
        self.socket = socket
        # Servers are named with or without their /v1; any other path is taken as it stands.
        path = parts.path.rstrip("/") or "/v1"
        self._api = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        self._root = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
        self._host = parts.hostname
        self._key = api_key
        self._http: httpx.AsyncClient | None = None
        # Our own engine, on its socket, takes all candidates in one request.
        self._ours: bool | None = True if socket else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; requests under way are cut off."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    def stream(self, request: Request) -> AsyncGenerator[Event]:
        """The candidates' text as it is generated, and the usage at the end.

        Our own engine also tells the place in its queue.

        Every candidate ends with a delta that has a finish reason. Closing the iterator
        (`contextlib.aclosing`) or cancelling its task disconnects, which stops the engine.

        Raises:
            EngineError: not reachable, refused, or broken off in the middle.
        """
        return self._stream(request)

    async def _stream(self, request: Request) -> AsyncGenerator[Event]:
        if self._ours is None:
            # None again: the server cannot be asked just now, and is taken for a foreign one.
            self._ours = await self._knows_extensions()
        if self._ours or request.n == 1:
            if request.greedy_first and request.n == 1:
                request = dataclasses.replace(request, temperature=0.0)
            parts = [(request, 0)]
        elif request.greedy_first:
            single = dataclasses.replace(request, n=1, temperature=0.0)
            parts = [(single, 0), (dataclasses.replace(request, n=request.n - 1), 1)]
        else:
            parts = [(request, 0)]
        finished: set[int] = set()
        usage: list[Usage] = []
        while parts:
            async with contextlib.aclosing(self._merged(parts)) as events:
                async for event in events:
                    if isinstance(event, Usage) and not self._ours:
                        usage.append(event)
                        continue
                    if isinstance(event, Delta) and event.finish_reason is not None:
                        finished.add(event.index)
                    yield event
            # Some servers answer with one candidate whatever `n` says: ask for the others singly.
            missing = [index for index in range(request.n) if index not in finished]
            if len(missing) == request.n:
                raise self._broken("the stream ended before the reply did")
            parts = [
                (
                    dataclasses.replace(
                        request,
                        n=1,
                        greedy_first=False,
                        seed=None if request.seed is None else request.seed + index,
                    ),
                    index,
                )
                for index in missing
            ]
        if usage:
            yield Usage(
                max(part.prompt_tokens for part in usage),
                sum(part.completion_tokens for part in usage),
                max(part.cached_tokens for part in usage),
            )

    async def _merged(self, parts: Sequence[tuple[Request, int]]) -> AsyncGenerator[Event]:
        """Several requests at once, as one stream; each part's indexes start at its offset."""
        if len(parts) == 1:
            request, offset = parts[0]
            async with contextlib.aclosing(self._one(request, offset)) as events:
                async for event in events:
                    yield event
            return
        queue: asyncio.Queue[Event | BaseException | None] = asyncio.Queue()

        async def pump(request: Request, offset: int) -> None:
            try:
                async with contextlib.aclosing(self._one(request, offset)) as events:
                    async for event in events:
                        queue.put_nowait(event)
            except Exception as error:  # noqa: BLE001 - raised again by the reader below
                queue.put_nowait(error)
            else:
                queue.put_nowait(None)

        tasks = [asyncio.create_task(pump(request, offset)) for request, offset in parts]
        try:
            open_parts = len(tasks)
            while open_parts:
                item = await queue.get()
                if item is None:
                    open_parts -= 1
                elif isinstance(item, BaseException):
                    raise item
                else:
                    yield item
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, request: Request, offset: int) -> AsyncGenerator[Event]:
        """One request's events; indexes start at `offset`.

        A remote server that cannot be reached, or is too busy, is asked again, as long as nothing
        of the reply has come.
        """
        trial = 0
        while True:
            begun = False
            try:
                async with contextlib.aclosing(self._asked_once(request, offset)) as events:
                    async for event in events:
                        begun = True
                        yield event
            except _PassingError as error:
                seconds = retries.pause(trial, error.retry_after)
                if begun or self.socket or seconds is None:
                    raise
                _log.info("%s; asked again in %.1f s", error.message, seconds)
            else:
                return
            await asyncio.sleep(seconds)
            trial += 1

    async def _asked_once(self, request: Request, offset: int) -> AsyncGenerator[Event]:
        import httpx

        payload = chat_payload(request, self.model, extensions=bool(self._ours))
        done = False
        begun: set[int] = set()
        finished: set[int] = set()
        try:
            async with self._client().stream(
                "POST", f"{self._api}/chat/completions", json=payload
            ) as response:
                if response.status_code != 200:
                    raise self._refused(
                        response.status_code,
                        await response.aread(),
                        response.headers.get("retry-after"),
                    )
                async for line in lines(response.aiter_bytes()):
                    if not line.startswith("data:"):
                        continue
                    data = line[5:].strip()
                    if data == "[DONE]":
                        done = True
                        break
                    for event in self._events(data, offset):
                        if isinstance(event, Delta):
                            begun.add(event.index)
                            if event.finish_reason is not None:
                                finished.add(event.index)
                        yield event
        except httpx.ConnectError as error:
            raise self._unreachable(error) from error
        except httpx.TimeoutException as error:
            raise EngineError(
                f"The engine at {self._where()} did not answer in time",
                "It may be overloaded: try again, or see its own log.",
            ) from error
        except httpx.HTTPError as error:
            raise self._broken(str(error) or type(error).__name__) from error
        # Not every server says that it is done, nor gives as many candidates as were asked for.
        if not done and (not finished or begun - finished):
            raise self._broken("the stream ended before the reply did")

    def _events(self, data: str, offset: int) -> list[Event]:
        """What one server-sent event says; indexes start at `offset`."""
        try:
            events = parse_chunk(data)
        except ProtocolError as error:
            if error.reported:
                raise EngineError(f"The engine at {self._where()} gave up: {error}") from error
            raise self._broken(str(error)) from error
        return [
            dataclasses.replace(event, index=event.index + offset)
            if isinstance(event, Delta)
            else event
            for event in events
        ]

    async def health(self, *, touch: bool = False) -> Health:
        """State of our own engine; `touch` counts as use, which puts off its idle end.

        Raises:
            EngineError: not reachable, or not one of ours.
        """
        data = await self._get(f"{self._root}/health{'?touch=1' if touch else ''}")
        health = parse_health(data)
        if health is None:
            raise EngineError(f"The server at {self._where()} is not an oci-lsp engine")
        return health

    async def models(self) -> tuple[str, ...]:
        """Names of the models that the server has.

        Raises:
            EngineError: not reachable, refused, or an answer that lists no models.
        """
        data = await self._get(f"{self._api}/models")
        try:
            return tuple(str(model["id"]) for model in data["data"])
        except (TypeError, KeyError) as error:
            raise EngineError(f"The server at {self._where()} lists no models") from error

    async def _get(self, url: str) -> Any:
        import httpx

        try:
            response = await self._client().get(url, timeout=CONNECT_SECONDS)
        except httpx.ConnectError as error:
            raise self._unreachable(error) from error
        except httpx.TimeoutException as error:
            raise EngineError(f"The engine at {self._where()} did not answer in time") from error
        except httpx.HTTPError as error:
            raise self._broken(str(error) or type(error).__name__) from error
        if response.status_code != 200:
            raise self._refused(response.status_code, response.content)
        try:
            return response.json()
        except ValueError:
            return None

    async def _knows_extensions(self) -> bool | None:
        """Whether the server behind the URL is one of ours; None: it cannot be asked just now."""
        try:
            return "greedy_first" in (await self.health()).extensions
        except _PassingError:
            return None
        except EngineError:
            return False

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            import ssl

            import httpx

            headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
            limits = httpx.Timeout(
                None if self.socket else REMOTE_SILENCE_SECONDS, connect=CONNECT_SECONDS
            )
            if self.socket:
                # An empty TLS context: loading the system's takes 30 ms and is of no use here.
                empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                transport = httpx.AsyncHTTPTransport(uds=str(self.socket), verify=empty)
                self._http = httpx.AsyncClient(
                    transport=transport, headers=headers, timeout=limits, trust_env=False
                )
            else:
                # A proxy of the environment must not see what is meant for this machine.
                self._http = httpx.AsyncClient(
                    headers=headers, timeout=limits, trust_env=not _is_loopback(self._host)
                )
        return self._http

    def _where(self) -> str:
        return str(self.socket or self.base_url)

    def _unreachable(self, error: Exception) -> EngineError:
        if self.socket:
            return EngineError(
                f"The engine at {self.socket} is not running ({error})",
                "The next request starts it again; `oci-lsp engine status` shows its log.",
            )
        return _PassingError(
            f"The engine at {self.base_url} cannot be reached ({error})",
            "Check the setting engine.url, and that the server is running.",
        )

    def _broken(self, why: str) -> EngineError:
        advice = (
            "The engine process may have died: `oci-lsp engine status` shows its log; "
            "the next request starts it again."
            if self.socket
            else "See the server's own log, and try again."
        )
        return _PassingError(f"The engine at {self._where()} broke off: {why}", advice)

    def _refused(self, status: int, body: bytes, retry_after: str | None = None) -> EngineError:
        """The error for an HTTP status other than 200."""
        text = body.decode("utf-8", "replace").strip()
        with contextlib.suppress(ValueError, AttributeError):
            error = json.loads(text)
            error = error.get("error", error.get("detail", error.get("message", text)))
            text = str(error.get("message", error)) if isinstance(error, dict) else str(error)
        if len(text) > 300:
            text = f"{text[:300]}..."
        advice = {
            400: "The request does not suit this server: see its message.",
            401: "Put the key into the environment variable that engine.apiKeyEnv names.",
            403: "The key has no right to this model: check engine.model and the key.",
            404: "Check engine.url, and that engine.model is a model of that server.",
            429: "Too many requests or an exhausted quota: wait a while, then try again.",
        }.get(status, "The server has a fault of its own: see its log, and try again.")
        message = f"The engine at {self._where()} answered {status}: {text}"
        if status in retries.PASSING:
            return _PassingError(message, advice, retry_after)
        return EngineError(message, advice)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
