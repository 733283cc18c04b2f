"""The engine's HTTP service: chat completions, models and health, over the worker."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from oci_lsp.engine.process import chat
from oci_lsp.engine.process.generation import Piece
from oci_lsp.engine.process.worker import Event, Failed, Finished, Job, Waiting, Worker
from oci_lsp.engine.protocol import EXTENSIONS

# Far above any prompt that fits a model; keeps a stray upload from filling the memory.
MAX_BODY_BYTES = 16 << 20


class _DisconnectedError(Exception):
    """The client went away."""


class ChatEndpoint:
    """Serves `/v1/chat/completions`.

    An ASGI application of its own: it watches the connection while a request waits or is served,
    so that a client that goes away stops its generation at once.
    """

    def __init__(self, worker: Worker, model: str) -> None:
        self._worker = worker
        self._model = model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            request = chat.parse(await _json_body(Request(scope, receive)), self._model)
        except chat.RequestError as error:
            await _refuse(scope, receive, send, error.status, str(error), error.param)
            return
        job = Job(request, asyncio.get_running_loop())
        self._worker.submit(job)
        events = _until_disconnect(job, receive)
        try:
            await self._answer(job, events, scope, receive, send)
        except (_DisconnectedError, OSError):
            pass
        finally:
            self._worker.cancel(job)
            await events.aclose()

    async def _answer(
        self,
        job: Job,
        events: AsyncGenerator[Event, None],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        reply = chat.Reply(self._model)
        started = False
        async for event in events:
            if isinstance(event, Waiting):
                if job.request.stream and job.request.include_queue:
                    if not started:
                        started = True
                        await _start_stream(send)
                    await _send_event(send, reply.queue_chunk(event.ahead))
                continue
            if isinstance(event, Failed) and not started:
                # Nothing was sent yet, so the status can still tell.
                await _refuse(scope, receive, send, event.status, event.message, event.param)
                return
            if not job.request.stream:
                if isinstance(event, Piece):
                    reply.gather(event.index, event.text, event.finish_reason)
                elif isinstance(event, Finished):
                    await JSONResponse(reply.whole(event.counts))(scope, receive, send)
                    return
                elif isinstance(event, Failed):
                    await _refuse(scope, receive, send, event.status, event.message)
                    return
                continue
            if not started:
                started = True
                await _start_stream(send)
            if isinstance(event, Piece):
                chunk = reply.chunk(event.index, event.text, event.finish_reason)
                if job.request.continuous_usage and event.finish_reason is not None:
                    chunk["usage"] = chat.usage(job.counts)
                await _send_event(send, chunk)
                continue
            if isinstance(event, Failed):
                await _send_event(send, chat.error(event.message, event.status))
            else:
                if job.request.include_usage:
                    await _send_event(send, reply.usage_chunk(event.counts))
                await _send_event(send, "[DONE]")
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return


async def _until_disconnect(job: Job, receive: Receive) -> AsyncGenerator[Event, None]:
    """The job's events.

    Raises:
        _DisconnectedError: the client went away meanwhile.
    """

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    watch = asyncio.create_task(gone())
    try:
        while True:
            event = asyncio.create_task(job.events.get())
            try:
                await asyncio.wait({watch, event}, return_when=asyncio.FIRST_COMPLETED)
                if watch.done():
                    raise _DisconnectedError
                yield event.result()
            finally:
                event.cancel()
    finally:
        watch.cancel()


async def _json_body(request: Request) -> Any:
    """The body as JSON.

    Raises:
        RequestError: it is too large, or no JSON.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise chat.RequestError("The request is too large", status=413)
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise chat.RequestError(f"The body is no JSON: {error}") from error


async def _refuse(
    scope: Scope,
    receive: Receive,
    send: Send,
    status: int,
    message: str,
    param: str | None = None,
) -> None:
    await JSONResponse(chat.error(message, status, param), status)(scope, receive, send)


async def _start_stream(send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _send_event(send: Send, data: Any) -> None:
    line = data if isinstance(data, str) else json.dumps(data)
    body = f"data: {line}\n\n".encode()
    await send({"type": "http.response.body", "body": body, "more_body": True})


def application(worker: Worker, *, model: str, device: str, version: str) -> Starlette:
    """The service as an ASGI application; the worker is started and closed by the caller."""

    async def health(request: Request) -> JSONResponse:
        # Being looked at does not keep an engine alive; being about to be used does.
        if request.query_params.get("touch"):
            worker.touch()
        return JSONResponse(
            {
                "status": worker.status,
                "progress": worker.progress,
                "detail": worker.detail,
                "model": model,
                "device": device,
                "version": version,
                "pid": os.getpid(),
                "queue": worker.queue,
                "idle_seconds": worker.idle_seconds,
                "extensions": list(EXTENSIONS),
            }
        )

    async def models(_request: Request) -> JSONResponse:
        row = {"id": model, "object": "model", "created": 0, "owned_by": "oci-lsp"}
        return JSONResponse({"object": "list", "data": [row]})

    async def not_found(request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse(chat.error(f"There is no {request.url.path} here", 404), 404)

    async def wrong_method(request: Request, _error: Exception) -> JSONResponse:
        text = f"{request.method} is not for {request.url.path}"
        return JSONResponse(chat.error(text, 405), 405)

    return Starlette(
        routes=[
            Route("/v1/chat/completions", ChatEndpoint(worker, model), methods=["POST"]),
            Route("/v1/models", models),
            Route("/health", health),
        ],
        exception_handlers={404: not_found, 405: wrong_method},
    )
