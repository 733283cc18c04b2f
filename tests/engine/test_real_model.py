"""The real 0.5B model in NF4, fetched once into the user's cache."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time

import pytest

from oci_lsp.engine import catalogue, lifecycle
from oci_lsp.engine.client import Delta, Request, Usage
from oci_lsp.settings import EngineSettings

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]

BUGGY = """Fix this function. Reply with the corrected function in one Python code block.

```python
def largest(numbers):
    best = 0
    for number in numbers:
        if number < best:
            best = number
    return best
```

`assert largest([3, 9, 4]) == 9` fails: it returns 0.
"""


@pytest.fixture
async def engine(monkeypatch):
    """A client of an engine of the test alone; models come from, and go to, the user's cache."""
    folder = tempfile.mkdtemp(prefix="oci-")
    monkeypatch.setenv("OCI_LSP_RUNTIME_DIR", folder)

    async def yes(_question):
        return True

    wanted = EngineSettings(model="qwen2.5-coder-0.5b", device="cpu", idle_minutes=2)
    async with await lifecycle.connect(wanted, consent=yes) as client:
        yield client
    await lifecycle.stop()
    shutil.rmtree(folder)


async def collect(client, **options):
    texts: dict[int, str] = {}
    reasons: dict[int, str | None] = {}
    usage = None
    request = Request([{"role": "user", "content": BUGGY}], **options)
    async for event in client.stream(request):
        if isinstance(event, Delta):
            texts[event.index] = texts.get(event.index, "") + event.text
            reasons[event.index] = event.finish_reason or reasons.get(event.index)
        else:
            usage = event
    assert isinstance(usage, Usage)
    return texts, reasons, usage


async def test_it_writes_python_and_stops_after_the_block(engine):
    entry = catalogue.find("qwen2.5-coder-0.5b")
    assert entry is not None
    assert catalogue.has_nf4(entry.ref)
    start = time.monotonic()
    texts, reasons, usage = await collect(
        engine, n=3, greedy_first=True, temperature=0.7, top_p=0.95, seed=0, max_tokens=300
    )
    print(f"{usage} in {time.monotonic() - start:.1f} s")
    assert set(texts) == {0, 1, 2}
    assert "def largest(numbers):" in texts[0]
    for index, text in texts.items():
        if reasons[index] == "stop" and "```" in text:
            assert text.endswith("```")
    # The same conversation again: its prompt is not read a second time, its greedy text the same.
    alone, _, usage = await collect(engine, max_tokens=40)
    assert usage.cached_tokens == usage.prompt_tokens - 1
    assert texts[0].startswith(alone[0][:20])

    # A client that goes away frees the engine.
    request = Request(
        [{"role": "user", "content": "Count to a thousand."}],
        max_tokens=4000,
        stop_after_code=False,
    )
    async with contextlib.aclosing(engine.stream(request)) as events:
        async for _ in events:
            break
    end = time.monotonic() + 10
    while (await engine.health()).queue:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
