"""What a user waits for: the server's start, code actions, a verdict, the model's first token.

    python scripts/bench_latency.py [--model qwen2.5-coder-0.5b] [--rounds 30]

Every figure comes beside what it must beat, from the same run: a verdict beside `python -m pytest`,
our engine beside transformers' plain `generate` with the same NF4 weights.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

from oci_lsp.engine import lifecycle
from oci_lsp.engine.client import Delta, EngineClient, Request, Usage
from oci_lsp.settings import EngineSettings, VerifySettings
from oci_lsp.verify.pool import Verifier
from oci_lsp.verify.verdict import Candidate, Run

CODE = "def add(a, b):\n    return a + b\n"
TEST = "from calc import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n"
QUESTION = (
    "Write a Python function `merge_intervals(intervals)` that merges overlapping intervals given "
    "as (start, end) tuples, and returns them sorted. Explain each step in comments, then write "
    "ten tests for it.\n"
    + "\n".join(f"Example {n}: intervals ({n}, {n + 3}) and ({n + 2}, {n + 5})" for n in range(8))
)
TOKENS = 128


def prompt(number: int) -> list[dict[str, str]]:
    """A prompt that differs from the others at its beginning: no prefix cache helps."""
    return [
        {"role": "system", "content": f"Task {number}. You are an expert Python programmer."},
        {"role": "user", "content": QUESTION},
    ]


def spread(seconds: Sequence[float]) -> str:
    """Median and 95th percentile, in milliseconds."""
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    return f"p50 {statistics.median(ordered) * 1000:7.1f} ms   p95 {p95 * 1000:7.1f} ms"


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
            initialization_options=options,
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


async def bench_initialize(root: Path, rounds: int) -> None:
    """Process start to the reply of `initialize`, beside a Python that imports pygls alone."""
    ours, bare = [], []
    for _ in range(rounds):
        client, seconds = await start_server(root, {})
        ours.append(seconds)
        await stop_server(client)
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import pygls.lsp.server"], check=True)
        bare.append(time.perf_counter() - started)
    print(f"initialize reply                {spread(ours)}   (aim: 300 ms)")
    print(f"  python importing pygls alone  {spread(bare)}")


def big_file(lines: int = 10_000) -> str:
    """A module of many functions."""
    one = "def f{n}(a, b):\n    '''Adds.'''\n    total = a + b\n    return total\n\n\n"
    return "".join(one.format(n=n) for n in range(lines // 6 + 1))


async def code_actions(client: LanguageClient, uri: str, lines: int, rounds: int) -> list[float]:
    """Seconds of single code action requests, each after an edit of one character."""
    seconds = []
    for number in range(rounds):
        line = (number * 977) % (lines - 10)
        here = lsp.Position(line, 0)
        client.text_document_did_change(
            lsp.DidChangeTextDocumentParams(
                lsp.VersionedTextDocumentIdentifier(version=number + 2, uri=uri),
                [
                    lsp.TextDocumentContentChangePartial(
                        range=lsp.Range(lsp.Position(0, 0), lsp.Position(0, 0)), text="#"
                    )
                ],
            )
        )
        started = time.perf_counter()
        await client.text_document_code_action_async(
            lsp.CodeActionParams(
                lsp.TextDocumentIdentifier(uri), lsp.Range(here, here), lsp.CodeActionContext([])
            )
        )
        seconds.append(time.perf_counter() - started)
    return seconds


async def bench_code_actions(root: Path, model: str, rounds: int) -> None:
    """Code actions on a 10,000-line file, idle and while the real model generates."""
    (root / "calc.py").write_text(CODE.replace("+", "-"))
    # A test that no candidate passes keeps the model busy for the whole measurement.
    (root / "test_calc.py").write_text(TEST.replace("== 5", "== object()"))
    client, _ = await start_server(root, {"engine": {"model": model}, "refine": {"turns": 8}})
    big, calc = (root / "big.py").as_uri(), (root / "calc.py").as_uri()
    text = big_file()
    for uri, content in ((big, text), (calc, (root / "calc.py").read_text())):
        item = lsp.TextDocumentItem(uri, "python", 1, content)
        client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))
    idle = await code_actions(client, big, text.count("\n"), rounds)
    print(f"code action, idle               {spread(idle)}   (aim: 50 ms)")
    await client.workspace_execute_command_async(
        lsp.ExecuteCommandParams(
            "oci_lsp.fixFunction",
            [{"uri": calc, "position": {"line": 0, "character": 5}}],
        )
    )
    await asyncio.sleep(4)
    busy = await code_actions(client, big, text.count("\n"), rounds)
    print(f"code action, model generating   {spread(busy)}")
    await stop_server(client)


async def bench_verdict(root: Path, rounds: int) -> None:
    """From a candidate to its verdict with a standby kernel, beside a cold `python -m pytest`."""
    path = root / "calc.py"
    path.write_text(CODE)
    (root / "test_calc.py").write_text(TEST)
    run = Run(
        files={path: CODE},
        node_ids=("test_calc.py::test_add",),
        candidate=Candidate(path, "add", "add", (0, 1)),
    )
    ours, cold = [], []
    async with Verifier(root, VerifySettings()) as verifier:
        for _ in range(rounds):
            await verifier.prepare()
            started = time.perf_counter()
            report = await verifier.run(run)
            ours.append(time.perf_counter() - started)
            assert report.verdict == "passed", report
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_calc.py"],
                cwd=root,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            cold.append(time.perf_counter() - started)
    ratio = statistics.median(ours) / statistics.median(cold)
    print(f"candidate to verdict, standby   {spread(ours)}   (aim: under twice pytest)")
    print(f"  python -m pytest, cold        {spread(cold)}   ratio {ratio:.2f}")


async def one_reply(client: EngineClient, number: int) -> tuple[float, float, int]:
    """Seconds to the first token, seconds from there to the end, and completion tokens."""
    started = time.perf_counter()
    first, tokens = 0.0, 0
    async for event in client.stream(Request(prompt(number), max_tokens=TOKENS, temperature=0.0)):
        if isinstance(event, Delta) and event.text and not first:
            first = time.perf_counter()
        if isinstance(event, Usage):
            tokens = event.completion_tokens
    return first - started, time.perf_counter() - first, tokens


async def bench_engine(model: str, rounds: int) -> None:
    """The warm engine, beside plain `generate` in a process of its own with the same weights."""
    async with await lifecycle.connect(EngineSettings(model=model)) as client:
        await one_reply(client, 0)
        replies = [await one_reply(client, number) for number in range(1, rounds + 1)]
    await lifecycle.stop()
    firsts, rest, counts = zip(*replies, strict=True)
    speed = [(n - 1) / s for s, n in zip(rest, counts, strict=True)]
    print(f"first token, warm               {spread(firsts)}")
    print(f"tokens/s, our engine            {statistics.median(speed):6.1f}  ({counts[0]} tokens)")
    done = subprocess.run(
        [sys.executable, __file__, "--plain", "--model", model, "--rounds", str(rounds)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    plain = json.loads(done.stdout.splitlines()[-1])
    whole = statistics.median(a + b for a, b, _ in replies)
    print(f"tokens/s, plain generate        {plain['speed']:6.1f}  ({plain['tokens']} tokens)")
    print(
        f"seconds a reply                 ours {whole:.2f}, plain generate {plain['seconds']:.2f}, "
        f"ratio {plain['seconds'] / whole:.2f} (over 1: ours is faster)"
    )


def plain_generate(model: str, rounds: int) -> None:
    """transformers' own `generate` on the same prompt and weights; one JSON line."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from oci_lsp.engine.catalogue import resolve
    from oci_lsp.engine.devices import detect

    folder = resolve(model, detect()).nf4_dir
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    network: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    seconds, decode, tokens = [], [], 0
    with torch.inference_mode():
        for number in range(rounds + 1):
            inputs = tokenizer.apply_chat_template(
                prompt(number), add_generation_prompt=True, return_tensors="pt", return_dict=True
            ).to(network.device)
            length = inputs["input_ids"].shape[1]
            started = time.perf_counter()
            network.generate(**inputs, max_new_tokens=1, do_sample=False)
            first = time.perf_counter() - started
            started = time.perf_counter()
            out = network.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)
            whole = time.perf_counter() - started
            tokens = out.shape[1] - length
            if number:  # the first one packs the weights
                seconds.append(whole)
                decode.append((tokens - 1) / (whole - first))
    result = {
        "seconds": statistics.median(seconds),
        "speed": statistics.median(decode),
        "tokens": tokens,
    }
    print(json.dumps(result))


async def main(options: argparse.Namespace) -> None:
    """All parts, one after the other."""
    print(f"{options.rounds} rounds, model {options.model}, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory(prefix="oci-bench-") as name:
        root = Path(name).resolve()
        (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
        await bench_initialize(root, options.rounds)
        await bench_verdict(root, options.rounds)
        await bench_code_actions(root, options.model, options.rounds)
    await bench_engine(options.model, min(options.rounds, 5))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="qwen2.5-coder-0.5b")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.plain:
        plain_generate(chosen.model, chosen.rounds)
    else:
        asyncio.run(main(chosen))
