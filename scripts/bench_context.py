"""What context is worth: repairs whose fix needs something of another module, four ways.

    python scripts/bench_context.py --out FOLDER [--ways none,module,project,inferred] [--only NAME]

The tasks are the folders of scripts/context_tasks, each a small project with one wrong function
(tasks.toml). Ways: `none`, no code around the function; `module`, what its own module tells;
`project`, definitions of other modules that imports lead to; `inferred`, those that jedi finds
too, which is what a job does. Results are kept in FOLDER, and a later call goes on from there.
`--show` prints the contexts and runs no model.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import statistics
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oci_lsp.engine import lifecycle
from oci_lsp.engine.client import EngineClient, Request, Usage
from oci_lsp.refine.loop import refine
from oci_lsp.refine.surroundings import Surroundings
from oci_lsp.refine.task import Baseline, Event, Result, Stage, Task
from oci_lsp.settings import Settings, from_command_line
from oci_lsp.source.functions import parse
from oci_lsp.source.tests import find_tests
from oci_lsp.verify.pool import Verifier

FOLDER = Path(__file__).parent / "context_tasks"
WAYS: dict[str, dict[str, Any]] = {
    "none": {"tokens": 0},
    "module": {"across": False},
    "project": {"infer": False},
    "inferred": {},
}


@contextlib.contextmanager
def project(name: str, table: dict[str, str]) -> Iterator[Task]:
    """A copy of a task's project, and the job on its function."""
    with tempfile.TemporaryDirectory(prefix="oci-context-") as folder:
        root = Path(folder).resolve() / name
        shutil.copytree(FOLDER / name, root)
        file, _, qualname = table["function"].partition("::")
        module = parse((root / file).read_text())
        target = module.named(qualname)
        assert target is not None, name
        tests = tuple(sorted(path.name for path in root.glob("test_*.py")))
        yield Task(root, root / file, module, target, "fix", tests=tests)


def surroundings(task: Task, way: str, settings: Settings) -> Surroundings:
    """The context as that way gathers it."""
    options: dict[str, Any] = {"tokens": settings.refine.context_tokens, **WAYS[way]}
    return Surroundings(task, **options)


async def run(task: Task, way: str, settings: Settings) -> dict[str, Any]:
    """One job, and what its prompt cost."""
    times: dict[str, float] = {}
    started = time.monotonic()

    def observe(event: Event) -> None:
        if isinstance(event, Baseline):
            times["baseline"] = time.monotonic() - started
        if isinstance(event, Stage) and event.name == "engine":
            times.setdefault("prompt", time.monotonic() - started)

    async with contextlib.AsyncExitStack() as stack:

        async def connect() -> EngineClient:
            client = await lifecycle.connect(settings.engine)
            return await stack.enter_async_context(client)

        verifier = Verifier(task.root, settings.verify)
        stack.push_async_callback(verifier.close)
        around = surroundings(task, way, settings)
        result = await refine(task, connect, verifier, settings, observe, surroundings=around)
        tokens = await prompt_tokens(await connect(), result)
    return {
        "outcome": result.outcome,
        "message": result.message,
        "attempts": len(result.attempts),
        "prompt_tokens": tokens,
        "baseline": round(times.get("baseline", 0.0), 3),
        "prompt": round(times.get("prompt", 0.0), 3),
        "seconds": round(result.seconds, 2),
        "diff": result.diff,
    }


async def prompt_tokens(client: EngineClient, result: Result) -> int:
    """Tokens of the first prompt, counted by the engine."""
    messages = [{"role": m.role, "content": m.content} for m in result.messages[:2]]
    async with contextlib.aclosing(client.stream(Request(messages=messages, max_tokens=1))) as all_:
        async for event in all_:
            if isinstance(event, Usage) and event.prompt_tokens:
                return event.prompt_tokens
    return 0


async def context_of(task: Task, way: str, settings: Settings) -> str:
    """The context alone, inference waited for."""
    selection = find_tests(task.root, task.path, task.module, task.target, requested=task.tests)
    around = surroundings(task, way, settings)
    around.start(selection)
    await asyncio.sleep(3)
    await around.ready()
    return around.context(selection).text


def line(way: str, rows: list[dict[str, Any]]) -> str:
    """One line of the table."""
    solved = sum(row["outcome"] == "passed" for row in rows)
    waits = [row["prompt"] - row["baseline"] for row in rows]
    return (
        f"{way:9} repaired {solved:2}/{len(rows):<2} "
        f"prompt tokens mean {statistics.mean(row['prompt_tokens'] for row in rows):5.0f} "
        f"seconds: baseline {statistics.median(row['baseline'] for row in rows):.2f}, "
        f"from there to the prompt {statistics.median(waits):.2f} (worst {max(waits):.2f}), "
        f"job {statistics.mean(row['seconds'] for row in rows):.1f}"
    )


async def main() -> None:
    """Run what is not in `--out` yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("bench-context"))
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--only", default="")
    parser.add_argument("--model", default="qwen2.5-coder-1.5b")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--set", action="append", default=[], dest="assignments")
    options = parser.parse_args()
    settings = from_command_line(
        Settings(),
        [f"engine.model={options.model}", "refine.turns=1", *options.assignments],
    )
    tables = tomllib.loads((FOLDER / "tasks.toml").read_text())
    ways = options.ways.split(",")
    store = options.out / "context.jsonl"
    rows: list[dict[str, Any]] = []
    if store.exists():
        rows = [json.loads(text) for text in store.read_text().splitlines()]
    done = {(row["task"], row["way"]) for row in rows}
    for name, table in tables.items():
        for way in ways:
            if options.only not in ("", name) or (name, way) in done:
                continue
            with project(name, table) as task:
                if options.show:
                    print(f"===== {name} {way}\n{await context_of(task, way, settings)}\n")
                    continue
                row = {"task": name, "way": way, **await run(task, way, settings)}
            rows.append(row)
            options.out.mkdir(parents=True, exist_ok=True)
            with store.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{name:9} {way:9} {row['outcome']:8} {row['seconds']:6.1f} s", flush=True)
    for way in ways:
        if mine := [row for row in rows if row["way"] == way]:
            print(line(way, mine))


if __name__ == "__main__":
    asyncio.run(main())
