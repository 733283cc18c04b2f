"""What bench_latency.py measures at the server's process: answers under load, and its memory."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

JOBS = 4
LINES = 10_000
ROUNDS = 1_000
# Each is a job of its own; no candidate passes, and a job that ends is started again.
CODE = "def add{n}(a, b):\n    return a - b\n\n\n"
TEST = "def test_add{n}():\n    from calc import add{n}\n    assert add{n}(2, 3) == object()\n\n\n"


def spread(seconds: Sequence[float]) -> str:
    """Median and 95th percentile, in milliseconds."""
    return f"p50 {statistics.median(seconds) * 1000:7.1f} ms   p95 {p95(seconds) * 1000:7.1f} ms"


def p95(seconds: Sequence[float]) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]


async def start_server(root: Path, options: dict[str, Any]) -> tuple[LanguageClient, float]:
    """A client of a fresh server process, and the seconds from start to `initialize`'s reply."""
    client = LanguageClient("bench", "1")
    client.feature(lsp.WINDOW_WORK_DONE_PROGRESS_CREATE)(lambda params: None)
    client.feature(lsp.WORKSPACE_CONFIGURATION)(lambda params: [None] * len(params.items))
    client.feature(lsp.WORKSPACE_APPLY_EDIT)(lambda params: lsp.ApplyWorkspaceEditResult(False))
    for quiet in (lsp.WINDOW_SHOW_MESSAGE, lsp.WINDOW_LOG_MESSAGE, lsp.PROGRESS):
        client.feature(quiet)(lambda params: None)
    client.feature("oci_lsp/jobFinished")(lambda params: None)
    started = time.perf_counter()
    await client.start_io(sys.executable, "-m", "oci_lsp")
    await client.initialize_async(
        lsp.InitializeParams(
            capabilities=lsp.ClientCapabilities(),
            root_uri=root.as_uri(),
            initialization_options={"trusted": True, **options},
        )
    )
    seconds = time.perf_counter() - started
    client.initialized(lsp.InitializedParams())
    return client, seconds


async def stop_server(client: LanguageClient) -> None:
    """Leave the server politely."""
    await client.shutdown_async(None)
    client.exit(None)
    await client.stop()  # type: ignore[no-untyped-call]


def memory(client: LanguageClient) -> tuple[float, float]:
    """Resident and proportional (shared pages divided) memory of the server alone, in MiB."""
    assert client._server
    full = psutil.Process(client._server.pid).memory_full_info()
    return full.rss / 2**20, full.pss / 2**20


def big_file(lines: int = LINES) -> str:
    """A module of many functions."""
    one = "def f{n}(a, b):\n    '''Adds.'''\n    total = a + b\n    return total\n\n\n"
    return "".join(one.format(n=n) for n in range(lines // 6 + 1))


def open_file(client: LanguageClient, uri: str, text: str) -> None:
    item = lsp.TextDocumentItem(uri, "python", 1, text)
    client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))


async def code_action(client: LanguageClient, uri: str, line: int, version: int) -> float:
    """Seconds of a code action request right after an edit of one character."""
    here, top = lsp.Position(line, 0), lsp.Position(0, 0)
    change = lsp.TextDocumentContentChangePartial(lsp.Range(top, top), "#")
    identifier = lsp.VersionedTextDocumentIdentifier(version, uri)
    client.text_document_did_change(lsp.DidChangeTextDocumentParams(identifier, [change]))
    started = time.perf_counter()
    await client.text_document_code_action_async(
        lsp.CodeActionParams(
            lsp.TextDocumentIdentifier(uri), lsp.Range(here, here), lsp.CodeActionContext([])
        )
    )
    return time.perf_counter() - started


async def code_actions(client: LanguageClient, uri: str, rounds: int, first: int) -> list[float]:
    """Seconds of single requests all over the file, one every fifth of a second."""
    seconds = []
    for number in range(rounds):
        line = (number * 977) % (LINES - 10)
        seconds.append(await code_action(client, uri, line, first + number))
        await asyncio.sleep(0.2)
    return seconds


async def state(client: LanguageClient) -> list[dict[str, Any]]:
    """The jobs that the server has."""
    command = lsp.ExecuteCommandParams("oci_lsp.printDebugInformation")
    answer = await client.workspace_execute_command_async(command)
    assert answer is not None
    return list(answer["jobs"])


async def bench_load(root: Path, model: str, url: str, rounds: int) -> None:
    """Code actions on a 10,000-line file, idle and with four jobs, three of which run at a time."""
    (root / "calc.py").write_text("".join(CODE.format(n=n) for n in range(JOBS)))
    (root / "test_calc.py").write_text("".join(TEST.format(n=n) for n in range(JOBS)))
    options = {"engine": {"model": model, "url": url}, "refine": {"turns": 8}}
    client, _ = await start_server(root, options)
    big, calc = (root / "big.py").as_uri(), (root / "calc.py").as_uri()
    open_file(client, big, big_file())
    open_file(client, calc, (root / "calc.py").read_text())
    first, *idle = await code_actions(client, big, rounds + 1, 2)
    before = memory(client)
    print(f"code action, the very first     {first * 1000:.1f} ms, the file just opened")
    print(f"code action, idle               {spread(idle)}   (aim: 50 ms)")
    busy, stages, peak, started = [], set(), before, 0
    for number in range(rounds):
        jobs = await state(client)
        stages |= {job["stage"].rpartition(": ")[2] for job in jobs}
        for name in {f"add{n}" for n in range(JOBS)} - {job["target"] for job in jobs}:
            argument = {"uri": calc, "qualifiedName": name}
            await client.workspace_execute_command_async(
                lsp.ExecuteCommandParams("oci_lsp.fixFunction", [argument])
            )
            started += 1
        busy += await code_actions(client, big, 3, 3 + rounds + 3 * number)
        peak = max(peak, memory(client))
    print(f"code action, {JOBS} jobs             {spread(busy)}   (aim: 50 ms)")
    print(f"  times as long as idle         {p95(busy) / p95(idle):.2f} (p95)")
    print(f"  {started} jobs, seen at            {', '.join(sorted(stages))}")
    print(f"server's memory, RSS (PSS)      {before[0]:.0f} ({before[1]:.0f}) MiB idle, ", end="")
    print(f"{peak[0]:.0f} ({peak[1]:.0f}) MiB at most with jobs   (aim: 120 MiB)")
    await stop_server(client)


async def bench_growth(root: Path) -> None:
    """The server's memory over rounds of open, change, ask, close."""
    client, _ = await start_server(root, {})
    uri = (root / "round.py").as_uri()
    text = big_file(600)
    seen: dict[int, float] = {}
    for number in range(1, ROUNDS + 1):
        open_file(client, uri, f"# {number}\n{text}")
        await code_action(client, uri, 300, 2)
        identifier = lsp.TextDocumentIdentifier(uri)
        client.text_document_did_close(lsp.DidCloseTextDocumentParams(identifier))
        if number in (1, 100, ROUNDS):
            seen[number] = memory(client)[0]
    rows = ", ".join(f"{rss:.1f} MiB after {number}" for number, rss in seen.items())
    print(f"open, change, ask, close: RSS   {rows}   (aim: no growth)")
    print(f"  after {ROUNDS} beside after 100   {seen[ROUNDS] / seen[100]:.3f}")
    await stop_server(client)
