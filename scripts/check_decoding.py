"""Whether what makes decoding quicker changes what is said, prompt by prompt.

    python scripts/check_decoding.py --data humanevalpack-python.jsonl.gz --model qwen2.5-coder-0.5b

In float32 (the NF4 weights dequantised) greedy text must be the same with drafts, with a prompt
that was read before, and beside other candidates, as without any of it. In bf16 (`--dtype
bfloat16`: the products, layers and output layer of the product) sums are rounded in another order;
each place where the text parts is printed with the two tokens and the gap of their logits.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from engine_bench.prompts import add_options, chosen
from engine_bench.ways import prompt_ids

from oci_lsp.engine import catalogue
from oci_lsp.engine.process import attention, cpu, layers
from oci_lsp.engine.process import model as models
from oci_lsp.engine.process.attention import Reading
from oci_lsp.engine.process.decode import Decoder
from oci_lsp.engine.process.generation import Counts, Generation, Sampling
from oci_lsp.engine.process.kv import Lanes


class Checked:
    """A model and two decoders of it: one that does nothing but decode, and the product's."""

    def __init__(self, folder: Path, dtype: torch.dtype, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        plain = cpu.Shortcuts(lean_layers=False, shortlist=False)
        self.loaded = self._load(folder, dtype, plain)
        quick = self._load(folder, dtype, cpu.ALL) if dtype == torch.bfloat16 else self.loaded
        self.plain = self._decoder(self.loaded, speculate=False, cache_bytes=0)
        self.quick = self._decoder(quick)
        self.plain.warm_up()
        self.quick.warm_up()

    def _load(self, folder: Path, dtype: torch.dtype, shortcuts: cpu.Shortcuts) -> models.Loaded:
        if dtype == torch.bfloat16:
            return models.load(
                folder, folder, "cpu", lambda _text, _done: None, shortcuts=shortcuts
            )
        model, tokenizer = models.from_folder(folder, "cpu", quantise=False)
        layers.make_dense(model, dtype)
        attention.install(model.eval())
        context = model.config.max_position_embeddings
        return models.Loaded(model, tokenizer, models.stop_tokens(model, tokenizer), context)

    def _decoder(self, loaded: models.Loaded, **options: Any) -> Decoder:
        return Decoder(
            loaded.model,
            loaded.tokenizer,
            stop_tokens=loaded.stop_tokens,
            context=loaded.context,
            measured=loaded.measured,
            **options,
        )

    def say(self, decoder: Decoder, request: dict[str, Any], others: int = 0) -> tuple[str, Counts]:
        """The greedy text, `others` sampled candidates beside it."""
        tokenizer = self.loaded.tokenizer
        generation = Generation(
            prompt=prompt_ids(tokenizer, request["messages"]),
            rows=[Sampling(), *(Sampling(0.7, 0.95, seed) for seed in range(others))],
            max_tokens=self._max_tokens,
            after_code=True,
            prediction=tokenizer(request["prediction"], add_special_tokens=False)["input_ids"],
        )
        counts, text = Counts(), []
        for piece in decoder.generate(generation, lambda: False, counts):
            if piece.index == 0:
                text.append(piece.text)
        return "".join(text), counts

    def gap(self, request: dict[str, Any], one: str, other: str) -> str:
        """Where two replies part: the tokens, and the difference of their logits, read plainly."""
        tokenizer = self.loaded.tokenizer
        ours, theirs = (
            tokenizer(text, add_special_tokens=False)["input_ids"] for text in (one, other)
        )
        ours, theirs = [*ours, -1], [*theirs, -1]
        pairs = zip(ours, theirs, strict=False)
        at = next(index for index, (a, b) in enumerate(pairs) if a != b)
        tokens = [*prompt_ids(tokenizer, request["messages"]), *ours[:at]]
        with torch.inference_mode():
            reading = Reading(Lanes(self.plain.layers), len(tokens), "cpu")
            logits = self.loaded.model(
                input_ids=torch.tensor([tokens]),
                position_ids=reading.positions,
                use_cache=False,
                logits_to_keep=1,
                reading=reading,
            ).logits[0, -1]
        best = logits.float().topk(2)
        said = [
            tokenizer.decode([token]) if token >= 0 else "the end"
            for token in (ours[at], theirs[at])
        ]
        difference = float(best.values[0] - best.values[1])
        return f"token {at}: {said[0]!r} or {said[1]!r}, top two differ by {difference:.3f}"


def main() -> None:
    """Check every prompt in every way; the exit status is 1 where float32 text differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--model", default="qwen2.5-coder-0.5b")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--max-tokens", type=int, default=256)
    options = parser.parse_args()
    prompts = chosen(options)
    entry = catalogue.find(options.model)
    assert entry is not None, options.model
    checked = Checked(entry.ref.nf4_dir, getattr(torch, options.dtype), options.max_tokens)
    ways = {"drafts": 0, "prompt read before": 0, "beside two candidates": 2}
    parted = dict.fromkeys(ways, 0)
    for request in prompts:
        expected, counts = checked.say(checked.plain, request)
        line = [f"{request['task']}: {counts.completion_tokens} tokens"]
        for way, others in ways.items():
            if way == "drafts":
                checked.quick.forget()
            text, counts = checked.say(checked.quick, request, others)
            line.append(f"{way} ({counts.accepted_tokens}/{counts.drafted_tokens} drafted)")
            if text != expected:
                parted[way] += 1
                line.append(f"PARTS at {checked.gap(request, expected, text)}")
        print("; ".join(line), flush=True)
    print(f"{options.model}, {options.dtype}, {len(prompts)} prompts; parted:", parted)
    raise SystemExit(options.dtype == "float32" and any(parted.values()))


if __name__ == "__main__":
    main()
