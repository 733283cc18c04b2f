"""Whether the client works with servers that others wrote.

    python scripts/check_servers.py URL MODEL [URL MODEL ...]

Start them first, for example `transformers serve FOLDER --device cpu --port 8001` and
`python -m llama_cpp.server --model FILE.gguf --port 8002`. For each: its models, a streamed reply,
a batch of candidates with the greedy one first, a stop, a disconnect in mid-reply, and a model that
it does not have.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import defaultdict

from oci_lsp.engine.client import Delta, EngineClient, Request, Usage
from oci_lsp.errors import EngineError

PROMPT = [
    {
        "role": "user",
        "content": "Write a Python function `add(a, b)` in one code block, nothing else.",
    }
]


async def collect(client: EngineClient, request: Request) -> tuple[dict[int, str], Usage | None]:
    """The candidates' texts by index, and the usage if it came."""
    texts: dict[int, str] = defaultdict(str)
    usage = None
    async for event in client.stream(request):
        if isinstance(event, Delta):
            texts[event.index] += event.text
        elif isinstance(event, Usage):
            usage = event
    return dict(texts), usage


async def check(url: str, model: str) -> None:
    """All of it against one server; an assertion fails where it does not work."""
    print(f"{url} ({model})")
    async with EngineClient(url, model=model) as client:
        try:
            print("  models:", ", ".join(await client.models()))
        except EngineError as error:
            # It matters for engine.model = auto alone.
            print(f"  models: {error.message}")
        started = time.monotonic()
        texts, usage = await collect(client, Request(PROMPT, max_tokens=80))
        assert "def add" in texts[0], texts
        print(f"  one greedy reply: {time.monotonic() - started:.1f} s, {usage}")
        several = Request(
            PROMPT, n=3, greedy_first=True, temperature=0.8, top_p=0.95, seed=1, max_tokens=60
        )
        texts, usage = await collect(client, several)
        assert sorted(texts) == [0, 1, 2], texts
        assert all(texts.values()), texts
        print(f"  three candidates, {len(set(texts.values()))} different ones: {usage}")
        texts, _ = await collect(client, Request(PROMPT, max_tokens=80, stop=["return"]))
        before, stop, after = texts[0].partition("return")
        assert before, texts
        assert not after, texts
        print(f"  a stop text ends the reply{', and is part of it' if stop else ''}")
        endless = Request([{"role": "user", "content": "Count to 3000."}], max_tokens=3000)
        async with contextlib.aclosing(client.stream(endless)) as events:
            async for _ in events:
                break
        started = time.monotonic()
        await collect(client, Request(PROMPT, max_tokens=5))
        print(f"  after a disconnect it answers again within {time.monotonic() - started:.1f} s")
    async with EngineClient(url, model="no-such-model") as client:
        try:
            await collect(client, Request(PROMPT, max_tokens=5))
        except EngineError as error:
            print(f"  another model's name: {error.message[:160]}")
        else:
            print("  another model's name: the server takes any")


async def main() -> None:
    """Check each server that the command line names."""
    pairs = sys.argv[1:]
    if not pairs or len(pairs) % 2:
        raise SystemExit(__doc__)
    for url, model in zip(pairs[::2], pairs[1::2], strict=True):
        await check(url, model)


if __name__ == "__main__":
    asyncio.run(main())
