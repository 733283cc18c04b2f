"""Models of the Llama shape with as few operations as they can have, for decoding on a CPU.

transformers' layers take some fifty small operations each. For one token that is as much time as
the products: this does the same with a third of them, and with one product instead of three for
queries, keys and values, and one instead of two for the gated feed-forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import embedding, rms_norm, silu

from oci_lsp.engine.process.attention import Attends
from oci_lsp.engine.process.fourbit import PackedLinear


@dataclass(frozen=True)
class LayerShape:
    """What a layer's weights do not tell.

    `size`: of a head; `scale`: of its products; `window`: tokens that a token sees, itself
    included, None: all; `epsilon`: of both norms.
    """

    size: int
    scale: float
    window: int | None
    epsilon: float


@dataclass(frozen=True)
class ModelShape:
    """What a model's weights do not tell; `turn_scale`: of its rotary embeddings."""

    layers: tuple[LayerShape, ...]
    epsilon: float
    turn_scale: float


class Products(NamedTuple):
    """A layer's products: queries, keys and values; output; gate and up; down."""

    qkv: PackedLinear
    out: PackedLinear
    gate_up: PackedLinear
    down: PackedLinear


class Logits(NamedTuple):
    """What a pass gives, by the name that transformers' models give it."""

    logits: torch.Tensor


