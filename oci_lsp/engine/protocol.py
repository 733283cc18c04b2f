"""The engine's protocol as the client sees it: OpenAI's chat completions and our few extensions."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

EXTENSIONS = (
    "greedy_first",
    "include_queue",
    "prediction",
    "stop_after_code",
    "stop_after_definition",
)
"""Fields of a chat request that our engine understands beyond what every server does."""

Message = Mapping[str, str]
"""One message of a conversation: `role` (system, user, assistant) and `content`."""


@dataclass(frozen=True)
class Request:
    """What to generate.

    Attributes:
        messages: the conversation so far, oldest first.
        n: candidates wanted, generated side by side.
        temperature: 0 is greedy.
        top_p: nucleus of the sampled candidates.
        max_tokens: limit of each candidate.
        seed: makes sampling repeatable, but for the rounding of bf16 products, whose width follows
            the machine; None: by chance.
        stop: texts that end a candidate; they are not part of it.
        prediction: text that the reply is likely to repeat (the old function); speeds up decoding.
        greedy_first: candidate 0 is greedy whatever the temperature, the others are sampled.
        stop_after_code: a candidate ends when its first fenced code block has been closed, or when
            it goes round in circles (our own engine only; other servers go on).
        stop_after_definition: name of a function; a candidate also ends where its definition does
            (our own engine only). Empty: it goes on.
    """

    messages: Sequence[Message]
    n: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 1024
    seed: int | None = None
    stop: Sequence[str] = ()
    prediction: str | None = None
    greedy_first: bool = False
    stop_after_code: bool = True
    stop_after_definition: str = ""


@dataclass(frozen=True)
class Delta:
    """More text of candidate `index` (0-based); its last delta carries the finish reason.

    `finish_reason` is "stop" or "length" (or what a foreign server says).
    """

    index: int
    text: str
    finish_reason: str | None = None


@dataclass(frozen=True)
class Usage:
    """Tokens that a request took so far, all candidates together.

    Comes after the last delta, if the server tells; from our engine also before the last delta of
    each candidate.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True)
class Queued:
    """How many requests our engine serves before this one; 0: it is this one's turn.

    Comes only where the request had to wait, and again whenever the number changes.
    """

    ahead: int


@dataclass(frozen=True)
class Health:
    """State of our engine. `progress` runs from 0 to 1 while `status` is "loading".

    `idle_seconds`: since it was last of use.
    """

    status: Literal["loading", "ready", "error"]
    progress: float
    detail: str
    model: str
    device: str
    version: str
    pid: int
    queue: int = 0
    idle_seconds: float = 0.0
    extensions: tuple[str, ...] = ()


Event = Delta | Usage | Queued
"""What a reply's stream is made of."""


class ProtocolError(Exception):
    """A server-sent event that cannot be used.

    Attributes:
        reported: the server itself reports a fault; else the data is not what was agreed.
    """

    def __init__(self, message: str, *, reported: bool = False) -> None:
        super().__init__(message)
        self.reported = reported


def chat_payload(request: Request, model: str, *, extensions: bool) -> dict[str, Any]:
    """The body of a streaming chat request; with our `extensions` only where they are understood.

    Other servers may refuse fields they do not know.
    """
    payload: dict[str, Any] = {
        "model": model,
        "messages": [dict(message) for message in request.messages],
        "n": request.n,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if extensions:
        # vLLM's name for usage in every chunk; ours puts it into each candidate's last one.
        payload["stream_options"]["continuous_usage_stats"] = True
        payload["stream_options"]["include_queue"] = True
    if request.seed is not None:
        payload["seed"] = request.seed
    if request.stop:
        payload["stop"] = list(request.stop)
    if extensions and request.greedy_first:
        payload["greedy_first"] = True
    if extensions and request.stop_after_code:
        payload["stop_after_code"] = True
    if extensions and request.stop_after_definition:
        payload["stop_after_definition"] = request.stop_after_definition
    if extensions and request.prediction:
        payload["prediction"] = {"type": "content", "content": request.prediction}
    return payload


async def lines(parts: AsyncIterable[bytes]) -> AsyncGenerator[str]:
    """The lines of a stream of server-sent events.

    Only LF and CRLF end them: what else is a line's end to Python may stand within a reply's text.
    """
    rest = b""
    async for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def parse_chunk(data: str) -> list[Event]:
    """The deltas, the usage and the place in the queue in one server-sent event's data.

    Raises:
        ProtocolError: the server reports an error, or it is no chat chunk.
    """
    try:
        chunk = json.loads(data)
        if error := chunk.get("error"):
            text = error.get("message", error) if isinstance(error, dict) else error
            raise ProtocolError(str(text), reported=True)
        events: list[Event] = []
        if usage := chunk.get("usage"):
            details = usage.get("prompt_tokens_details") or {}
            events.append(
                Usage(
                    int(usage.get("prompt_tokens") or 0),
                    int(usage.get("completion_tokens") or 0),
                    int(details.get("cached_tokens") or 0),
                )
            )
        if queue := chunk.get("queue"):
            events.append(Queued(int(queue["ahead"])))
        for choice in chunk.get("choices") or ():
            text = (choice.get("delta") or {}).get("content") or ""
            reason = choice.get("finish_reason")
            if text or reason is not None:
                events.append(Delta(int(choice.get("index", 0)), text, reason))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ProtocolError(f"unexpected data {data[:80]!r}") from error
    return events


def parse_health(data: Any) -> Health | None:
    """The state that `/health` of our engine gives; None: it is another server's answer."""
    if not isinstance(data, dict) or data.get("status") not in ("loading", "ready", "error"):
        return None
    return Health(
        status=data["status"],
        progress=float(data.get("progress", 0.0)),
        detail=str(data.get("detail", "")),
        model=str(data.get("model", "")),
        device=str(data.get("device", "")),
        version=str(data.get("version", "")),
        pid=int(data.get("pid", 0)),
        queue=int(data.get("queue", 0)),
        idle_seconds=float(data.get("idle_seconds", 0.0)),
        extensions=tuple(data.get("extensions", ())),
    )
