"""Layers of the Llama shape with as few operations as they can have, for decoding on a CPU.

transformers' layers take some fifty small operations each. For one token that is as much time as
the products: this does the same with a third of them, and with one product instead of three for
queries, keys and values, and one instead of two for the gated feed-forward.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import rms_norm, silu

from oci_lsp.engine.process.attention import Attends
from oci_lsp.engine.process.fourbit import PackedLinear, suits


class LeanLayer(nn.Module):
    """Does what a decoder layer of Llama or Qwen2 does; made from one, which it replaces."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        self._index: int = attention.layer_idx
        self._scale: float = attention.scaling
        self._size: int = attention.head_dim
        self._window: int | None = getattr(attention, "sliding_window", None)
        self._norms = (layer.input_layernorm, layer.post_attention_layernorm)
        self.qkv = PackedLinear([attention.q_proj, attention.k_proj, attention.v_proj])
        self.out = PackedLinear([attention.o_proj])
        self.gate_up = PackedLinear([mlp.gate_proj, mlp.up_proj])
        self.down = PackedLinear([mlp.down_proj])
        self._heads, self._shared, _ = (width // self._size for width in self.qkv.widths)
        self._inner = self.gate_up.widths[0]

    def forward(
        self,
        hidden: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        reading: Attends,
        **_options: Any,
    ) -> torch.Tensor:
        """Read new tokens (lanes, width, features) into the lanes; what the next layer is given."""
        lanes, width, _ = hidden.shape
        normed = _normed(hidden, self._norms[0])
        projected = self.qkv(normed).view(lanes, width, -1, self._size)
        turned = self._heads + self._shared
        query_key = _turned(projected[:, :, :turned], position_embeddings).transpose(1, 2)
        attended = reading.attend(
            self._index,
            query_key[:, : self._heads],
            query_key[:, self._heads :],
            projected[:, :, turned:].transpose(1, 2),
            self._scale,
            self._window,
        )
        hidden = hidden + self.out(attended.reshape(lanes, width, -1))
        inner = self.gate_up(_normed(hidden, self._norms[1]))
        gated = silu(inner[..., : self._inner]) * inner[..., self._inner :]
        read: torch.Tensor = hidden + self.down(gated)
        return read


def _normed(hidden: torch.Tensor, norm: Any) -> torch.Tensor:
    return rms_norm(hidden, hidden.shape[-1:], norm.weight, norm.variance_epsilon)


def _turned(heads: torch.Tensor, embeddings: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Heads (lanes, width, heads, size) turned by their positions (Su et al. 2021, "RoFormer")."""
    cosine, sine = embeddings
    half = heads.shape[-1] // 2
    swapped = torch.cat((-heads[..., half:], heads[..., :half]), dim=-1)
    return heads * cosine[:, :, None] + swapped * sine[:, :, None]


def install(model: Any) -> int:
    """Replace the layers of a model that are of this shape; how many."""
    layers = model.get_decoder().layers
    replaced = 0
    for index, layer in enumerate(layers):
        if _is_of_this_shape(layer):
            layers[index] = LeanLayer(layer)
            replaced += 1
    return replaced


# Classes whose layers were read and found to be of the shape; a subclass may add to it.
_LAYERS = frozenset({"LlamaDecoderLayer", "Qwen2DecoderLayer"})


def _is_of_this_shape(layer: Any) -> bool:
    if type(layer).__name__ not in _LAYERS:
        return False
    attention, mlp = layer.self_attn, layer.mlp
    products = (
        attention.q_proj,
        attention.k_proj,
        attention.v_proj,
        attention.o_proj,
        mlp.gate_proj,
        mlp.up_proj,
        mlp.down_proj,
    )
    is_silu = type(mlp.act_fn).__name__ in ("SiLU", "SiLUActivation")
    return is_silu and all(suits(product) for product in products)
