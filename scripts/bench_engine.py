"""Seconds per function repair: our engine with each feature on and off, beside what else there is.

    python scripts/bench_engine.py --data humanevalpack-python.jsonl.gz \\
        --llama-python peers/bin/python --serve-python peers/bin/python --out results/

The prompts are the product's own, of the benchmark's first functions, with the failure that a
kernel has shown. All ways get the same prompts, the same token limit and threads, and end where
the reply's first code block closes. Each has a process of its own, they take turns prompt by
prompt, and those that keep a prompt's prefix keep it. llama.cpp (`--llama-python`: an interpreter
with llama-cpp-python, built for the machine) runs the Q4_K_M file that our weights were made from;
`transformers serve` (`--serve-python`: with transformers' `serving` extra) and plain `generate` run
our NF4 weights.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from engine_bench.prompts import add_options, chosen, second

from oci_lsp.engine import catalogue, lifecycle
from oci_lsp.engine.catalogue import wheel_files

WORKER = Path(__file__).parent / "engine_bench" / "worker.py"
# Those that keep a prompt's prefix for the next attempt.
KEEPING = ("ours", "ours, no speculation", "llama.cpp")
WAYS = ("ours", "ours, no speculation", "ours, plain decoding", "plain generate")


class Worker:
    """A way in its own process; `loaded` is the seconds that loading took."""

    def __init__(self, name: str, python: str, model: Path, threads: int) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [python, str(WORKER), name, str(model), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(threads),
                "HF_HUB_OFFLINE": "1",
                # As the engine's process has it.
                **(lifecycle.ENVIRONMENT if name.startswith("ours") else {}),
            },
        )
        self.loaded: float = self._answer()["loaded"]

    def ask(self, request: dict[str, Any], *, n: int, max_tokens: int) -> dict[str, Any]:
        """The answer to one request."""
        assert self._process.stdin is not None
        print(
            json.dumps({**request, "n": n, "max_tokens": max_tokens}),
            file=self._process.stdin,
            flush=True,
        )
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: the worker ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    @property
    def peak_bytes(self) -> int:
        """The most memory that it and what it started had resident."""
        children = psutil.Process(self._process.pid).children()
        return sum(
            int(line.split()[1]) * 1024
            for pid in [self._process.pid, *(child.pid for child in children)]
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )

    def close(self) -> None:
        """End it, and what it started: it ends when there are no more requests."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            for child in psutil.Process(self._process.pid).children(recursive=True):
                child.kill()
            self._process.kill()
            self._process.wait()


def table(rows: list[dict[str, Any]], workers: list[Worker]) -> str:
    """The ways, side by side; the ratio is to `ours`, seconds per reply."""
    titles = (
        "",
        "s/reply, mean",
        "median",
        "ratio",
        "ms/token, all in",
        "first token, s",
        "2nd attempt's",
        "prefilled",
        "tokens",
        "tokens/s",
        "accepted",
        "loaded, s",
        "peak GB",
    )
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    ours = _mean(rows, "ours", 1, "seconds")
    for worker in workers:
        name = worker.name
        seconds = [row["seconds"] for row in rows if (row["way"], row["attempt"]) == (name, 1)]
        tokens = _mean(rows, name, 1, "tokens")
        first = _mean(rows, name, 1, "first")
        drafted = _mean(rows, name, 1, "drafted")
        accepted = f"{_mean(rows, name, 1, 'accepted') / drafted:.0%}" if drafted else ""
        again = f"{_mean(rows, name, 2, 'first'):.2f}" if name in KEEPING else ""
        lines.append(
            f"| {name} | {statistics.mean(seconds):.2f} | {statistics.median(seconds):.2f} "
            f"| {statistics.mean(seconds) / ours:.2f} "
            f"| {1000 * statistics.mean(seconds) / tokens:.0f} | {first:.2f} "
            f"| {again} | {_mean(rows, name, 1, 'prefilled'):.0f} "
            f"| {tokens:.0f} | {(tokens - 1) / (statistics.mean(seconds) - first):.1f} "
            f"| {accepted} | {worker.loaded:.1f} | {worker.peak_bytes / 1e9:.1f} |"
        )
    return "\n".join(lines)


def _mean(rows: list[dict[str, Any]], way: str, attempt: int, key: str) -> float:
    found = [row.get(key, 0.0) for row in rows if row["way"] == way and row["attempt"] == attempt]
    return statistics.mean(found) if found else 0.0


def machine() -> str:
    """The machine, in words."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = psutil.virtual_memory().total / 2**30
    return f"{len(names)} x {names[0]}, {memory:.0f} GiB, Python {platform.python_version()}"


def main() -> None:
    """Ask every way every prompt, twice; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--model", default="qwen2.5-coder-1.5b")
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--ways", nargs="*", default=WAYS)
    parser.add_argument("--llama-python", help="an interpreter with llama-cpp-python")
    parser.add_argument("--serve-python", help="an interpreter with transformers[serving]")
    parser.add_argument("--candidates", type=int, default=4, help="`ours` is asked for them too")
    options = parser.parse_args()
    prompts = chosen(options)
    ref = catalogue.find(options.model)
    assert ref is not None, options.model
    folder = ref.ref.nf4_dir
    gguf = next(file.path() for file in wheel_files() if file.model == options.model)
    workers = [Worker(name, sys.executable, folder, options.threads) for name in options.ways]
    if options.serve_python:
        workers.append(Worker("transformers serve", options.serve_python, folder, options.threads))
    if options.llama_python:
        workers.append(Worker("llama.cpp", options.llama_python, gguf, options.threads))
    rows: list[dict[str, Any]] = []
    with (options.out / "rows.jsonl").open("w") as file:

        def note(row: dict[str, Any], answer: dict[str, Any]) -> None:
            rows.append({**row, **answer})
            file.write(json.dumps(rows[-1]) + "\n")
            file.flush()

        for number, request in enumerate(prompts):
            reply = ""
            for worker in workers:
                row = {"task": request["task"], "way": worker.name, "attempt": 1}
                answer = worker.ask(request, n=1, max_tokens=options.max_tokens)
                reply = reply or answer["text"]
                note(row, answer)
            for worker in workers:
                if worker.name not in KEEPING:
                    continue
                row = {"task": request["task"], "way": worker.name, "attempt": 2}
                # To the first token and a little more.
                note(row, worker.ask(second(request, reply), n=1, max_tokens=8))
            ours = next((worker for worker in workers if worker.name == "ours"), None)
            if ours is not None and options.candidates > 1 and number % 3 == 0:
                for n in (1, options.candidates):
                    row = {"task": request["task"], "way": f"ours, n = {n}", "attempt": 1}
                    note(row, ours.ask(request, n=n, max_tokens=options.max_tokens))
            print(
                request["task"],
                *(
                    f"{row['way']}: {row['seconds']:.2f}"
                    for row in rows[-3 * len(workers) :]
                    if row["task"] == request["task"] and row["attempt"] == 1
                ),
                flush=True,
            )
    print(f"\n{machine()}, {options.threads} threads, {options.model}\n")
    print(table(rows, workers))
    if options.candidates > 1 and "ours" in options.ways:
        one, several = (
            _mean(rows, f"ours, n = {n}", 1, "seconds") for n in (1, options.candidates)
        )
        print(
            f"\n{options.candidates} candidates, prompt read before: {several:.2f} s, "
            f"1 candidate: {one:.2f} s, ratio {several / one:.2f}"
        )
    for worker in workers:
        worker.close()


if __name__ == "__main__":
    main()
