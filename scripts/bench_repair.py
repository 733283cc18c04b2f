"""Verified repairs on HumanEvalFix by the product's own loop: how many, and how fast.

    python scripts/bench_repair.py --data humanevalpack-python.jsonl.gz --limit 60 --out results/

Ways side by side, task by task: `greedy-turns` (one greedy candidate a turn, the failure fed back;
its first turn is the one greedy candidate, `greedy`) and `batch` (the product's batch of candidates
a turn).
A task is a buggy function without its docstring and the benchmark's test as a pytest file (the
benchmark's HumanEvalFixTests form; `--docstrings` keeps them). The benchmark's solution and bug
type never enter a prompt. Results are kept per task in `--out`, where a run that was cut off
goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import dataclasses
import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oci_lsp.refine.session import Session
from oci_lsp.refine.task import Event, Result, Task
from oci_lsp.settings import Settings, from_command_line
from oci_lsp.source.functions import parse


def tasks(path: Path, limit: int | None) -> Iterator[dict[str, Any]]:
    """The benchmark's records, in order."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    for line in text.splitlines()[:limit]:
        yield json.loads(line)


def write_project(record: dict[str, Any], folder: Path, *, docstrings: bool) -> Path:
    """A project of one buggy module and its test; gives the module's path."""
    head = record["prompt"] if docstrings else record["declaration"].rstrip() + "\n"
    module = folder / "solution.py"
    module.write_text(head + record["buggy_solution"].rstrip() + "\n")
    name = record["entry_point"]
    body = record["test"].strip()
    call = f"check({name})"
    body = body.removesuffix(call).rstrip()
    (folder / "test_solution.py").write_text(
        f"from solution import {name}\n\n\n{body}\n\n\ndef test_solution():\n    {call}\n"
    )
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    return module


def ways(base: Settings, turns: int, candidates: int) -> dict[str, Settings]:
    """The settings of each way."""

    def with_refine(**changes: Any) -> Settings:
        return dataclasses.replace(base, refine=dataclasses.replace(base.refine, **changes))

    return {
        "greedy-turns": with_refine(candidates=1, turns=turns),
        "batch": with_refine(candidates=candidates, turns=turns),
    }


def task_of(record: dict[str, Any], folder: Path, *, docstrings: bool) -> Task:
    """The job on a record, in a project that is written into a folder."""
    module = write_project(record, folder, docstrings=docstrings)
    parsed = parse(module.read_text())
    target = parsed.named(record["entry_point"])
    assert target is not None, record["task_id"]
    return Task(
        root=folder,
        path=module,
        module=parsed,
        target=target,
        kind="fix",
        tests=("test_solution.py::test_solution",),
    )


async def repair(record: dict[str, Any], settings: Settings, *, docstrings: bool) -> Result:
    """One job on one task."""

    def ignore(event: Event) -> None:
        pass

    with tempfile.TemporaryDirectory(prefix="oci-bench-") as name:
        folder = Path(name).resolve()
        task = task_of(record, folder, docstrings=docstrings)
        async with Session(folder, settings) as session:
            return await session.run(task, ignore, session.new_job_id())


def one_greedy(rows: list[dict[str, Any]]) -> str:
    """How many tasks the first candidate of `greedy-turns` repaired."""
    mine = [row for row in rows if row["way"] == "greedy-turns"]
    solved = sum(row["outcome"] == "passed" and row["attempts"][-1]["turn"] == 1 for row in mine)
    return f"{'greedy':13} repaired {solved:3}/{len(mine):<3} (the first turn of greedy-turns)"


def report(rows: list[dict[str, Any]], way: str) -> str:
    """One line of the table."""
    mine = [row for row in rows if row["way"] == way]
    solved = [row for row in mine if row["outcome"] == "passed"]
    by_attempt = collections.Counter(len(row["attempts"]) for row in solved)
    by_turn = collections.Counter(row["attempts"][-1]["turn"] for row in solved)
    seconds = [row["seconds"] for row in mine]
    minutes = sum(seconds) / 60
    other = collections.Counter(row["outcome"] for row in mine if row["outcome"] != "passed")
    return (
        f"{way:13} repaired {len(solved):3}/{len(mine):<3} seconds/task mean "
        f"{statistics.mean(seconds):5.1f} median {statistics.median(seconds):5.1f} "
        f"repairs/minute {len(solved) / minutes:4.1f}  by attempt "
        f"{dict(sorted(by_attempt.items()))} by turn {dict(sorted(by_turn.items()))}  "
        f"else {dict(other)}"
    )


async def main() -> None:
    """Run what is not in `--out` yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="humanevalpack-python.jsonl[.gz]")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--model", default="qwen2.5-coder-1.5b")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--ways", default="greedy-turns,batch")
    parser.add_argument("--docstrings", action="store_true")
    parser.add_argument("--out", type=Path, help="folder of partial results")
    parser.add_argument("--set", action="append", default=[], dest="assignments")
    options = parser.parse_args()
    base = from_command_line(
        Settings(), [f"engine.model={options.model}", "history.enabled=false", *options.assignments]
    )
    chosen = {
        name: settings
        for name, settings in ways(base, options.turns, options.candidates).items()
        if name in options.ways.split(",")
    }
    store = options.out / "repairs.jsonl" if options.out else None
    rows: list[dict[str, Any]] = []
    if store:
        store.parent.mkdir(parents=True, exist_ok=True)
        if store.exists():
            rows = [json.loads(line) for line in store.read_text().splitlines()]
    done = {(row["task"], row["way"]) for row in rows}
    for record in tasks(options.data, options.limit):
        for way, settings in chosen.items():
            if (record["task_id"], way) in done:
                continue
            started = time.monotonic()
            result = await repair(record, settings, docstrings=options.docstrings)
            row = {"task": record["task_id"], "way": way, **result.as_json()}
            rows.append(row)
            if store:
                with store.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            print(
                f"{record['task_id']:11} {way:13} {result.outcome:8} "
                f"{len(result.attempts)} attempts {time.monotonic() - started:6.1f} s",
                flush=True,
            )
    if "greedy-turns" in chosen:
        print(one_greedy(rows))
    for way in chosen:
        print(report(rows, way))


if __name__ == "__main__":
    asyncio.run(main())
