"""Questions to the user in a terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

Prompt = Callable[[str], Awaitable[str]]
"""Shows a text and gives the line typed after it, stripped; "" at the end of input."""


def prompter(
    *, before: Callable[[], None] | None = None, after: Callable[[], None] | None = None
) -> Prompt | None:
    """Asks on the terminal; None where there is none.

    `before` and `after` are called around a question, to take a live display away.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    async def ask(text: str) -> str:
        if before:
            before()
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
            return (await _line()).strip()
        finally:
            if after:
                after()

    return ask


def asker(
    *, yes: bool, before: Callable[[], None] | None = None, after: Callable[[], None] | None = None
) -> Callable[[str], Awaitable[bool]]:
    """A consent function: `yes` answers everything, without a terminal the answer is no."""
    prompt = prompter(before=before, after=after)

    async def ask(question: str) -> bool:
        if yes or prompt is None:
            return yes
        return (await prompt(f"{question} [y/N] ")).lower() in ("y", "yes")

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