class LeanLayer(nn.Module):
    """Does what a decoder layer of Llama or Qwen2 does.

    Args:
        index: of the layer, 0-based.
        shape: what the weights do not tell.
        norms: weights of the norms before attention and before the feed-forward.
        products: its matrices.
    """

    def __init__(
        self,
        index: int,
        shape: LayerShape,
        norms: tuple[torch.Tensor, torch.Tensor],
        products: Products,
    ) -> None:
        super().__init__()
        self.index = index
        self.shape = shape
        self.norms = norms
        self.qkv, self.out, self.gate_up, self.down = products
        self._heads, self._shared, _ = (width // shape.size for width in self.qkv.widths)
        self._inner = self.gate_up.widths[0]

    @property
    def products(self) -> Products:
        """Its matrices."""
        return Products(self.qkv, self.out, self.gate_up, self.down)

    def forward(
        self,
        hidden: torch.Tensor,
        turns: tuple[torch.Tensor, torch.Tensor],
        reading: Attends,
    ) -> torch.Tensor:
        """Read new tokens (lanes, width, features) into the lanes; what the next layer is given.

        `turns`: cosine and sine of the positions, (lanes, width, head size) each.
        """
        lanes, width, _ = hidden.shape
        shape = self.shape
        normed = _normed(hidden, self.norms[0], shape.epsilon)
        projected = self.qkv(normed).view(lanes, width, -1, shape.size)
        turned = self._heads + self._shared
        query_key = _turned(projected[:, :, :turned], turns).transpose(1, 2)
        attended = reading.attend(
            self.index,
            query_key[:, : self._heads],
            query_key[:, self._heads :],
            projected[:, :, turned:].transpose(1, 2),
            shape.scale,
            shape.window,
        )
        hidden = hidden + self.out(attended.reshape(lanes, width, -1))
        inner = self.gate_up(_normed(hidden, self.norms[1], shape.epsilon))
        gated = silu(inner[..., : self._inner]) * inner[..., self._inner :]
        read: torch.Tensor = hidden + self.down(gated)
        return read


class LeanModel(nn.Module):
    """A causal language model of lean layers; is called as transformers' models are.

    Args:
        shape: what the weights do not tell.
        layers: one for each of the shape's.
        embedded: the input matrix (vocabulary, features), bf16.
        norm: weights of the norm behind the layers.
        frequencies: of the rotary embeddings, float32 (half of a head's size,).
        head: the output layer, features to vocabulary.

    Attributes:
        config, generation_config: transformers' own, for who asks for them.
    """

    def __init__(
        self,
        shape: ModelShape,
        layers: Sequence[LeanLayer],
        *,
        embedded: torch.Tensor,
        norm: torch.Tensor,
        frequencies: torch.Tensor,
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.config: Any = None
        self.generation_config: Any = None
        self.layers = nn.ModuleList(layers)
        self.embedded = embedded
        self.norm = norm
        self.frequencies = frequencies
        self.head = head

    @property
    def lean_layers(self) -> list[LeanLayer]:
        """Its layers."""
        return [layer for layer in self.layers if isinstance(layer, LeanLayer)]

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.embedded.device

    def get_output_embeddings(self) -> nn.Module:
        """The output layer."""
        return self.head

    def set_output_embeddings(self, head: nn.Module) -> None:
        """Put another output layer in its place."""
        self.head = head

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        reading: Attends,
        logits_to_keep: int = 0,
        **_options: Any,
    ) -> Logits:
        """Read tokens (lanes, width) into the lanes.

        Logits (lanes, width, vocabulary), or of the last `logits_to_keep` tokens only.
        """
        hidden = embedding(input_ids, self.embedded)
        turns = self._turns(position_ids, hidden.dtype)
        for layer in self.layers:
            hidden = layer(hidden, turns, reading)
        hidden = _normed(hidden[:, -logits_to_keep:], self.norm, self.shape.epsilon)
        return Logits(self.head(hidden))

    def _turns(
        self, positions: torch.Tensor, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        angles = positions[..., None].float() * self.frequencies
        angles = torch.cat((angles, angles), dim=-1)
        scale = self.shape.turn_scale
        return (angles.cos() * scale).to(dtype), (angles.sin() * scale).to(dtype)


def _normed(hidden: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    return rms_norm(hidden, hidden.shape[-1:], weight, epsilon)


def _turned(heads: torch.Tensor, turns: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Heads (lanes, width, heads, size) turned by their positions (Su et al. 2021, "RoFormer")."""
    cosine, sine = turns
    half = heads.shape[-1] // 2
    swapped = torch.cat((-heads[..., half:], heads[..., :half]), dim=-1)
    return heads * cosine[:, :, None] + swapped * sine[:, :, None]


def lean(model: Any) -> LeanModel | None:
    """The same model in lean layers, where it is of that shape; its NF4 layers unused so far."""
    if not _is_of_this_shape(model):
        return None
    from oci_lsp.engine.process.layers import packed

    decoder = model.get_decoder()
    layers = []
    for index, layer in enumerate(decoder.layers):
        attention, mlp = layer.self_attn, layer.mlp
        norms = layer.input_layernorm, layer.post_attention_layernorm
        shape = LayerShape(
            attention.head_dim,
            attention.scaling,
            getattr(attention, "sliding_window", None),
            norms[0].variance_epsilon,
        )
        products = Products(
            packed([attention.q_proj, attention.k_proj, attention.v_proj]),
            packed([attention.o_proj]),
            packed([mlp.gate_proj, mlp.up_proj]),
            packed([mlp.down_proj]),
        )
        weights = norms[0].weight.detach(), norms[1].weight.detach()
        layers.append(LeanLayer(index, shape, weights, products))
    made = LeanModel(
        ModelShape(
            tuple(layer.shape for layer in layers),
            decoder.norm.variance_epsilon,
            decoder.rotary_emb.attention_scaling,
        ),
        layers,
        embedded=model.get_input_embeddings().weight.detach(),
        norm=decoder.norm.weight.detach(),
        frequencies=decoder.rotary_emb.inv_freq.detach(),
        head=model.get_output_embeddings(),
    )
    made.config = model.config
    made.generation_config = model.generation_config
    return made


# Classes that were read and found to be of the shape; a subclass may add to it.
_MODELS = frozenset({"LlamaForCausalLM", "Qwen2ForCausalLM"})
_LAYERS = frozenset({"LlamaDecoderLayer", "Qwen2DecoderLayer"})
# The frequencies of the others depend on the length of the text.
_ROTARY = frozenset({"default", "linear", "llama3", "yarn"})


def _is_of_this_shape(model: Any) -> bool:
    if type(model).__name__ not in _MODELS:
        return False
    decoder = model.get_decoder()
    return decoder.rotary_emb.rope_type in _ROTARY and all(map(_is_lean, decoder.layers))


def _is_lean(layer: Any) -> bool:
    from oci_lsp.engine.process.layers import suits

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
