"""Candidates that are read side by side, step by step; the way that suits any device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from oci_lsp.engine.process.attention import Reading
from oci_lsp.engine.process.kv import Lanes

# Tokens of one candidate that a step reads at most.
WIDEST = 16


@dataclass(frozen=True)
class Step:
    """What a step brought; good until the next step of the same batch.

    Attributes:
        logits: for each row (width, vocabulary); there may be more places than were asked for.
        likeliest: the likeliest token at each of them.
        settled: whether the step took the time that such a step takes, and no longer.
    """

    logits: Sequence[torch.Tensor]
    likeliest: list[list[int]]
    settled: bool = True


class Batch(Protocol):
    """Rows that are read side by side. Row i holds `lengths[i]` tokens.

    A step leaves the lengths: the caller sets them once it knows which of the tokens count.
    """

    @property
    def lengths(self) -> list[int]:
        """Tokens that each row holds; to be written to."""
        ...

    def with_room(self) -> Batch:
        """The batch to take the next step with: this one, or what goes on in its place."""
        ...

    def computed(self, width: int) -> int:
        """Tokens that a step of this width computes, all rows together, filler included."""
        ...

    def step(self, tokens: list[list[int]]) -> Step:
        """Read tokens (rows, width) behind what the rows hold; at most WIDEST for each."""
        ...

    def select(self, rows: Sequence[int]) -> Batch:
        """The batch of some of its rows, in that order; this one is not to be used any more."""
        ...

    def lane(self, row: int) -> Lanes:
        """What a row holds, as a single lane; to be asked for when the row is done."""
        ...


class GrowingBatch:
    """Rows over lanes that grow as they are written to (see `Batch`)."""

    def __init__(self, model: Any, lanes: Lanes) -> None:
        self._model = model
        self._lanes = lanes

    @property
    def lengths(self) -> list[int]:
        """See `Batch.lengths`."""
        return self._lanes.lengths

    def with_room(self) -> GrowingBatch:
        """See `Batch.with_room`."""
        return self

    def computed(self, width: int) -> int:
        """See `Batch.computed`."""
        return self._lanes.count * width

    def step(self, tokens: list[list[int]]) -> Step:
        """See `Batch.step`."""
        logits = read(self._model, tokens, self._lanes)
        likeliest: list[list[int]] = logits.argmax(dim=-1).tolist()
        return Step(list(logits), likeliest)

    def select(self, rows: Sequence[int]) -> GrowingBatch:
        """See `Batch.select`."""
        return GrowingBatch(self._model, self._lanes.select(rows))

    def lane(self, row: int) -> Lanes:
        """See `Batch.lane`."""
        return self._lanes if self._lanes.count == 1 else self._lanes.select([row])


def read(
    model: Any, tokens: list[list[int]], lanes: Lanes, *, last_only: bool = False
) -> torch.Tensor:
    """Read tokens (lanes, width) behind what the lanes hold; logits (lanes, width or 1, ...).

    The lanes' lengths stay as they are: the caller knows which of the tokens count.
    """
    reading = Reading(lanes, len(tokens[0]), model.device)
    output = model(
        input_ids=torch.tensor(tokens, device=model.device),
        position_ids=reading.positions,
        use_cache=False,
        logits_to_keep=int(last_only),
        reading=reading,
    )
    assert isinstance(output.logits, torch.Tensor)
    return output.logits
