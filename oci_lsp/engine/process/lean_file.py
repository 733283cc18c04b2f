"""A lean model as a file beside its NF4 weights, which is mapped into memory at the next start.

Reading a model through transformers and laying its weights out takes several seconds each time,
and importing what builds it as long again.
"""

from __future__ import annotations

import dataclasses
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from oci_lsp.engine.process.fourbit import PackedLinear, PackedWeights, Plain
from oci_lsp.engine.process.keeping import keep, weights_id
from oci_lsp.engine.process.lean import LayerShape, LeanLayer, LeanModel, ModelShape, Products

log = logging.getLogger(__name__)

FILE = "lean.pt"
"""Beside a model's weights: the rest of it."""
# Raised whenever what older versions wrote must not be read any more.
_FORMAT = 1
# The matrices of each product, as transformers names them.
_NAMES = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)
_UNREADABLE = (
    *(OSError, EOFError, LookupError, TypeError, ValueError, AttributeError, RuntimeError),
    pickle.UnpicklingError,
)


def save(model: LeanModel, folder: Path) -> None:
    """Keep what a folder of NF4 weights does not hold: layout, scales, shapes, small weights.

    Must come before the first dense product. A failure is no error: the next start takes longer.
    """
    if not (folder / "model.safetensors").is_file():
        return
    content = {
        "format": _FORMAT,
        "of": weights_id(folder),
        "shape": dataclasses.asdict(model.shape),
        "norm": model.norm,
        "frequencies": model.frequencies,
        "layers": [
            {"norms": layer.norms, "products": [_tensors(product) for product in layer.products]}
            for layer in model.lean_layers
        ],
    }
    keep(folder / FILE, lambda file: torch.save(content, file))


def load(folder: Path) -> LeanModel | None:
    """The model of a folder, if it was kept; the weights are mapped, not read."""
    if not (folder / FILE).is_file():
        return None
    from transformers import AutoConfig, GenerationConfig

    try:
        content = torch.load(folder / FILE, mmap=True, weights_only=True)
        if content["format"] != _FORMAT or content["of"] != weights_id(folder):
            return None
        with safe_open(folder / "model.safetensors", framework="pt") as saved:
            model = _model(content, saved.get_tensor, set(saved.keys()))
        model.config = AutoConfig.from_pretrained(folder, local_files_only=True)
        if (folder / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(folder)
    except (*_UNREADABLE, SafetensorError) as error:
        log.info("%s cannot be read, it is made anew: %s", folder / FILE, error)
        return None
    return model


def _tensors(product: PackedLinear) -> dict[str, Any]:
    return {
        "weights": product.packed.weights,
        "scales": product.packed.scales,
        "bias": product.bias,
        "parts": [part.scales for part in product.parts],
    }


def _model(content: Any, tensor: Callable[[str], torch.Tensor], names: set[str]) -> LeanModel:
    shape = content["shape"]
    shapes = tuple(LayerShape(**layer) for layer in shape.pop("layers"))
    layers = [
        LeanLayer(index, layer_shape, tuple(kept["norms"]), _products(index, kept, tensor))
        for index, (layer_shape, kept) in enumerate(zip(shapes, content["layers"], strict=True))
    ]
    embedded = tensor("model.embed_tokens.weight")
    with torch.device("meta"):
        head = nn.Linear(embedded.shape[1], embedded.shape[0], bias=False)
    own = "lm_head.weight"
    head.weight = nn.Parameter(tensor(own) if own in names else embedded, requires_grad=False)
    return LeanModel(
        ModelShape(shapes, **shape),
        layers,
        embedded=embedded,
        norm=content["norm"],
        frequencies=content["frequencies"],
        head=head,
    )


def _products(index: int, kept: Any, tensor: Callable[[str], torch.Tensor]) -> Products:
    made = []
    for names, own in zip(_NAMES, kept["products"], strict=True):
        parts = []
        for name, scales in zip(names, own["parts"], strict=True):
            weights = tensor(f"model.layers.{index}.{name}.weight")
            parts.append(Plain(weights.view(torch.uint8).view(scales.shape[0], -1), scales))
        packed = PackedWeights(own["weights"], own["scales"])
        made.append(PackedLinear(parts, own["bias"], packed))
    return Products(*made)
