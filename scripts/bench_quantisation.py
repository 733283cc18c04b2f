"""What quantising costs in quality: divergence from the unquantised weights, form by form.

    python scripts/bench_quantisation.py --data humanevalpack-python.jsonl.gz --gguf FILE.gguf

The reference is the GGUF file's own weights in bf16. Both read the product's repair prompts and,
as a reply, the function to repair; at each of the reply's tokens the distributions are compared:
the mean Kullback-Leibler divergence in nats, how often the likeliest token is the same, and the
mean rise of the token's own surprise. Forms differ in the 4-bit type, the second quantisation of
the scales, the block, and what is done with the output layer.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import torch
from bench_engine import machine
from engine_bench.prompts import add_options, chosen
from engine_bench.ways import prompt_ids
from torch import nn

from oci_lsp.engine.process import fourbit, gguf_source, head

# What is put in the place of a linear layer of the model.
Form = Callable[[nn.Linear], nn.Module]


def stored(kind: str, *, double: bool, block: int = 64) -> Form:
    """A layer whose weights went through 4 bits and back."""

    def form(layer: nn.Linear) -> nn.Module:
        packed, state = bnb.functional.quantize_4bit(
            layer.weight.data, blocksize=block, compress_statistics=double, quant_type=kind
        )
        dense = nn.Linear(1, 1, bias=False)
        weight = bnb.functional.dequantize_4bit(packed, state)
        dense.weight = nn.Parameter(weight.to(torch.bfloat16), requires_grad=False)
        dense.bias = layer.bias
        return dense

    return form


FORMS: dict[str, tuple[Form | None, str]] = {
    "bf16, output layer NF4": (None, "nf4"),
    "bf16, output layer with a shortlist": (None, "shortlist"),
    "NF4": (stored("nf4", double=False), "exact"),
    "NF4, scales quantised too (ours)": (stored("nf4", double=True), "exact"),
    "NF4, scales quantised too, shortlist (ours on a CPU)": (
        stored("nf4", double=True),
        "shortlist",
    ),
    "NF4, scales quantised too, output layer NF4": (stored("nf4", double=True), "nf4"),
    "NF4, blocks of 128": (stored("nf4", double=True, block=128), "exact"),
    "FP4": (stored("fp4", double=True), "exact"),
}


def layers(model: Any) -> dict[str, nn.Linear]:
    """The linear layers that are quantised, by name: all but the output layer."""
    output = model.get_output_embeddings()
    return {
        name: layer
        for name, layer in model.named_modules()
        if type(layer) is nn.Linear and layer is not output
    }


def hidden(model: Any, tokens: list[int], reply: int) -> torch.Tensor:
    """What goes into the output layer at the reply's tokens (reply, features)."""
    output = model.get_decoder()(input_ids=torch.tensor([tokens]), use_cache=False)
    states: torch.Tensor = output.last_hidden_state[0, -reply - 1 : -1]
    return states


def logits(
    model: Any, rough: fourbit.PackedWeights, states: torch.Tensor, way: str
) -> torch.Tensor:
    """Logits in float32, by the exact output layer, its NF4 form, or both."""
    weight = model.get_output_embeddings().weight
    if way == "exact":
        return nn.functional.linear(states, weight).float()
    if way == "nf4":
        return rough.product(states)[:, : weight.shape[0]].float()
    found: torch.Tensor = head.ShortlistHead(weight, rough, many=1 << 30)(states)
    return found


def main() -> None:
    """Compare form by form; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--gguf", type=Path, required=True)
    options = parser.parse_args()
    prompts = chosen(options)
    model, tokenizer = gguf_source.load(options.gguf)
    model.eval().requires_grad_(requires_grad=False)
    texts = []
    for request in prompts:
        said = tokenizer(f"```python\n{request['prediction']}```", add_special_tokens=False)
        texts.append(
            (prompt_ids(tokenizer, request["messages"]) + said["input_ids"], len(said["input_ids"]))
        )
    originals = layers(model)
    rough = head.quantised_output(model.get_output_embeddings().weight.detach())
    with torch.inference_mode():
        references = [
            nn.functional.linear(hidden(model, *text), model.get_output_embeddings().weight)
            for text in texts
        ]
        places = sum(reply for _, reply in texts)
        print(f"{machine()}; {options.gguf.name}, {len(texts)} texts, {places} places\n")
        print("| form | divergence, nats | same likeliest token | rise of surprise, nats |")
        print("|---|---|---|---|")
        for name, (form, output) in FORMS.items():
            for path, layer in originals.items():
                model.set_submodule(path, form(layer) if form else layer)
            divergence = same = rise = 0.0
            for text, reference in zip(texts, references, strict=True):
                tokens, reply = text
                wanted = reference.float().log_softmax(-1)
                got = logits(model, rough, hidden(model, *text), output).log_softmax(-1)
                said = torch.tensor(tokens[-reply:])[:, None]
                divergence += float((wanted.exp() * (wanted - got)).sum())
                same += float((wanted.argmax(-1) == got.argmax(-1)).sum())
                rise += float((wanted.gather(-1, said) - got.gather(-1, said)).sum())
            print(
                f"| {name} | {divergence / places:.4f} | {same / places:.4f} "
                f"| {rise / places:+.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
