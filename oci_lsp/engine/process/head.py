"""The output layer: NF4 finds the likely tokens, the exact weights weigh them.

A third of the bytes that a 1.5B reads for each token are its output matrix in bf16. An NF4 copy
tells which tokens come into question at a quarter of that; the logits of those are then computed
from the exact rows. What is left to NF4's error is the tail that is hardly ever drawn.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import linear

from oci_lsp.engine.process.fourbit import BLOCK, LANES, PackedWeights, crossing
from oci_lsp.engine.process.keeping import keep, weights_id
from oci_lsp.engine.process.measured import Measured
from oci_lsp.engine.process.top import top

log = logging.getLogger(__name__)

# Tokens whose logits are exact: far more than NF4 is ever wrong by at the top, and nearly always
# the whole nucleus.
LIKELY = 64
FILE = "output-layer.safetensors"
"""Beside a model's weights: the NF4 copy."""


class ShortlistHead(nn.Module):
    """Stands for an output layer without bias on the CPU; logits come in float32.

    Args:
        weight: the exact matrix (vocabulary, features) in bf16; shared, not copied.
        rough: the same in NF4, its outputs filled up to a multiple of `fourbit.LANES`.
        many: rows from which the exact product of all tokens is quicker.
    """

    def __init__(self, weight: torch.Tensor, rough: PackedWeights, many: int) -> None:
        super().__init__()
        self.weight = weight
        self._rough = rough
        self._many = many

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits (..., vocabulary) of hidden states (..., features)."""
        given = hidden.reshape(-1, hidden.shape[-1])
        logits = self._exact(given) if given.shape[0] >= self._many else self._shortlist(given)
        return logits.view(*hidden.shape[:-1], -1)

    def _exact(self, given: torch.Tensor) -> torch.Tensor:
        return linear(given, self.weight).float()

    def _shortlist(self, given: torch.Tensor) -> torch.Tensor:
        rough = self._rough.product(given)[:, : self.weight.shape[0]]
        likely = top(rough, LIKELY).indices
        exact = (self.weight[likely].float() @ given.float()[..., None])[..., 0]
        return rough.float().scatter_(-1, likely, exact)


def install(model: Any, folder: Path, measured: Measured | None = None) -> bool:
    """Let a model use it, where its output layer is of the kind; whether it does.

    The NF4 copy is kept in `folder`, if that exists: making it takes seconds.
    """
    head: Any = model.get_output_embeddings()
    if type(head) is not nn.Linear or getattr(head, "bias", None) is not None:
        return False
    if head.weight.dtype != torch.bfloat16 or head.in_features % BLOCK:
        return False
    weight = head.weight.detach()
    rough = _kept(folder / FILE, weight.shape) or _made(weight, folder / FILE)

    def measure() -> int:
        return crossing(rough.inputs, rough.product, lambda given: linear(given, weight))

    measured = measured or Measured()
    many = measured.get("rows from which all logits are quicker", measure)
    model.set_output_embeddings(ShortlistHead(weight, rough, many))
    return True


def quantised_output(weight: torch.Tensor) -> PackedWeights:
    """An output matrix (vocabulary, features) in NF4, filled up with zeros."""
    # Only here: it takes a second to import, and what it makes is kept.
    from oci_lsp.engine.process.layers import plain, quantised

    vocabulary, features = weight.shape
    if missing := -vocabulary % LANES:
        weight = torch.cat([weight, weight.new_zeros((missing, features))])
    return PackedWeights.of([plain(quantised(weight))])


def _kept(file: Path, shape: torch.Size) -> PackedWeights | None:
    try:
        with safe_open(file, framework="pt") as kept:
            if (kept.metadata() or {}).get("of") != weights_id(file.parent):
                return None
            rough = PackedWeights(kept.get_tensor("weights"), kept.get_tensor("scales"))
    except (OSError, KeyError, ValueError, SafetensorError):
        return None
    vocabulary, features = shape
    return (
        rough if (rough.outputs - vocabulary) in range(LANES) and rough.inputs == features else None
    )


def _made(weight: torch.Tensor, file: Path) -> PackedWeights:
    rough = quantised_output(weight)
    _keep(rough, file)
    return rough


def _keep(rough: PackedWeights, file: Path) -> None:
    tensors = {"weights": rough.weights, "scales": rough.scales}
    of = {"of": weights_id(file.parent)}
    keep(file, lambda partial: save_file(tensors, partial, metadata=of))
