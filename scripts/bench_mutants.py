"""Mutants of real projects: does the product refuse them, and does it find a test that can tell?

    python scripts/bench_mutants.py --out results/ [--projects toolz] [--count 22] [--seed 3]

For each project (pinned source packages, fetched once into the user's cache) one run of its own
test suite under coverage tells which tests enter which function. From all covered functions and
all their mutations a fixed seed draws. What is drawn stays: mutants that no test kills too.

Of each mutant: (1) plain pytest says which covering tests it turns red; (2) the product's verdict
with such tests named, on the mutant and on the original; (3) the tests that the product's discovery
finds by itself, run by the product on both. Every step's rows are kept in `--out`, where a run that
was cut off goes on; `--table` writes the Markdown table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mutants import table, truth
from mutants.operators import Mutation, mutations
from mutants.projects import PROJECTS, Checkout, check_out

from oci_lsp.settings import VerifySettings
from oci_lsp.source.functions import Function, Module, parse
from oci_lsp.source.tests import Selection, find_tests
from oci_lsp.verify.pool import Verifier
from oci_lsp.verify.verdict import Candidate, Report, Run, Snippet

# Seconds of one product run; where the original needs longer, it has this many times more.
_TIMEOUT = 20.0
_LONGER = 6.0
# Killing tests named to the product.
_NAMED = 5


class Store:
    """Rows by key in a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows: dict[str, dict[str, Any]] = {row["key"]: row for row in map(json.loads, lines)}

    def add(self, row: dict[str, Any]) -> None:
        self.rows[row["key"]] = row
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def covered(checkout: Checkout, scratch: truth.Scratch, out: Path) -> list[truth.Covered]:
    """The covered functions; from the folder of partial results where they are known."""
    name = f"covered-{checkout.project.name}-{checkout.project.version}.json"
    if not (out / name).exists():
        found = scratch.covered()
        (out / name).write_text(json.dumps(truth.as_json(found)))
    return truth.from_json(json.loads((out / name).read_text()))


def draw(
    root: Path, pool: Sequence[truth.Covered], seed: str, count: int
) -> list[tuple[truth.Covered, Mutation]]:
    """`count` functions of the pool that have anything to mutate, and a mutation of each.

    Of a function's mutations the operator is drawn first, so that a rare one has its chance.
    """
    rng = random.Random(seed)
    shuffled = sorted(pool, key=lambda c: (c.path, c.line, c.qualname))
    rng.shuffle(shuffled)
    drawn: list[tuple[truth.Covered, Mutation]] = []
    for function in shuffled:
        if len(drawn) == count:
            break
        text = (root / function.path).read_text("utf-8")
        node = next(
            n
            for name, n in truth.functions(text)
            if (name, truth.first_line(n)) == (function.qualname, function.line)
        )
        found = mutations(text, node)
        if found:
            operator = rng.choice(sorted({m.operator for m in found}))
            drawn.append((function, rng.choice([m for m in found if m.operator == operator])))
    return drawn


def judge_by_pytest(
    scratch: truth.Scratch, function: truth.Covered, mutation: Mutation
) -> dict[str, Any]:
    """The ground truth of one mutant."""
    started = time.monotonic()
    text = (scratch.root / function.path).read_text("utf-8")
    outcomes = scratch.run(function.path, mutation.applied(text), function.tests)
    before, after = mutation.shown(text)
    killers = [test for test in outcomes.red if test in function.tests]
    return {
        "path": function.path,
        "qualname": function.qualname,
        "line": function.line,
        "operator": mutation.operator,
        "at": mutation.line,
        "before": before,
        "after": after,
        "covering": len(function.tests),
        "killers": list(function.tests) if outcomes.broken else killers,
        "hung": outcomes.hung,
        "seconds": time.monotonic() - started,
    }


def target_in(module: Module, line: int, qualname: str) -> Function:
    """The product's view of the function that starts in `line` (from 1)."""
    return next(f for f in module.functions if f.lines[0] == line - 1 and f.qualname == qualname)


async def run_selection(
    verifier: Verifier,
    path: Path,
    text: str,
    target: Function,
    selection: Selection,
    timeout: float,
) -> Report:
    """One product run, as a job's baseline is."""
    return await verifier.run(
        Run(
            files={path: text},
            node_ids=selection.node_ids,
            snippets=tuple(Snippet(s.kind, s.text, s.line) for s in selection.snippets),
            snippet_path=path,
            candidate=Candidate(path, target.name, target.qualname, target.lines),
            timeout=timeout,
        )
    )


async def run_both(
    verifier: Verifier,
    path: Path,
    texts: tuple[str, str],
    targets: tuple[Function, Function],
    selection: Selection,
) -> tuple[Report, Report]:
    """The selection on the original and on the mutant.

    An original that times out says that the tests are slow here, not that they are red: a user
    would raise `verify.timeout`.
    """
    timeout = _TIMEOUT
    green = await run_selection(verifier, path, texts[0], targets[0], selection, timeout)
    if green.verdict == "timed_out":
        timeout *= _LONGER
        green = await run_selection(verifier, path, texts[0], targets[0], selection, timeout)
    return green, await run_selection(verifier, path, texts[1], targets[1], selection, timeout)


