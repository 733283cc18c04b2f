"""Some hundred mixed requests to a real engine process, many of them broken off.

    python scripts/soak_engine.py --model qwen2.5-coder-0.5b --requests 300

Several clients at once ask for one or several candidates of short and long prompts, some go on
with an earlier conversation, some disconnect while they wait or in mid-reply, some are cut by their
limit. At the end nothing may be lost, the queue must be empty, and the engine's memory flat: its
resident size is printed along the way, and the last quarter is held against the third. What is kept
of conversations grows to its bound first: `--max-memory` sets a low one, so that half suffices.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import random
import statistics
import time

import psutil

from oci_lsp.engine import lifecycle
from oci_lsp.engine.client import Delta, EngineClient, Request, Usage
from oci_lsp.settings import EngineSettings

OLD = """def total(items):
    result = 0
    for item in items:
        result -= item
    return result
"""
CLIENTS = 4
# Growth that is more than the allocator's noise.
FLAT = 1.05


def request(chance: random.Random) -> Request:
    """A request of some kind: new or going on, short or long, one candidate or several."""
    padding = "\n".join(f"# note {chance.random()}" for _ in range(chance.choice((0, 5, 60))))
    messages = [
        {"role": "system", "content": "You are an expert Python programmer."},
        {"role": "user", "content": f"{padding}\nFix this:\n```python\n{OLD}```"},
    ]
    if chance.random() < 0.4:
        messages += [
            {"role": "assistant", "content": f"```python\n{OLD}```"},
            {"role": "user", "content": "That is not right yet. Try another way."},
        ]
    return Request(
        messages,
        n=chance.choice((1, 1, 2, 4)),
        temperature=chance.choice((0.0, 0.7)),
        seed=chance.randrange(1000),
        max_tokens=chance.choice((5, 30, 80)),
        prediction=chance.choice((None, OLD)),
    )


async def one(client: EngineClient, chance: random.Random) -> str:
    """One request; how it ended. A reply that should have come whole must be whole."""
    wanted = request(chance)
    leaves_after = chance.choice((None, None, None, 0.05, 0.5, 1.5))
    ended: set[int] = set()
    usage: Usage | None = None

    async def read() -> None:
        nonlocal usage
        async with contextlib.aclosing(client.stream(wanted)) as events:
            async for event in events:
                if isinstance(event, Delta) and event.finish_reason:
                    ended.add(event.index)
                elif isinstance(event, Usage):
                    usage = event

    try:
        await asyncio.wait_for(read(), leaves_after)
    except TimeoutError:
        return "left"
    assert ended == set(range(wanted.n)), (ended, wanted)
    assert usage is not None
    assert usage.completion_tokens <= wanted.n * wanted.max_tokens
    return "whole"


async def main() -> None:
    """Ask, count, look at the memory; an assertion fails where something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="qwen2.5-coder-0.5b")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--max-memory", type=float, default=2.5, help="GB, for engine.maxMemory")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    settings = EngineSettings(
        model=options.model, device=options.device, max_memory=options.max_memory
    )
    client = await lifecycle.connect(settings)
    process = psutil.Process((await client.health()).pid)
    outcomes: collections.Counter[str] = collections.Counter()
    sizes: list[int] = []
    left = iter(range(options.requests))
    started = time.monotonic()

    async def work(number: int) -> None:
        chance = random.Random(options.seed * 100 + number)
        for done in left:
            outcomes[await one(client, chance)] += 1
            sizes.append(process.memory_info().rss)
            if done % 25 == 0:
                print(
                    f"{done:4} requests, {time.monotonic() - started:5.0f} s, "
                    f"{sizes[-1] / 1e6:.0f} MB resident, {dict(outcomes)}",
                    flush=True,
                )

    await asyncio.gather(*(work(number) for number in range(CLIENTS)))
    for _ in range(100):
        if not (await client.health()).queue:
            break
        await asyncio.sleep(0.1)
    health = await client.health()
    assert health.queue == 0, health
    assert sum(outcomes.values()) == options.requests
    quarter = len(sizes) // 4
    third, last = sizes[2 * quarter : 3 * quarter], sizes[3 * quarter :]
    before, after = statistics.median(third), statistics.median(last)
    print(
        f"{options.model} on {health.device}: {dict(outcomes)}, queue empty, "
        f"{before / 1e6:.0f} MB in the third quarter, {after / 1e6:.0f} MB in the last"
    )
    await client.aclose()
    assert after <= FLAT * before, "the engine's memory grows"


if __name__ == "__main__":
    asyncio.run(main())
