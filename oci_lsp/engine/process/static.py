"""Decoding in memory that stays where it is, so that a step can be captured and replayed.

A step has a shape: so many lanes, so many new tokens in each, so many that a lane can hold. All
that differs between two steps of one shape (tokens, lengths) is data on the device. So that few
shapes come up, each number is rounded up to a power of two; what that adds is filler, whose results
nobody looks at, and whose keys and values are written over.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch

from oci_lsp.engine.process.attention import attend_as_groups, seen_mask
from oci_lsp.engine.process.batch import WIDEST, Batch, GrowingBatch, Step
from oci_lsp.engine.process.capture import Capture, EagerCapture, Results, Work
from oci_lsp.engine.process.kv import Lanes

log = logging.getLogger(__name__)

Pair = tuple[torch.Tensor, torch.Tensor]

# What a lane holds at least.
_SMALLEST = 512
# Tokens of all lanes together that memory is taken for at first: four candidates of a usual
# length. When it grows, all captured steps are lost.
_USUAL = 8192
# Shapes that are remembered: the widths of three numbers of lanes, at two capacities.
_SHAPES = 30


class StaticReading:
    """One forward pass over lanes of fixed memory (see `attention.Attends`).

    Args:
        pairs: each layer's keys and values, (lanes, heads, capacity, head size).
        lengths: tokens that each lane holds, (lanes).
        width: new tokens of each lane; there must be room for them.
        context: tokens that the model can take.
    """

    def __init__(
        self, pairs: Sequence[Pair | None], lengths: torch.Tensor, width: int, context: int
    ) -> None:
        self._pairs = pairs
        self._places = lengths[:, None] + torch.arange(width, device=lengths.device)
        # Filler may lie where the model has no position any more.
        self.positions = self._places.clamp(max=context - 1)
        self._mask = cache(partial(seen_mask, self._places))

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float | None,
        window: int | None = None,
    ) -> torch.Tensor:
        """See `attention.Attends.attend`."""
        pair = self._pairs[layer]
        assert pair is not None, "the prompt was not read by this layer"
        for buffer, new in zip(pair, (key, value), strict=True):
            buffer.scatter_(2, self._places[:, None, :, None].expand_as(new), new)
        capacity = pair[0].shape[2]
        group = query.shape[1] // key.shape[1]
        mask = self._mask(capacity, window, group, query.dtype)
        return attend_as_groups(query, *pair, mask, scale)


class _Memory:
    """Flat memory for keys and values, laid out anew for each batch.

    Args:
        like: each layer's keys and values, of any number of lanes and tokens.
        room: tokens that it holds, all lanes together.
    """

    def __init__(self, like: Sequence[Pair | None], room: int) -> None:
        self.room = room
        self._layers = [
            None if pair is None else tuple((_flat(part, room), *_sizes(part)) for part in pair)
            for pair in like
        ]

    def laid_out(self, lanes: int, capacity: int) -> list[Pair | None]:
        """Its beginning as buffers (lanes, heads, capacity, head size); the same each time."""
        found: list[Pair | None] = []
        for layer in self._layers:
            if layer is None:
                found.append(None)
                continue
            keys, values = (
                flat[: lanes * heads * capacity * size].view(lanes, heads, capacity, size)
                for flat, heads, size in layer
            )
            found.append((keys, values))
        return found


class _Shape:
    """A step of one shape; eager the first time, captured the second, replayed from then on.

    Args:
        work: computes logits (lanes, width, vocabulary) and likeliest tokens (lanes, width).
        inputs: what it computes from: a lane's length and its new tokens, (lanes, 1 + width).
    """

    def __init__(self, work: Work, inputs: torch.Tensor) -> None:
        self.work = work
        self.inputs = inputs
        self.replay: Work | None = None
        self.used = False


class StaticSteps:
    """The memory, and the steps captured in it. One batch at a time: a new one takes its place.

    Args:
        model: attends over lanes.
        context: tokens that it can take.
        limit: bytes that keys and values may take.
        capture: makes a way to capture steps, anew whenever all captured ones are dropped.
    """

    def __init__(
        self, model: Any, context: int, limit: int, capture: Callable[[], Capture]
    ) -> None:
        self._model = model
        self._context = context
        self._limit = limit
        self._usual = _USUAL
        self._new_capture = capture
        self._capture: Capture | None = None
        self._memory: _Memory | None = None
        # By lanes, width and capacity; the least recently used first.
        self._shapes: OrderedDict[tuple[int, int, int], _Shape] = OrderedDict()

    def begin(self, lanes: Lanes, sources: Sequence[int]) -> StaticBatch | None:
        """A batch that goes on from lanes: row i with a copy of lane `sources[i]`.

        None: there is not enough memory.
        """
        pairs = [lanes.read(layer) for layer in range(lanes.layers)]
        return self.lay_out(pairs, sources, [lanes.lengths[source] for source in sources])

    def forget(self) -> None:
        """Drop all memory. What is taken again is no more than what is needed."""
        self._drop()
        self._usual = 0

    def lay_out(
        self, pairs: Sequence[Pair | None], sources: Sequence[int], lengths: Sequence[int]
    ) -> StaticBatch | None:
        """A batch whose row i is a copy of the first `lengths[i]` tokens of lane `sources[i]`.

        The lanes, each layer's (lanes, heads, tokens, head size), may be those of the batch in
        whose place it comes. None: there is not enough memory.
        """
        lanes = _rounded(len(sources))
        held = max(lengths)
        capacity = max(_SMALLEST, _rounded(held + WIDEST))
        memory = self._reserved(pairs, lanes * capacity)
        if memory is None:
            return None
        laid_out = memory.laid_out(lanes, capacity)
        for old, new in zip(pairs, laid_out, strict=True):
            if old is None or new is None:
                continue
            for source, target in zip(old, new, strict=True):
                # A copy first: both may be the same memory, laid out in another way.
                copied = source[list(sources), :, :held]
                # What a mask hides counts for nothing only as long as it is a finite number.
                target.zero_()
                target[: len(sources), :, :held] = copied
        return StaticBatch(self, self._model, laid_out, (lanes, capacity), lengths)

    def run(
        self, shape: tuple[int, int, int], pairs: Sequence[Pair | None], inputs: list[list[int]]
    ) -> tuple[Results, bool]:
        """Logits and likeliest tokens of a step, and whether it was replayed.

        Args:
            shape: lanes, width, capacity.
            pairs: the memory, laid out for the shape.
            inputs: for each lane its length and its new tokens.
        """
        if self._capture is None:
            self._capture = self._new_capture()
        found = self._shapes.pop(shape, None) or self._new_shape(shape, pairs)
        self._shapes[shape] = found
        found.inputs.copy_(torch.tensor(inputs))
        if found.replay is not None:
            return found.replay(), True
        if not found.used:
            results = self._capture.first(found.work)
            found.used = True
            return results, False
        try:
            found.replay = self._capture.record(found.work)
        except Exception:
            # Whatever it is: a step of this shape has been done without before.
            log.warning("Decoding steps cannot be captured; going on without", exc_info=True)
            self._new_capture = EagerCapture
            self._capture = EagerCapture()
            found.replay = self._capture.record(found.work)
        # Only now: a pool of graphs must not be empty when the next one is captured.
        while len(self._shapes) > _SHAPES:
            self._shapes.popitem(last=False)
        return found.replay(), False

    def _new_shape(self, shape: tuple[int, int, int], pairs: Sequence[Pair | None]) -> _Shape:
        lanes, width, _ = shape
        model, context = self._model, self._context
        inputs = torch.zeros((lanes, 1 + width), dtype=torch.long, device=model.device)

        def work() -> Results:
            reading = StaticReading(pairs, inputs[:, 0], width, context)
            logits = model(
                input_ids=inputs[:, 1:],
                position_ids=reading.positions,
                use_cache=False,
                reading=reading,
            ).logits
            return logits, logits.argmax(dim=-1)

        return _Shape(work, inputs)

    def _reserved(self, pairs: Sequence[Pair | None], tokens: int) -> _Memory | None:
        """Memory for so many tokens like those, all lanes together; None: there is not so much."""
        if self._memory is not None and self._memory.room >= tokens:
            return self._memory
        a_token = sum(
            heads * size * part.itemsize
            for pair in pairs
            if pair is not None
            for part in pair
            for heads, size in [_sizes(part)]
        )
        while tokens * a_token <= self._limit:
            room = max(tokens, min(self._usual, self._limit // a_token))
            # What was captured writes to the old memory.
            self._drop()
            try:
                self._memory = _Memory(pairs, room)
            except torch.OutOfMemoryError as error:
                # It is not tried again: nothing to spare the next time, or less of all.
                if room > tokens:
                    self._usual = 0
                else:
                    self._limit = tokens * a_token - 1
                log.warning("No memory to decode %d tokens in: %s", room, error)
            else:
                return self._memory
        return None

    def _drop(self) -> None:
        self._shapes.clear()
        self._memory = None
        self._capture = None


class StaticBatch:
    """Rows in memory that stays where it is (see `batch.Batch`).

    They are its first lanes: when one leaves, the others move up. Each number of lanes needs
    captures of its own, so it stays as it is until half of them would do; a move is a copy, which
    takes less time than a step.
    """

    def __init__(
        self,
        steps: StaticSteps,
        model: Any,
        pairs: Sequence[Pair | None],
        shape: tuple[int, int],
        lengths: Sequence[int],
    ) -> None:
        self._steps = steps
        self._model = model
        self._pairs = pairs
        self._lanes, self._capacity = shape
        self.lengths = list(lengths)

    def with_room(self) -> Batch:
        """See `batch.Batch.with_room`: moves where a lane is nearly full."""
        if max(self.lengths) + WIDEST <= self._capacity:
            return self
        return self.select(range(len(self.lengths)))

    def computed(self, width: int) -> int:
        """See `batch.Batch.computed`."""
        return self._lanes * _rounded(width)

    def step(self, tokens: list[list[int]]) -> Step:
        """See `batch.Batch.step`."""
        rows, asked = len(tokens), len(tokens[0])
        width = _rounded(asked)
        inputs = [
            [length, *new, *[new[-1]] * (width - asked)]
            for length, new in zip(self.lengths, tokens, strict=True)
        ]
        inputs += [[0] * (1 + width)] * (self._lanes - rows)
        shape = self._lanes, width, self._capacity
        (logits, likeliest), settled = self._steps.run(shape, self._pairs, inputs)
        return Step(list(logits[:rows]), likeliest[:rows].tolist(), settled)

    def select(self, rows: Sequence[int]) -> Batch:
        """See `batch.Batch.select`."""
        lengths = [self.lengths[row] for row in rows]
        # Should a move fail half-way, nobody may take what is left for what was read.
        self.lengths = [0] * len(self.lengths)
        moved = self._steps.lay_out(self._pairs, rows, lengths)
        return moved or GrowingBatch(self._model, self._copied(rows, lengths))

    def lane(self, row: int) -> Lanes:
        """See `batch.Batch.lane`."""
        return self._copied([row], [self.lengths[row]])

    def _copied(self, rows: Sequence[int], lengths: Sequence[int]) -> Lanes:
        """Lanes that hold the first `lengths[i]` tokens of row `rows[i]`."""
        lanes = Lanes(len(self._pairs), len(rows))
        held = max(lengths)
        lanes.reserve(held)
        for layer, pair in enumerate(self._pairs):
            if pair is not None:
                keys, values = (part[list(rows), :, :held] for part in pair)
                lanes.write(layer, keys, values)
        lanes.lengths = list(lengths)
        return lanes


def _rounded(number: int) -> int:
    """The next power of two."""
    return 1 << (number - 1).bit_length()


def _sizes(part: torch.Tensor) -> tuple[int, int]:
    """Heads and head size of keys or values (lanes, heads, tokens, head size)."""
    return part.shape[1], part.shape[3]


def _flat(part: torch.Tensor, room: int) -> torch.Tensor:
    heads, size = _sizes(part)
    return part.new_zeros(room * heads * size)
