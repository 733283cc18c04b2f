"""Prepares a loaded NF4 model for the CPU at hand."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from oci_lsp.engine.process import fourbit, head, lean, lean_file, measured
from oci_lsp.engine.process.measured import Measured

log = logging.getLogger(__name__)

PREPARED = (lean_file.FILE, head.FILE, measured.FILE)
"""Files beside a model's weights that spare the next start what this one has done."""
# The rest of the memory is the user's.
_DENSE_SHARE = 0.25


@dataclass(frozen=True)
class Shortcuts:
    """What is computed in another way than transformers does; to be left out in measurements."""

    lean_layers: bool = True
    shortlist: bool = True


ALL = Shortcuts()


def kept(folder: Path, shortcuts: Shortcuts = ALL) -> lean.LeanModel | None:
    """The model of a folder as an earlier start has prepared it for such a CPU."""
    if shortcuts.lean_layers and fourbit.is_available():
        return lean_file.load(folder)
    return None


def prepare(
    model: Any,
    folder: Path,
    memory: int = 0,
    shortcuts: Shortcuts = ALL,
    figures: Measured | None = None,
) -> Any:
    """Let a model's products be computed in the quickest way that this CPU has; the model to use.

    What takes long to make is kept in `folder`, if that exists. `memory`: bytes that all of it may
    take, 0: no limit.
    """
    if fourbit.is_available():
        return _with_packed_products(model, folder, memory, shortcuts, figures)
    from oci_lsp.engine.process import layers

    # Dequantising for each token takes longer than reading dense weights.
    dtype = torch.bfloat16 if _multiplies_bf16() else torch.float32
    if layers.weights(model) * dtype.itemsize <= _spare_bytes(memory, 0):
        layers.make_dense(model, dtype)
        log.info("No AVX512-BF16: the weights are held dense, as %s", dtype)
    return model


def _with_packed_products(
    model: Any, folder: Path, memory: int, shortcuts: Shortcuts, figures: Measured | None
) -> Any:
    if shortcuts.lean_layers and not isinstance(model, lean.LeanModel):
        made = lean.lean(model)
        if made is not None:
            lean_file.save(made, folder)
            model = made
    others = 0
    if not isinstance(model, lean.LeanModel):
        from oci_lsp.engine.process import layers

        others = layers.install(model)
    shortlist = shortcuts.shortlist and head.install(model, folder, figures)
    products = [module for module in model.modules() if isinstance(module, fourbit.PackedLinear)]
    held = sum(product.packed_bytes for product in products)
    spare = _spare_bytes(memory, held)
    many = fourbit.calibrate(products, spare, figures) if products else 0
    if figures is not None:
        dense = "held" if any(product.holds for product in products) else "not held"
        figures.form = f", {shortcuts}, dense from {many}, {dense}"
    log.info(
        "%s layers, %s output layer; dense from %d rows",
        f"{others} products in transformers'" if others else "lean",
        "a shortlist" if shortlist else "the plain",
        many,
    )
    return model


def _spare_bytes(memory: int, held: int) -> int:
    """What dense weights may take, of what is free or of the limit that the user has set."""
    # What is mapped, and not read yet, is counted as free.
    free = int((psutil.virtual_memory().available - held) * _DENSE_SHARE)
    # The other half is for embeddings and conversations.
    return min(free, memory // 2 - held) if memory else free


def _multiplies_bf16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
