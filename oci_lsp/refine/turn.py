"""One turn of the model: a batch of candidates, handed on as each of them ends."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from oci_lsp.engine.client import Delta, Queued, Request, Usage
from oci_lsp.refine.task import Engine, Token


@dataclass(frozen=True)
class Reply:
    """One complete reply; `seconds` since the request, `index` 0-based within the turn.

    `completion_tokens` counts the pieces streamed for this candidate (one per token in every server
    we know); `prompt_tokens` is None where the server had not told yet.
    """

    index: int
    text: str
    finish_reason: str
    seconds: float
    prompt_tokens: int | None
    completion_tokens: int


async def replies(
    engine: Engine,
    request: Request,
    observe: Callable[[Token], None],
    queued: Callable[[int], None] = lambda ahead: None,
) -> AsyncGenerator[Reply]:
    """The candidates of one request in the order in which they end.

    `queued` is told how many requests the engine serves before this one, 0 when its turn comes.

    The stream is read on while a candidate is being tested, so that the model never waits for
    the kernel. Closing this iterator closes the stream, and that stops the model.

    Raises:
        EngineError: the engine failed; replies that had ended before were handed on.
    """
    queue: asyncio.Queue[Reply | BaseException | None] = asyncio.Queue()
    started = time.monotonic()

    async def pump() -> None:
        texts: dict[int, list[str]] = defaultdict(list)
        prompt_tokens: int | None = None
        try:
            async with aclosing(engine.stream(request)) as events:
                async for event in events:
                    if isinstance(event, Queued):
                        queued(event.ahead)
                        continue
                    if isinstance(event, Usage):
                        prompt_tokens = event.prompt_tokens
                        continue
                    if event.text:
                        texts[event.index].append(event.text)
                    ends = event.finish_reason is not None
                    if event.text or ends:
                        observe(Token(event.index, event.text, last=ends))
                    if ends:
                        queue.put_nowait(_reply(event, texts, started, prompt_tokens))
            queue.put_nowait(None)
        except Exception as error:  # noqa: BLE001 - raised again where the replies are awaited
            queue.put_nowait(error)

    task = asyncio.create_task(pump(), name="oci-lsp replies")
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _reply(
    event: Delta, texts: dict[int, list[str]], started: float, prompt_tokens: int | None
) -> Reply:
    pieces = texts[event.index]
    return Reply(
        index=event.index,
        text="".join(pieces),
        finish_reason=event.finish_reason or "",
        seconds=time.monotonic() - started,
        prompt_tokens=prompt_tokens,
        completion_tokens=len(pieces),
    )
