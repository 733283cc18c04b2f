"""Keys and values of what the model has read: kept in growing buffers, reused across requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

# Tokens by which a full buffer grows: transformers' own cache copies everything for each token.
_GROWTH = 256


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values, as views of buffers with room for more.

    Shapes: (rows, heads, tokens, head size).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._buffers: list[torch.Tensor | None] = [None, None]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the new tokens' keys and values; all of them are returned."""
        if self.get_seq_length() == 0:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.is_initialized = True
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.keys = self._append(0, self.keys, key_states)
        self.values = self._append(1, self.values, value_states)
        return self.keys, self.values

    def _append(self, which: int, held: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """`held` and `new` joined along the tokens, in the buffer where it has room."""
        rows, heads, count, size = held.shape
        total = count + new.shape[2]
        buffer = self._buffers[which]
        # Cropping leaves a view of the buffer; choosing rows does not.
        if (
            buffer is None
            or held.data_ptr() != buffer.data_ptr()
            or held.shape[0] != buffer.shape[0]
            or total > buffer.shape[2]
        ):
            capacity = (total // _GROWTH + 1) * _GROWTH
            buffer = new.new_empty((rows, heads, capacity, size))
            buffer[:, :, :count] = held
            self._buffers[which] = buffer
        buffer[:, :, count:total] = new
        return buffer[:, :, :total]


def new_cache(config: Any) -> Cache:
    """An empty cache that suits the model."""
    kinds = getattr(config.get_text_config(decoder=True), "layer_types", None)
    if kinds is None or set(kinds) == {"full_attention"}:
        return Cache(layer_class_to_replicate=GrowingLayer)
    return DynamicCache(config=config)


def croppable(cache: Cache) -> bool:
    """Whether the end of the cache can be cut off: not where layers forget (sliding windows)."""
    return all(isinstance(layer, GrowingLayer) for layer in cache.layers)


class PrefixCache:
    """The keys and values of the last conversation, for the next request that begins alike.

    Not safe for several threads: it belongs to the one that generates.
    """

    def __init__(self, config: Any) -> None:
        self._config = config
        self._tokens: list[int] = []
        self._cache: Cache | None = None

    def take(self, tokens: Sequence[int]) -> tuple[Cache, int]:
        """A cache of one row to go on from, and how many of `tokens` it holds already.

        At least the last token is left to be read, since its logits are wanted. The cache is the
        caller's until it is kept again.
        """
        cache, held = self._cache, self._tokens
        self.clear()
        if cache is None or not croppable(cache):
            return new_cache(self._config), 0
        common = 0
        for ours, theirs in zip(held, tokens[:-1], strict=False):
            if ours != theirs:
                break
            common += 1
        if common == 0:
            return new_cache(self._config), 0
        if (excess := cache.get_seq_length() - common) > 0:
            cache.crop(-excess)
        return cache, common

    def keep(self, tokens: Sequence[int], cache: Cache) -> None:
        """Keep a cache of one row that holds exactly `tokens`.

        One that does not (its generation failed in the middle of a forward pass) is dropped.
        """
        self.clear()
        if all(layer.get_seq_length() == len(tokens) for layer in cache.layers):
            self._tokens, self._cache = list(tokens), cache

    def clear(self) -> None:
        """Forget everything."""
        self._tokens, self._cache = [], None


def copy_rows(cache: Cache, rows: int) -> Cache:
    """A cache of `rows` rows, each a copy of the one row of `cache`."""
    copied = Cache(layer_class_to_replicate=GrowingLayer)
    for index, layer in enumerate(cache.layers):
        copied.update(
            layer.keys.expand(rows, -1, -1, -1), layer.values.expand(rows, -1, -1, -1), index
        )
    return copied
