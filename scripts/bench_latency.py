"""What a user waits for: the server's start, code actions, a verdict, the model's first token.

    python scripts/bench_latency.py [--model qwen2.5-coder-0.5b] [--rounds 30] [--only load]

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
from pathlib import Path
from typing import Any

from latency.serving import bench_growth, bench_load, spread, start_server, stop_server

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

    folder = resolve(model, detect(EngineSettings())).nf4_dir
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
        if options.only in ("", "start"):
            await bench_initialize(root, options.rounds)
        if options.only in ("", "verdict"):
            await bench_verdict(root, options.rounds)
        if options.only in ("", "load"):
            await bench_load(root, options.model, options.url, options.rounds)
        if options.only in ("", "memory"):
            await bench_growth(root)
    if options.only in ("", "engine"):
        await bench_engine(options.model, min(options.rounds, 5))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="qwen2.5-coder-0.5b")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--url", default="", help="an engine that runs already, instead of ours")
    parts = ("start", "verdict", "load", "memory", "engine")
    parser.add_argument("--only", default="", choices=parts, help="one part of it")
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.plain:
        plain_generate(chosen.model, chosen.rounds)
    else:
        asyncio.run(main(chosen))