async def judge_by_product(
    verifier: Verifier, row: dict[str, Any], mutation: Mutation
) -> dict[str, Any]:
    """Verdicts with killing tests named, then what discovery finds and its verdicts."""
    path = verifier.root / row["path"]
    original = path.read_text("utf-8")
    module = parse(mutation.applied(original))
    now = target_in(module, row["line"], row["qualname"])
    targets = target_in(parse(original), row["line"], row["qualname"]), now
    texts = original, module.text
    judged: dict[str, Any] = {}
    if row["killers"]:
        named = Selection(tuple(row["killers"][:_NAMED]), (), "request")
        green, red = await run_both(verifier, path, texts, targets, named)
        judged |= {"mutant": red.verdict, "original": green.verdict}
        judged |= {"mutant_summary": red.summary, "original_summary": green.summary}
    started = time.monotonic()
    found = find_tests(verifier.root, path, module, now)
    judged["find_seconds"] = time.monotonic() - started
    judged |= {"node_ids": list(found.node_ids), "snippets": len(found.snippets)}
    judged["origin"] = found.origin
    if not found.empty:
        green, red = await run_both(verifier, path, texts, targets, found)
        judged |= {"found_mutant": red.verdict, "found_original": green.verdict}
        judged["killed_by"] = killed_by(red, green)
        judged["run_seconds"] = green.seconds
        judged["original_failures"] = [
            f"{t.id}: {t.outcome}" for t in green.tests if t.outcome != "passed"
        ]
    return judged


def killed_by(mutant: Report, original: Report) -> list[str]:
    """Tests that pass on the original and not on the mutant: only these can tell the two apart."""
    green = [test.id for test in original.tests if test.outcome == "passed"]
    passed = {test.id for test in mutant.tests if test.outcome == "passed"}
    if mutant.verdict in ("passed", "vacuous"):
        return []
    return [test for test in green if test not in passed]


async def one_project(checkout: Checkout, options: argparse.Namespace) -> None:
    """Draw from a project and judge what is drawn, as far as it is not known yet."""
    truths, judged = Store(options.out / "truth.jsonl"), Store(options.out / "product.jsonl")
    name = checkout.project.name
    with truth.scratch_folder() as folder:
        scratch = truth.Scratch(checkout, Path(folder))
        pool = covered(checkout, scratch, options.out)
        seed = f"{options.seed}:{name}:{checkout.project.version}"
        drawn = draw(checkout.root, pool, seed, options.count)
        print(f"{name}: {len(drawn)} of {len(pool)} covered functions drawn", flush=True)
        keys = [f"{seed}:{m.start}:{m.end}:{m.replacement}" for _, m in drawn]
        for key, (function, mutation) in zip(keys, drawn, strict=True):
            if key not in truths.rows:
                head = {"key": key, "project": name, "seed": options.seed}
                row = judge_by_pytest(scratch, function, mutation)
                truths.add(head | row)
                said = f"killed by {len(row['killers'])} of {row['covering']}"
                print(f"  {row['qualname']:40} {said} ({row['seconds']:.1f} s)", flush=True)
    if options.truth_only:
        return
    settings = VerifySettings(
        interpreter=str(checkout.python), timeout=_TIMEOUT, standby=1, isolation="ask"
    )
    async with Verifier(checkout.root, settings) as verifier:
        for key, (_, mutation) in zip(keys, drawn, strict=True):
            if key in judged.rows:
                continue
            await verifier.prepare()
            row = await judge_by_product(verifier, truths.rows[key], mutation)
            judged.add({"key": key, **row})
            verdicts = " ".join(
                str(row.get(k, "-"))
                for k in ("mutant", "original", "found_mutant", "found_original")
            )
            tests = f"{len(row['node_ids'])} tests, {row['snippets']} snippets"
            print(f"  {truths.rows[key]['qualname']:40} {verdicts}; {tests}", flush=True)


async def main() -> None:
    """Work through the projects, then print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of partial results")
    parser.add_argument("--projects", default=",".join(p.name for p in PROJECTS))
    parser.add_argument("--count", type=int, default=22, help="mutants per project")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--truth-only", action="store_true", help="plain pytest alone")
    parser.add_argument("--table", type=Path, help="write the Markdown table there")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = [p for p in PROJECTS if p.name in options.projects.split(",")]
    for project in chosen:
        await one_project(check_out(project), options)
    if options.truth_only:
        return
    truths = Store(options.out / "truth.jsonl").rows.values()
    judged = Store(options.out / "product.jsonl").rows
    names = [p.name for p in chosen]
    rows = [
        row | judged[row["key"]]
        for row in truths
        if row["seed"] == options.seed and row["key"] in judged and row["project"] in names
    ]
    print(table.figures(rows))
    if options.table:
        options.table.write_text(table.document(rows, chosen, options.seed, options.count))


if __name__ == "__main__":
    asyncio.run(main())
