"""Prepares a loaded NF4 model for the CPU at hand."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from bitsandbytes.nn import Linear4bit

from oci_lsp.engine.process import fourbit, head, lean

log = logging.getLogger(__name__)

# The rest of the memory is the user's.
_DENSE_SHARE = 0.25


@dataclass(frozen=True)
class Shortcuts:
    """What is computed in another way than transformers does; to be left out in measurements."""

    lean_layers: bool = True
    shortlist: bool = True


ALL = Shortcuts()


def prepare(model: Any, folder: Path, memory: int = 0, shortcuts: Shortcuts = ALL) -> None:
    """Let a model's products be computed in the quickest way that this CPU has.

    What takes long to make is kept in `folder`, if that exists. `memory`: bytes that all of it may
    take, 0: no limit.
    """
    spare = _spare_bytes()
    if memory:
        # Packing doubles the weights; the rest is for conversations.
        spare = min(spare, memory // 2 - 2 * model.get_memory_footprint())
    if fourbit.is_available():
        layers = lean.install(model) if shortcuts.lean_layers else 0
        others = fourbit.install(model)
        shortlist = shortcuts.shortlist and head.install(model, folder)
        products = [
            module for module in model.modules() if isinstance(module, fourbit.PackedLinear)
        ]
        many = fourbit.calibrate(products, spare) if products else 0
        log.info(
            "%d lean layers, %d other products, %s output layer; dense from %d rows",
            layers,
            others,
            "a shortlist" if shortlist else "the plain",
            many,
        )
        return
    # Dequantising for each token takes longer than reading dense weights.
    dtype = torch.bfloat16 if _multiplies_bf16() else torch.float32
    size = sum(module.in_features * module.out_features for module in _quantised(model))
    if size * dtype.itemsize <= spare:
        fourbit.make_dense(model, dtype)
        log.info("No AVX512-BF16: the weights are held dense, as %s", dtype)


def _spare_bytes() -> int:
    return int(psutil.virtual_memory().available * _DENSE_SHARE)


def _multiplies_bf16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _quantised(model: Any) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, Linear4bit)]
