"""Chat completions as OpenAI writes them: requests checked, replies and errors put into shape."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oci_lsp.engine.process.generation import Counts, Sampling

MAX_CANDIDATES = 32
MAX_STOPS = 16
DEFAULT_MAX_TOKENS = 1024
_ROLES = ("system", "developer", "user", "assistant")


class RequestError(Exception):
    """A request that cannot be served; `status` is the HTTP status, `param` the field at fault."""

    def __init__(self, message: str, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param = param
        self.status = status


@dataclass(frozen=True)
class ChatRequest:
    """A request that was checked; one entry of `rows` per candidate."""

    messages: Sequence[Mapping[str, str]]
    rows: Sequence[Sampling]
    max_tokens: int
    stop: Sequence[str]
    prediction: str
    stop_after_code: bool
    stop_after_definition: str
    stream: bool
    include_usage: bool
    continuous_usage: bool
    include_queue: bool


def parse(body: Any, model: str) -> ChatRequest:
    """Check the body of a request for `model`.

    Raises:
        RequestError: says which field is wrong and how.
    """
    if not isinstance(body, dict):
        raise RequestError("The body must be a JSON object")
    wanted = body.get("model")
    if wanted not in (None, "", model):
        raise RequestError(f"This engine serves {model!r}, not {wanted!r}", "model", status=404)
    count = _number(body, "n", 1, 1, MAX_CANDIDATES, whole=True)
    temperature = _number(body, "temperature", 1.0, 0, 2)
    top_p = _number(body, "top_p", 1.0, 0, 1)
    if top_p == 0:
        raise RequestError("top_p must be more than 0", "top_p")
    limit = "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"
    seed = None if body.get("seed") is None else int(_number(body, "seed", 0, whole=True))
    greedy_first = _flag(body, "greedy_first")
    rows = [
        Sampling(
            temperature=0.0 if greedy_first and index == 0 else temperature,
            top_p=top_p,
            seed=None if seed is None else (seed + index) % 2**63,
        )
        for index in range(int(count))
    ]
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise RequestError("stream_options must be an object", "stream_options")
    return ChatRequest(
        messages=_messages(body.get("messages")),
        rows=rows,
        max_tokens=int(_number(body, limit, DEFAULT_MAX_TOKENS, 1, whole=True)),
        stop=_stops(body.get("stop")),
        prediction=_prediction(body.get("prediction")),
        stop_after_code=_flag(body, "stop_after_code"),
        stop_after_definition=_definition(body.get("stop_after_definition")),
        stream=_flag(body, "stream"),
        include_usage=bool(options.get("include_usage")),
        continuous_usage=bool(options.get("continuous_usage_stats")),
        include_queue=bool(options.get("include_queue")),
    )


def _number(
    body: Mapping[str, Any],
    name: str,
    default: float,
    low: float | None = None,
    high: float | None = None,
    *,
    whole: bool = False,
) -> float:
    value = body.get(name)
    if value is None:
        return default
    right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    bounds = [f"at least {low:g}"] if low is not None else []
    bounds += [f"at most {high:g}"] if high is not None else []
    # Written so that NaN fails too.
    if (
        not right
        or not (low is None or value >= low)
        or not (high is None or value <= high)
        or value != value
    ):
        kind = "a whole number" if whole else "a number"
        raise RequestError(f"{name} must be {', '.join([kind, *bounds])}", name)
    number: float = value
    return number


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise RequestError(f"{name} must be true or false", name)
    return bool(value)


def _messages(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise RequestError("messages must be a list with at least one message", "messages")
    messages = []
    for index, message in enumerate(value):
        where = f"messages[{index}]"
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise RequestError(f"{where}.role must be one of {', '.join(_ROLES)}", where)
        role = "system" if message["role"] == "developer" else message["role"]
        messages.append({"role": role, "content": _text(message.get("content"), where)})
    return messages


def _text(content: Any, where: str) -> str:
    """A content: a string, or a list of text parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, dict) and isinstance(part.get("text"), str) for part in content
    ):
        return "".join(part["text"] for part in content)
    raise RequestError(f"{where}.content must be text", where)


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    if (
        not isinstance(stops, list)
        or len(stops) > MAX_STOPS
        or not all(isinstance(stop, str) and stop for stop in stops)
    ):
        raise RequestError(f"stop must be a text or a list of up to {MAX_STOPS} texts", "stop")
    return tuple(stops)


def _definition(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not (value == "" or value.isidentifier()):
        raise RequestError(
            "stop_after_definition must be a function's name", "stop_after_definition"
        )
    return value


def _prediction(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, dict):
        raise RequestError("prediction must be an object with a content", "prediction")
    return _text(value.get("content"), "prediction")


def error(message: str, status: int, param: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


class Reply:
    """Puts one request's candidates into chunks, or into one whole reply."""

    def __init__(self, model: str) -> None:
        self._common = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
        }
        self._texts: dict[int, list[str]] = {}
        self._reasons: dict[int, str] = {}

    def chunk(self, index: int, text: str, reason: str | None) -> dict[str, Any]:
        """A streamed piece of a candidate; its first one carries the role."""
        delta: dict[str, str] = {"content": text} if text else {}
        if index not in self._texts:
            self._texts[index] = []
            delta["role"] = "assistant"
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self._common, "object": "chat.completion.chunk", "choices": [choice]}

    def usage_chunk(self, counts: Counts) -> dict[str, Any]:
        """The chunk that ends a stream whose client wants the usage."""
        return self._bare_chunk("usage", usage(counts))

    def queue_chunk(self, ahead: int) -> dict[str, Any]:
        """The chunk that tells a client, which wants to know, how many requests are before its."""
        return self._bare_chunk("queue", {"ahead": ahead})

    def _bare_chunk(self, name: str, value: Any) -> dict[str, Any]:
        """A chunk without text of any candidate."""
        kind = "chat.completion.chunk"
        return {**self._common, "object": kind, "choices": [], name: value}

    def gather(self, index: int, text: str, reason: str | None) -> None:
        """Keep a piece for the whole reply."""
        self._texts.setdefault(index, []).append(text)
        if reason is not None:
            self._reasons[index] = reason

    def whole(self, counts: Counts) -> dict[str, Any]:
        """The whole reply, made of what was gathered."""
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": "".join(texts)},
                "logprobs": None,
                "finish_reason": self._reasons.get(index),
            }
            for index, texts in sorted(self._texts.items())
        ]
        return {
            **self._common,
            "object": "chat.completion",
            "choices": choices,
            "usage": usage(counts),
        }


def usage(counts: Counts) -> dict[str, Any]:
    """The usage field."""
    return {
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "total_tokens": counts.prompt_tokens + counts.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": counts.cached_tokens},
    }
