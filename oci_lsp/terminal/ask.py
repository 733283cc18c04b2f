"""Questions to the user in a terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable


def asker(
    *, yes: bool, before: Callable[[], None] | None = None, after: Callable[[], None] | None = None
) -> Callable[[str], Awaitable[bool]]:
    """A consent function: `yes` answers everything, without a terminal the answer is no.

    `before` and `after` are called around a question, to take a live display away.
    """

    async def ask(question: str) -> bool:
        if yes:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        if before:
            before()
        try:
            sys.stderr.write(f"{question} [y/N] ")
            sys.stderr.flush()
            answer = await _line()
        finally:
            if after:
                after()
        return answer.strip().lower() in ("y", "yes")

    return ask


async def _line() -> str:
    """A line from the terminal; cancelled at once by Ctrl-C, which a thread would not be."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sys.stdin, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()
