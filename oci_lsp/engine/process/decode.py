"""The decode loop: one prefill, then all candidates side by side, several tokens of each a step."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from oci_lsp.engine.process.batch import WIDEST, Batch, GrowingBatch, Step, read
from oci_lsp.engine.process.capture import Capture, GraphCapture
from oci_lsp.engine.process.draft import Acceptance, Clue, Corpus, Follower
from oci_lsp.engine.process.generation import (
    CancelledGenerationError,
    Counts,
    Generation,
    Piece,
)
from oci_lsp.engine.process.kv import CACHE_BYTES, Lanes, PrefixCache
from oci_lsp.engine.process.measured import Measured
from oci_lsp.engine.process.pace import WIDTHS, Pace
from oci_lsp.engine.process.repetition import goes_round
from oci_lsp.engine.process.sampling import Chooser
from oci_lsp.engine.process.static import StaticSteps
from oci_lsp.engine.process.textstream import Detokenizer, StopWatch
from oci_lsp.engine.process.threads import Threads

# A prompt is read in pieces, so that a cancel is noticed in between.
PREFILL_TOKENS = 512
# Tokens of a reply that the next one may begin with.
_OPENING = 16
# Tokens already read while the cost of a step is measured: a short prompt's worth.
_MEASURED_AT = 256


@dataclass
class _Row:
    """A candidate while it is being generated; its last token has not been read yet."""

    index: int
    chooser: Chooser
    detokenizer: Detokenizer
    watch: StopWatch
    # Whether it ends when it goes round in circles.
    cut_circles: bool
    follower: Follower | None
    tokens: list[int] = field(default_factory=list)
    # What was drafted behind the last token, and is checked by the step under way.
    draft: list[tuple[int, Clue]] = field(default_factory=list)
    # Tokens of prompt and reply that its lane held before that step.
    base: int = 0


class Decoder:
    """Generates with one model. Belongs to one thread; one generation at a time.

    Args:
        model: a causal language model of transformers, in evaluation mode, that attends over lanes
            (`attention.install`).
        tokenizer: its tokenizer.
        stop_tokens: ids that end a candidate.
        context: tokens of prompt and reply together that the model can take.
        cache_bytes: what keys and values of earlier conversations may take; 0: none are kept.
        speculate: whether tokens are drafted, to be checked several at a time.
        measured: what is known of the machine.
        capture: makes a way to capture the steps of decoding; by default CUDA graphs on a GPU, and
            none elsewhere.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        stop_tokens: frozenset[int],
        context: int,
        cache_bytes: int = CACHE_BYTES,
        speculate: bool = True,
        measured: Measured | None = None,
        capture: Callable[[], Capture] | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.context = context
        self._stop_tokens = stop_tokens
        self._speculate = speculate
        self._measured = measured or Measured()
        self.layers: int = model.config.get_text_config(decoder=True).num_hidden_layers
        self._prefix = PrefixCache(self.layers, cache_bytes)
        if capture is None and model.device.type == "cuda":
            capture = GraphCapture
        self._static: StaticSteps | None = None
        if capture is not None:
            self._static = StaticSteps(model, context, cache_bytes or CACHE_BYTES, capture)
        on_cpu = model.device.type == "cpu"
        self._threads = Threads(torch.get_num_threads() if on_cpu else 1, torch.set_num_threads)
        self._pace: Pace | None = None
        # How the last reply began: the next one to a request of the same kind begins alike.
        self._opening: list[int] = []
        self._ends_line = functools.cache(lambda token: tokenizer.decode([token]).endswith("\n"))
        # Of greedy candidates, and of sampled ones.
        self._acceptance = {True: Acceptance(), False: Acceptance()}
        if head := model.get_output_embeddings():
            head.register_forward_pre_hook(_own_strides)

    @torch.inference_mode()
    def generate(
        self, generation: Generation, cancelled: Callable[[], bool], counts: Counts
    ) -> Iterator[Piece]:
        """Each candidate's text, token by token, the candidates interleaved.

        Raises:
            CancelledGenerationError: `cancelled()`, asked before each step, became true.
        """
        prompt = generation.prompt
        counts.prompt_tokens = len(prompt)
        rows = self._rows(generation)
        limit = min(generation.max_tokens, self.context - len(prompt))
        self._threads.begin()
        start = time.perf_counter()
        lanes, logits = self._prefill(prompt, cancelled, counts)
        counts.prefill_seconds = time.perf_counter() - start
        # A kernel that was started with the request shows by now.
        self._threads.begin()
        start = time.perf_counter()
        if len(rows) > 1:
            self._prefix.keep(prompt, lanes)
        batch = self._batch(lanes, len(rows))
        # The batch may hold copies.
        del lanes
        step = Step([logits[0]] * len(rows), logits.argmax(dim=-1).tolist() * len(rows))
        try:
            while True:
                staying = []
                for place, row in enumerate(rows):
                    chosen_from = step.logits[place], step.likeliest[place]
                    for piece in self._take(row, *chosen_from, limit, counts):
                        batch.lengths[place] = row.base
                        if piece.text or piece.finish_reason is not None:
                            yield piece
                        if piece.finish_reason is not None:
                            self._opening = row.tokens[:_OPENING]
                            self._prefix.keep(_held(prompt, row), batch.lane(place))
                            break
                    else:
                        staying.append(place)
                if len(staying) < len(rows):
                    rows = [rows[place] for place in staying]
                    if not rows:
                        break
                    batch = batch.select(staying)
                _check(cancelled)
                batch = batch.with_room()
                step = self._step(rows, batch, limit)
        finally:
            counts.decode_seconds = time.perf_counter() - start
            if len(rows) == 1:
                # Cut off: what was read is still worth keeping.
                self._prefix.keep(_held(prompt, rows[0]), batch.lane(0))

    def _batch(self, lanes: Lanes, rows: int) -> Batch:
        """So many rows that go on from the first lane, which may become one of them."""
        sources = [0] * rows
        if self._static is not None and (batch := self._static.begin(lanes, sources)):
            return batch
        return GrowingBatch(self.model, lanes if rows == 1 else lanes.select(sources))

    def _rows(self, generation: Generation) -> list[_Row]:
        corpus = None
        if self._speculate:
            corpus = Corpus(
                generation.prediction, generation.prompt, self._opening, self._ends_line
            )
        return [
            _Row(
                index,
                Chooser(sampling),
                Detokenizer(self.tokenizer),
                StopWatch(
                    generation.stop,
                    after_code=generation.after_code,
                    definition=generation.definition,
                ),
                cut_circles=generation.after_code,
                follower=Follower(corpus) if corpus else None,
                base=len(generation.prompt) - 1,
            )
            for index, sampling in enumerate(generation.rows)
        ]

    def _prefill(
        self, prompt: Sequence[int], cancelled: Callable[[], bool], counts: Counts
    ) -> tuple[Lanes, torch.Tensor]:
        """Read the prompt into a lane; the last token's logits (1, 1, vocabulary)."""
        lanes, done = self._prefix.take(prompt)
        counts.cached_tokens = done
        lanes.reserve(len(prompt))
        logits = torch.empty(0)
        try:
            while done < len(prompt):
                _check(cancelled)
                piece = list(prompt[done : done + PREFILL_TOKENS])
                logits = read(self.model, [piece], lanes, last_only=True)
                done += len(piece)
                lanes.lengths[0] = done
        except CancelledGenerationError:
            self._prefix.keep(prompt[:done], lanes)
            raise
        return lanes, logits

    def _step(self, rows: Sequence[_Row], batch: Batch, limit: int) -> Step:
        """Read each row's last token and what is drafted behind it."""
        # No token is read that could not be said: not every model has positions beyond its context.
        most = min(WIDEST, limit - max(len(row.tokens) for row in rows) + 1)
        for row in rows:
            row.draft = row.follower.draft(most - 1) if row.follower else []
        width = 1
        if self._pace is not None:
            chances = [
                [self._acceptance[row.chooser.greedy].chance(clue) for _, clue in row.draft]
                for row in rows
            ]
            width = self._pace.width(chances, most, batch.computed)
        tokens = []
        for row, length in zip(rows, batch.lengths, strict=True):
            del row.draft[width - 1 :]
            row.base = length
            drafted = [token for token, _ in row.draft]
            # A row with nothing more to draft reads its last token again, in vain.
            filling = [row.tokens[-1]] * (width - 1 - len(drafted))
            tokens.append([row.tokens[-1], *drafted, *filling])
        began = time.perf_counter()
        step = batch.step(tokens)
        seconds = time.perf_counter() - began
        computed = batch.computed(width)
        self._threads.step(computed, seconds)
        if self._pace is not None and step.settled:
            self._pace.note(computed, seconds)
        return step

    def _take(
        self,
        row: _Row,
        logits: torch.Tensor,
        likeliest: Sequence[int],
        limit: int,
        counts: Counts,
    ) -> Iterator[Piece]:
        """What a row says by the logits (width, vocabulary) of a step, as far as its draft holds.

        Each token is chosen as if it came alone, so its distribution is the same with and without
        a draft, and with a seed the token too, but for the rounding of wider products. `row.base`
        counts what its lane then holds.
        """
        greedy = row.chooser.greedy
        counts.drafted_tokens += len(row.draft)
        for place in range(len(row.draft) + 1):
            token = likeliest[place] if greedy else row.chooser.choose(logits[place])
            row.base += 1
            counts.completion_tokens += 1
            piece = self._extend(row, token, limit)
            goes_on = False
            if place < len(row.draft):
                drafted, clue = row.draft[place]
                goes_on = token == drafted
                self._acceptance[greedy].note(clue, taken=goes_on)
                counts.accepted_tokens += goes_on
            yield piece
            if not goes_on or piece.finish_reason is not None:
                return

    def _extend(self, row: _Row, token: int, limit: int) -> Piece:
        """Append a token to a candidate; what can be shown of it, and whether it ends here."""
        if token in self._stop_tokens:
            text = row.watch.add(row.detokenizer.finish())
            return Piece(row.index, text + row.watch.finish(), "stop")
        row.tokens.append(token)
        if row.follower:
            row.follower.add(token)
        text = row.watch.add(row.detokenizer.add(token))
        if row.watch.stopped:
            return Piece(row.index, text, "stop")
        if len(row.tokens) >= limit or (row.cut_circles and goes_round(row.tokens)):
            text += row.watch.add(row.detokenizer.finish())
            return Piece(row.index, text + row.watch.finish(), "length")
        return Piece(row.index, text)

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Run once, since the first call is slow; at every width, where their cost is not known."""
        lanes = Lanes(self.layers)
        token = next(iter(self._stop_tokens), 0)
        lanes.reserve(_MEASURED_AT + WIDEST)
        read(self.model, [[token]], lanes)
        lanes.lengths[0] = max(0, min(_MEASURED_AT, self.context - WIDEST))

        def seconds(tokens: int) -> float:
            rows = -(-tokens // WIDEST)
            batch = self._batch(lanes, rows)
            settled = False
            while not settled:
                start = time.perf_counter()
                settled = batch.step([[token] * (tokens // rows)] * rows).settled
            return time.perf_counter() - start

        def costs() -> list[float]:
            # Wide passes lay things out that the next ones find.
            seconds(WIDTHS[-1])
            return [min(seconds(width), seconds(width)) for width in WIDTHS]

        if self._speculate:
            self._pace = Pace(self._measured.get(f"seconds of steps of {WIDTHS} tokens", costs))
        else:
            seconds(1)

    def forget(self) -> None:
        """Drop what is kept of earlier conversations, and what is captured (to free memory)."""
        self._prefix.clear()
        if self._static is not None:
            self._static.forget()


def _held(prompt: Sequence[int], row: _Row) -> list[int]:
    """The tokens that a row's lane holds."""
    return [*prompt, *row.tokens[: row.base - len(prompt)]]


def _own_strides(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """The last position cut out of a prompt keeps the prompt's strides.

    On the CPU torch then copies the whole output matrix (0.4 s for a 1.5B) to multiply one row.
    """
    return (inputs[0].clone(memory_format=torch.contiguous_format),)


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise CancelledGenerationError
