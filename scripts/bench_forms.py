"""Verified repairs by the form of the weights: what 4 bits cost the user, not only the logits.

    python scripts/bench_forms.py --data humanevalpack-python.jsonl.gz --gguf FILE.gguf --limit 60

One greedy reply to the product's own first prompt of each repair, tested by the product's own loop
and kernels; the forms as in `bench_quantisation.py`, the GGUF file's weights in bf16 beside them.
Results are kept per task in `--out`, where a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import torch
from bench_engine import machine
from bench_quantisation import FORMS, layers
from bench_repair import task_of, tasks
from engine_bench.prompts import add_options, chosen
from engine_bench.ways import prompt_ids

from oci_lsp.engine.client import Delta, Request
from oci_lsp.engine.process import attention, gguf_source, model
from oci_lsp.engine.process.decode import Decoder
from oci_lsp.engine.process.generation import Counts, Generation, Sampling
from oci_lsp.refine.loop import refine
from oci_lsp.settings import Settings
from oci_lsp.verify.pool import Verifier

CHOSEN = ("bf16", "NF4", "NF4, scales quantised too (ours)", "NF4, blocks of 128", "FP4")
MOST_TOKENS = 384


class Replay:
    """An engine that has one reply."""

    model = "replay"

    def __init__(self, reply: str) -> None:
        self._reply = reply

    async def stream(self, request: Request) -> AsyncGenerator[Delta]:
        """Say it."""
        yield Delta(0, self._reply, "stop")


async def repaired(record: dict[str, Any], reply: str) -> bool:
    """Whether the reply passes the task's test, as the product judges."""
    replay = Replay(reply)

    async def connect() -> Replay:
        return replay

    settings = Settings()
    once = dataclasses.replace(settings.refine, turns=1, candidates=1)
    settings = dataclasses.replace(settings, refine=once)
    with tempfile.TemporaryDirectory(prefix="oci-bench-") as name:
        folder = Path(name).resolve()
        task = task_of(record, folder, docstrings=False)
        async with Verifier(folder, settings.verify) as verifier:
            return (await refine(task, connect, verifier, settings)).outcome == "passed"


def said(decoder: Decoder, request: dict[str, Any]) -> str:
    """The greedy reply."""
    tokenizer = decoder.tokenizer
    generation = Generation(
        prompt=prompt_ids(tokenizer, request["messages"]),
        rows=[Sampling()],
        max_tokens=MOST_TOKENS,
        after_code=True,
        prediction=tokenizer(request["prediction"], add_special_tokens=False)["input_ids"],
    )
    return "".join(piece.text for piece in decoder.generate(generation, lambda: False, Counts()))


def main() -> None:
    """Repair task by task, form by form; print how many of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--forms", default=";".join(CHOSEN), help="names, with ; between them")
    options = parser.parse_args()
    prompts = chosen(options)
    records = {record["task_id"]: record for record in tasks(options.data, None)}
    store = options.out / "forms.jsonl"
    rows = [json.loads(line) for line in store.read_text().splitlines()] if store.exists() else []
    done = {(row["form"], row["task"]) for row in rows}
    llm, tokenizer = gguf_source.load(options.gguf)
    llm.eval().requires_grad_(requires_grad=False)
    attention.install(llm)
    originals = layers(llm)
    forms = {"bf16": (None, "exact"), **FORMS}
    for name in options.forms.split(";"):
        for path, layer in originals.items():
            form = forms[name][0]
            llm.set_submodule(path, form(layer) if form else layer)
        decoder = Decoder(
            llm,
            tokenizer,
            stop_tokens=model.stop_tokens(llm, tokenizer),
            context=llm.config.max_position_embeddings,
        )
        decoder.warm_up()
        for request in prompts:
            if (name, request["task"]) in done:
                continue
            reply = said(decoder, request)
            passed = asyncio.run(repaired(records[request["task"]], reply))
            rows.append({"form": name, "task": request["task"], "passed": passed, "reply": reply})
            with store.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    print(f"{machine()}; {options.gguf.name}, torch {torch.__version__}, one greedy reply a task")
    for name in options.forms.split(";"):
        mine = [row for row in rows if row["form"] == name]
        print(f"{name}: {sum(row['passed'] for row in mine)} of {len(mine)} repaired")


if __name__ == "__main__":
    main()
