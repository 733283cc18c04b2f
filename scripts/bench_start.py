"""How long the engine takes from its start to ready, and to the first token of what it is asked.

    python scripts/bench_start.py [--model qwen2.5-coder-1.5b] [--rounds 5]

Side by side, each round: with what an earlier start has prepared, without it, and a Python that
imports torch and the classes of transformers that a model is usually loaded with.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from oci_lsp import paths
from oci_lsp.engine import catalogue, devices, lifecycle
from oci_lsp.engine.client import Delta, Request
from oci_lsp.engine.process.cpu import PREPARED
from oci_lsp.settings import EngineSettings

IMPORTS = "import torch, bitsandbytes; from transformers import AutoTokenizer, Qwen2ForCausalLM"
NOTES = "\n".join(f"# note {number}: the list is sorted by its second item" for number in range(20))


async def start(settings: EngineSettings) -> list[float]:
    """Seconds to ready, and to the first token of two prompts that have nothing in common."""
    began = time.perf_counter()
    client = await lifecycle.connect(settings)
    figures = [time.perf_counter() - began]
    for number in range(2):
        began = time.perf_counter()
        question = f"Prompt {number}.\n{NOTES}\nWrite a Python function that adds two numbers."
        async for event in client.stream(Request([{"role": "user", "content": question}])):
            if isinstance(event, Delta):
                break
        figures.append(time.perf_counter() - began)
    await client.aclose()
    await lifecycle.stop()
    return figures


def without_what_is_prepared(folder: Path) -> Path:
    """A copy (by links) of a folder of NF4 weights as it is before its first use; made anew."""
    copy = Path(os.environ["OCI_LSP_CACHE_DIR"]) / "nf4" / folder.name
    copy.mkdir(parents=True, exist_ok=True)
    for file in copy.iterdir():
        file.unlink()
    for file in folder.iterdir():
        if file.name not in PREPARED:
            (copy / file.name).symlink_to(file)
    return copy


async def main() -> None:
    """Start, ask, end, round by round; print medians and the worst."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="qwen2.5-coder-1.5b")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    settings = EngineSettings(model=options.model, device="cpu")
    folder = catalogue.resolve(options.model, devices.detect(settings)).nf4_dir
    kept = paths.cache_dir()
    rows: dict[str, list[list[float]]] = {"prepared": [], "not prepared": []}
    bare = []
    with tempfile.TemporaryDirectory(prefix="oci-") as name:
        os.environ["OCI_LSP_RUNTIME_DIR"] = name
        await start(settings)
        for _ in range(options.rounds):
            rows["prepared"].append(await start(settings))
            os.environ["OCI_LSP_CACHE_DIR"] = str(Path(name) / "cache")
            without_what_is_prepared(folder)
            rows["not prepared"].append(await start(settings))
            os.environ["OCI_LSP_CACHE_DIR"] = str(kept)
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", IMPORTS], check=True, capture_output=True)
            bare.append(time.perf_counter() - began)
    print("| seconds, median (worst) | ready | first prompt's first token | second's |")
    print("|---|---|---|---|")
    for row, rounds in rows.items():
        cells = (f"{statistics.median(of):.2f} ({max(of):.2f})" for of in zip(*rounds, strict=True))
        print(f"| {row} | {' | '.join(cells)} |")
    print(f"| importing torch, transformers, bitsandbytes | {statistics.median(bare):.2f} | | |")


if __name__ == "__main__":
    asyncio.run(main())
