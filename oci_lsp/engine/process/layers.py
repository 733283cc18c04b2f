"""bitsandbytes' NF4 layers: made of dense ones, replaced by what is quicker on this CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bitsandbytes as bnb
import torch
from bitsandbytes.functional import dequantize_blockwise
from torch import nn

from oci_lsp.engine.process.fourbit import BLOCK, LANES, PackedLinear, Plain


def quantised(
    weight: torch.Tensor, bias: torch.Tensor | None = None, device: str | None = None
) -> Any:
    """A dense weight (out, in) as bitsandbytes' NF4 layer on a device, by default the weight's."""
    outputs, inputs = weight.shape
    with torch.device("meta"):
        layer = bnb.nn.Linear4bit(
            inputs,
            outputs,
            bias=bias is not None,
            compute_dtype=torch.bfloat16,
            compress_statistics=True,
            quant_type="nf4",
        )
    layer.weight = bnb.nn.Params4bit(
        weight,
        requires_grad=False,
        compress_statistics=True,
        quant_type="nf4",
        module=layer,
    ).to(device or weight.device)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


def plain(layer: Any) -> Plain:
    """A layer's weights and scales as they were saved; before its first use."""
    state = layer.weight.quant_state
    scales = state.absmax
    if state.nested:
        scales = dequantize_blockwise(scales, state.state2) + state.offset
    return Plain(
        layer.weight.data.view(torch.uint8).view(layer.out_features, -1),
        scales.float().view(layer.out_features, -1).contiguous(),
    )


def packed(layers: Sequence[Any]) -> PackedLinear:
    """The product of one or several layers over the same input, before their first use."""
    biases = [layer.bias for layer in layers]
    bias = (
        None
        if biases[0] is None
        else torch.cat([bias.detach().to(torch.bfloat16) for bias in biases])
    )
    return PackedLinear([plain(layer) for layer in layers], bias)


def suits(layer: nn.Module) -> bool:
    """Whether a layer can become (part of) a `PackedLinear`."""
    if not isinstance(layer, bnb.nn.Linear4bit):
        return False
    state = layer.weight.quant_state
    return (
        layer.weight.device.type == "cpu"
        and state is not None
        and state.quant_type == "nf4"
        and state.blocksize == BLOCK
        and layer.out_features % LANES == 0
        and layer.in_features % BLOCK == 0
    )


def install(model: nn.Module) -> int:
    """Replace each NF4 layer of a model by a product of its own; how many."""
    found = [(name, layer) for name, layer in model.named_modules() if suits(layer)]
    for name, layer in found:
        model.set_submodule(name, packed([layer]))
    return len(found)


def weights(model: nn.Module) -> int:
    """How many weights a model's NF4 layers have."""
    return sum(
        layer.in_features * layer.out_features
        for layer in model.modules()
        if isinstance(layer, bnb.nn.Linear4bit)
    )


def make_dense(model: nn.Module, dtype: torch.dtype) -> None:
    """Replace the NF4 layers of a model by dense ones; they and all other weights of that type."""
    for name, layer in list(model.named_modules()):
        if not isinstance(layer, bnb.nn.Linear4bit):
            continue
        with torch.device("meta"):
            dense = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        weight = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        dense.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
        if layer.bias is not None:
            dense.bias = nn.Parameter(layer.bias.detach().to(dtype), requires_grad=False)
        model.set_submodule(name, dense)
    # Weights alone: the frequencies of rotary embeddings are a buffer, and want float32.
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
