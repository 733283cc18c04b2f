"""The decode step as a CUDA graph: hundreds of small kernels, launched by one call.

For one token of a 7B, launching takes longer than computing. A graph is recorded once and replayed
on the same memory, so all that a step reads and writes has a place of its own: tokens, positions,
and a store of keys and values, of which each graph sees as many lanes and tokens as it was recorded
for. What differs from step to step, how long each lane is, is data on the device, not a size.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch

from oci_lsp.engine.process.attention import StaticReading
from oci_lsp.engine.process.kv import Buffers, Lanes

log = logging.getLogger(__name__)

Step = Callable[[], tuple[torch.Tensor, torch.Tensor]]
"""One step over what lies in its place: logits (lanes, width, vocabulary), and the likeliest."""
Record = Callable[[Step], Step]
"""Makes a step one that is quicker each time; what it gives lies in the same place each time."""

WIDTHS = (1, 2, 4, 8, 16)
"""Tokens a lane for which there are graphs; what is asked for in between is filled up."""
# Tokens that a graph sees of each lane: it attends to all of that, whatever the lane holds.
_SMALLEST = 512
# Each holds what its kernels need between them; as many as a few conversations use.
_MOST_GRAPHS = 24


def cuda() -> Record:
    """Records CUDA graphs that share what memory they need in between: one runs at a time."""
    pool = torch.cuda.graph_pool_handle()

    def record(step: Step) -> Step:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            given = step()

        def replay() -> tuple[torch.Tensor, torch.Tensor]:
            graph.replay()
            return given

        return replay

    return record


def again(step: Step) -> Step:
    """No recording: the step itself, on the same memory. For machines without a GPU."""
    return step


class Graphs:
    """Steps of one model, recorded as they are asked for. Belongs to the thread that generates.

    Args:
        forward: the model's pass over tokens (lanes, width) by a reading; logits of all of them.
        record: how a step is recorded: `cuda`, or `again`.
        context: tokens that a lane can hold.
        device: the model's.
    """

    def __init__(
        self,
        forward: Callable[[torch.Tensor, StaticReading], torch.Tensor],
        record: Record,
        context: int,
        device: Any,
    ) -> None:
        self._forward = forward
        self._record: Record | None = record
        self._context = context
        self._device = device
        self._store: list[Buffers] = []
        self._held: Lanes | None = None
        # Least recently used first.
        self._steps: OrderedDict[tuple[int, int, int], _Place] = OrderedDict()

    def hold(self, lanes: Lanes, width: int) -> Lanes:
        """The lanes in the store, with room for a step of so many tokens.

        What was in the store before is lost: of what is to be kept a copy must have been made
        (`Lanes.select`). The lanes themselves, where no graph can serve them.
        """
        needed = max(lanes.lengths) + self.width(width)
        if self._record is None or needed > self._context:
            return lanes
        if self._holds(lanes) and needed <= lanes.capacity:
            return lanes
        try:
            if not self._fits(lanes.count, needed):
                self._make(lanes, needed)
            self._held = lanes.moved(self._store)
        except torch.OutOfMemoryError:
            self._give_up("no memory for its keys and values")
            return lanes
        return self._held

    def step(
        self, tokens: Sequence[Sequence[int]], lanes: Lanes
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Read tokens (lanes, width) behind what held lanes have; their lengths stay.

        Logits (lanes, width, vocabulary) and the likeliest tokens, valid until the next step. None:
        there is no graph for it.
        """
        width = len(tokens[0])
        full = self.width(width)
        total = max(lanes.lengths) + full
        if self._record is None or not self._holds(lanes) or total > lanes.capacity:
            return None
        key = (lanes.count, full, min(self._bucket(total), lanes.capacity))
        place = self._steps.pop(key, None)
        if place is None:
            place = _Place(key, self._views(key), self._forward, self._device)
            while len(self._steps) >= _MOST_GRAPHS:
                self._steps.popitem(last=False)
        self._steps[key] = place
        place.put(tokens, lanes.lengths)
        try:
            logits, likeliest = place.run(self._record)
        except Exception as error:  # noqa: BLE001 - not every operation can be recorded
            self._give_up(f"{type(error).__name__}: {error}")
            return None
        return logits[:, :width], likeliest[:, :width]

    def width(self, width: int) -> int:
        """The width of the graph that serves a step of so many tokens a lane."""
        return next((own for own in WIDTHS if own >= width), width)

    def forget(self) -> None:
        """Drop graphs and store (to free memory)."""
        self._steps.clear()
        self._store = []
        self._held = None

    def _give_up(self, why: str) -> None:
        """Without graphs from now on: it is slower, and works."""
        log.warning("Steps are not recorded as graphs: %s", why)
        self._record = None
        self._steps.clear()
        # The lanes in the store are still somebody's; they keep it alive.
        self._store = []
        self._held = None

    def _holds(self, lanes: Lanes) -> bool:
        # Lanes that have outgrown the store have buffers of their own.
        return lanes is self._held and lanes.capacity == self._store[0][0].shape[2]

    def _fits(self, lanes: int, tokens: int) -> bool:
        if not self._store:
            return False
        keys = self._store[0][0]
        return keys.shape[0] >= lanes and keys.shape[2] >= tokens

    def _make(self, lanes: Lanes, tokens: int) -> None:
        """A store that is large enough for these lanes and for what there was before."""
        count, capacity = lanes.count, min(self._bucket(tokens), self._context)
        if self._store:
            keys = self._store[0][0]
            count, capacity = max(count, keys.shape[0]), max(capacity, keys.shape[2])
        # Recorded steps write to the old one.
        self._steps.clear()
        self._store = []
        self._store = lanes.buffers_for(count, capacity)

    def _views(self, key: tuple[int, int, int]) -> list[Buffers]:
        lanes, _, tokens = key
        return [
            (keys[:lanes, :, :tokens], values[:lanes, :, :tokens]) for keys, values in self._store
        ]

    @staticmethod
    def _bucket(tokens: int) -> int:
        bucket = _SMALLEST
        while bucket < tokens:
            bucket *= 2
        return bucket


class _Place:
    """Where one step's input lies, and the step."""

    def __init__(
        self,
        key: tuple[int, int, int],
        buffers: list[Buffers],
        forward: Callable[[torch.Tensor, StaticReading], torch.Tensor],
        device: Any,
    ) -> None:
        lanes, width, _ = key
        self._tokens = torch.zeros((lanes, width), dtype=torch.long, device=device)
        self._positions = torch.zeros((lanes, width), dtype=torch.long, device=device)
        self._buffers = buffers
        self._forward = forward
        self._uses = 0
        self._step: Step = self._plain

    def put(self, tokens: Sequence[Sequence[int]], lengths: Sequence[int]) -> None:
        """Lay out a step's input; where it is narrower, the last token is read again, in vain."""
        width = self._tokens.shape[1]
        filled = [[*row, *[row[-1]] * (width - len(row))] for row in tokens]
        self._tokens.copy_(torch.tensor(filled))
        self._positions.copy_(torch.tensor(lengths)[:, None] + torch.arange(width))

    def run(self, record: Record) -> tuple[torch.Tensor, torch.Tensor]:
        """The step; recorded at its second use, since the first one sets libraries up."""
        self._uses += 1
        if self._uses == 2:
            self._step = record(self._plain)
        return self._step()

    def _plain(self) -> tuple[torch.Tensor, torch.Tensor]:
        reading = StaticReading(self._buffers, self._positions)
        logits = self._forward(self._tokens, reading)
        return logits, logits.argmax(dim=-1)
