"""The decode loop: one prefill, then all candidates of a request side by side as one batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from oci_lsp.engine.process.generation import (
    CancelledGenerationError,
    Counts,
    Generation,
    Piece,
)
from oci_lsp.engine.process.kv import PrefixCache, copy_rows, croppable, new_cache
from oci_lsp.engine.process.repetition import goes_round
from oci_lsp.engine.process.sampling import Chooser
from oci_lsp.engine.process.textstream import Detokenizer, StopWatch
from oci_lsp.engine.process.threads import Threads

# A prompt is read in pieces, so that a cancel is noticed in between.
PREFILL_TOKENS = 512


@dataclass
class _Row:
    """A candidate while it is being generated."""

    index: int
    chooser: Chooser
    detokenizer: Detokenizer
    watch: StopWatch
    # Whether it ends when it goes round in circles.
    cut_circles: bool
    tokens: list[int] = field(default_factory=list)


class Decoder:
    """Generates with one model. Belongs to one thread; one generation at a time.

    Args:
        model: a causal language model of transformers, in evaluation mode.
        tokenizer: its tokenizer.
        stop_tokens: ids that end a candidate.
        context: tokens of prompt and reply together that the model can take.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, stop_tokens: frozenset[int], context: int
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.context = context
        self._stop_tokens = stop_tokens
        self._prefix = PrefixCache(model.config)
        on_cpu = model.device.type == "cpu"
        self._threads = Threads(torch.get_num_threads() if on_cpu else 1, torch.set_num_threads)
        if head := model.get_output_embeddings():
            head.register_forward_pre_hook(_own_strides)

    @torch.inference_mode()
    def generate(
        self, generation: Generation, cancelled: Callable[[], bool], counts: Counts
    ) -> Iterator[Piece]:
        """Each candidate's text, token by token, the candidates interleaved.

        Raises:
            CancelledGenerationError: `cancelled()`, asked before each token, became true.
        """
        counts.prompt_tokens = len(generation.prompt)
        rows = [
            _Row(
                index,
                Chooser(sampling),
                Detokenizer(self.tokenizer),
                StopWatch(generation.stop, after_code=generation.after_code),
                cut_circles=generation.after_code,
            )
            for index, sampling in enumerate(generation.rows)
        ]
        limit = min(generation.max_tokens, self.context - len(generation.prompt))
        self._threads.begin()
        start = time.perf_counter()
        cache, logits = self._prefill(generation.prompt, cancelled, counts)
        counts.prefill_seconds = time.perf_counter() - start
        # A kernel that was started with the request shows by now.
        self._threads.begin()
        logits = logits.expand(len(rows), -1)
        start = time.perf_counter()
        read = list(generation.prompt)
        single = len(rows) == 1
        if not single:
            shared = cache
            cache = copy_rows(shared, len(rows)) if croppable(shared) else shared
            if cache is shared:
                cache.batch_repeat_interleave(len(rows))
            else:
                self._prefix.keep(read, shared)
        try:
            while rows:
                _check(cancelled)
                staying: list[int] = []
                for position, row in enumerate(rows):
                    piece = self._extend(row, row.chooser.choose(logits[position]), limit)
                    counts.completion_tokens += 1
                    if piece.finish_reason is None:
                        staying.append(position)
                    if piece.text or piece.finish_reason is not None:
                        yield piece
                if len(staying) < len(rows):
                    rows = [rows[position] for position in staying]
                    if not rows:
                        break
                    cache.batch_select_indices(torch.tensor(staying, device=self.model.device))
                began = time.perf_counter()
                logits = self._forward([[row.tokens[-1]] for row in rows], cache)
                self._threads.step(len(rows), time.perf_counter() - began)
                if single:
                    read.append(rows[0].tokens[-1])
        finally:
            counts.decode_seconds = time.perf_counter() - start
            if single:
                self._prefix.keep(read, cache)

    def _prefill(
        self, prompt: Sequence[int], cancelled: Callable[[], bool], counts: Counts
    ) -> tuple[Any, torch.Tensor]:
        """Read the prompt; its cache (one row) and the last token's logits (1, vocabulary)."""
        cache, done = self._prefix.take(prompt)
        counts.cached_tokens = done
        logits = torch.empty(0)
        try:
            while done < len(prompt):
                _check(cancelled)
                piece = prompt[done : done + PREFILL_TOKENS]
                logits = self._forward([list(piece)], cache)
                done += len(piece)
        except CancelledGenerationError:
            if done:
                self._prefix.keep(prompt[:done], cache)
            raise
        return cache, logits

    def _forward(self, tokens: list[list[int]], cache: Any) -> torch.Tensor:
        """Read tokens (rows, count) into the cache; logits (rows, vocabulary) of the last ones."""
        output = self.model(
            input_ids=torch.tensor(tokens, device=self.model.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = output.logits[:, -1]
        assert isinstance(logits, torch.Tensor)
        return logits

    def _extend(self, row: _Row, token: int, limit: int) -> Piece:
        """Append a token to a candidate; what can be shown of it, and whether it ends here."""
        if token in self._stop_tokens:
            text = row.watch.add(row.detokenizer.finish())
            return Piece(row.index, text + row.watch.finish(), "stop")
        row.tokens.append(token)
        text = row.watch.add(row.detokenizer.add(token))
        if row.watch.stopped:
            return Piece(row.index, text, "stop")
        if len(row.tokens) >= limit or (row.cut_circles and goes_round(row.tokens)):
            text += row.watch.add(row.detokenizer.finish())
            return Piece(row.index, text + row.watch.finish(), "length")
        return Piece(row.index, text)

    def warm_up(self) -> None:
        """Run once at the widths of decoding and prefill: the first call lays the weights out."""
        token = next(iter(self._stop_tokens), 0)
        with torch.inference_mode():
            self._forward([[token] * 8], new_cache(self.model.config))

    def forget(self) -> None:
        """Drop what is kept of earlier conversations (to free memory)."""
        self._prefix.clear()


def _own_strides(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """The last position cut out of a prompt keeps the prompt's strides.

    On the CPU torch then copies the whole output matrix (0.4 s for a 1.5B) to multiply one row.
    """
    return (inputs[0].clone(memory_format=torch.contiguous_format),)


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise CancelledGenerationError
