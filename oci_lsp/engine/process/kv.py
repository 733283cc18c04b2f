"""Keys and values of what the model has read: lanes side by side, and prefixes kept for later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

# Tokens by which a full buffer grows, so that a new token copies nothing.
_GROWTH = 256

CACHE_BYTES = 1 << 30
"""What earlier conversations may take by default: some twenty of a 1.5B, or three of a 7B."""


class Lanes:
    """Keys and values of conversations that are read side by side, a lane each.

    Each layer has two buffers of shape (lanes, heads, capacity, head size). Lane i holds
    `lengths[i]` tokens; what lies behind them is left over from drafts that were not taken, and is
    written over.
    """

    def __init__(self, layers: int, lanes: int = 1) -> None:
        self.lengths = [0] * lanes
        self._buffers: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * layers
        self._capacity = 0

    @property
    def count(self) -> int:
        """How many lanes there are."""
        return len(self.lengths)

    @property
    def layers(self) -> int:
        """How many layers they are of."""
        return len(self._buffers)

    @property
    def size(self) -> int:
        """Bytes of the buffers."""
        return sum(tensor.nbytes for pair in self._buffers if pair is not None for tensor in pair)

    def reserve(self, tokens: int) -> None:
        """Make room for so many tokens in each lane."""
        if tokens <= self._capacity:
            return
        self._capacity = (tokens // _GROWTH + 1) * _GROWTH
        held = max(self.lengths)
        for layer, pair in enumerate(self._buffers):
            if pair is not None:
                keys, values = (_grown(old, held, self._capacity) for old in pair)
                self._buffers[layer] = keys, values

    def write(
        self, layer: int, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put new tokens behind those that each lane holds; the whole buffers.

        Room must have been reserved. The lanes' lengths stay: the caller sets them once it knows
        which of the tokens count. Shapes: (lanes, heads, tokens, head size).
        """
        lanes, heads, count, size = keys.shape
        pair = self._buffers[layer]
        if pair is None:
            shape = (lanes, heads, self._capacity, size)
            pair = keys.new_zeros(shape), values.new_zeros(shape)
            self._buffers[layer] = pair
        if len(set(self.lengths)) == 1:
            at = self.lengths[0]
            pair[0][:, :, at : at + count] = keys
            pair[1][:, :, at : at + count] = values
        else:
            for lane, at in enumerate(self.lengths):
                pair[0][lane, :, at : at + count] = keys[lane]
                pair[1][lane, :, at : at + count] = values[lane]
        return pair

    def read(self, layer: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """A layer's keys and values, not copied: (lanes, heads, tokens of the longest, head size).

        None: nothing was written to it.
        """
        pair = self._buffers[layer]
        if pair is None:
            return None
        held = max(self.lengths)
        return pair[0][:, :, :held], pair[1][:, :, :held]

    def select(self, lanes: Sequence[int]) -> Lanes:
        """Copies of some lanes, in the order given; the same lane may be named several times."""
        chosen = Lanes(len(self._buffers))
        chosen.lengths = [self.lengths[lane] for lane in lanes]
        held = max(chosen.lengths)
        chosen.reserve(held)
        for layer, pair in enumerate(self._buffers):
            if pair is not None:
                keys, values = (_chosen(old, lanes, held, chosen._capacity) for old in pair)
                chosen._buffers[layer] = keys, values
        return chosen

    def beginning(self, tokens: int) -> Lanes:
        """A copy of the first lane's first tokens."""
        held, self.lengths = self.lengths, [tokens, *self.lengths[1:]]
        try:
            return self.select([0])
        finally:
            self.lengths = held


def _chosen(buffer: torch.Tensor, lanes: Sequence[int], held: int, capacity: int) -> torch.Tensor:
    """A buffer of that capacity with the first `held` tokens of some lanes of another."""
    _, heads, _, size = buffer.shape
    chosen = buffer.new_zeros((len(lanes), heads, capacity, size))
    for place, lane in enumerate(lanes):
        chosen[place, :, :held] = buffer[lane, :, :held]
    return chosen


def _grown(buffer: torch.Tensor, held: int, capacity: int) -> torch.Tensor:
    """A buffer of that capacity with the first `held` tokens of another."""
    lanes, heads, _, size = buffer.shape
    grown = buffer.new_zeros((lanes, heads, capacity, size))
    grown[:, :, :held] = buffer[:, :, :held]
    return grown


@dataclass(eq=False)
class _Entry:
    tokens: list[int]
    lanes: Lanes


class PrefixCache:
    """Keys and values of earlier conversations, for the next request that begins alike.

    Bounded: the least recently used go first. Not safe for several threads: it belongs to the one
    that generates.

    Args:
        layers: of the model.
        limit: bytes that all entries together may have; the newest stays whatever its size. 0: none
            is kept.
    """

    def __init__(self, layers: int, limit: int) -> None:
        self._layers = layers
        self.limit = limit
        # The least recently used first.
        self._entries: list[_Entry] = []

    @property
    def size(self) -> int:
        """Bytes of all entries."""
        return sum(entry.lanes.size for entry in self._entries)

    def take(self, tokens: Sequence[int]) -> tuple[Lanes, int]:
        """A single lane to go on from, and how many of `tokens` it holds already.

        At least the last token is left to be read, since its logits are wanted. The lane is the
        caller's.
        """
        best, common = None, 0
        for entry in self._entries:
            shared = _common(entry.tokens, tokens[:-1])
            if shared > common:
                best, common = entry, shared
        if best is None:
            return Lanes(self._layers), 0
        self._entries.remove(best)
        if common == len(best.tokens):
            # All of it is the beginning of what will be kept in its place.
            return best.lanes, common
        self._entries.append(best)
        return best.lanes.beginning(common), common

    def keep(self, tokens: Sequence[int], lanes: Lanes) -> None:
        """Keep a single lane that holds exactly `tokens`."""
        if self.limit == 0 or lanes.lengths != [len(tokens)] or not tokens:
            return
        kept = list(tokens)
        if any(entry.tokens[: len(kept)] == kept for entry in self._entries):
            return
        # What it begins with is not kept a second time.
        self._entries = [
            entry for entry in self._entries if entry.tokens != kept[: len(entry.tokens)]
        ]
        self._entries.append(_Entry(kept, lanes))
        while len(self._entries) > 1 and self.size > self.limit:
            del self._entries[0]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences begin with in common."""
    count = 0
    for ours, theirs in zip(one, other, strict=False):
        if ours != theirs:
            break
        count += 1
    return count
