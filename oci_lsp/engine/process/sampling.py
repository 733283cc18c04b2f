"""Chooses each row's next token from its logits: greedy, or sampled within a nucleus."""

from __future__ import annotations

import torch

from oci_lsp.engine.process.generation import Sampling
from oci_lsp.engine.process.top import top

# The nucleus nearly always lies within so many tokens; sorting a whole vocabulary takes ten times
# as long on a CPU. Where it does not, everything is sorted.
_LIKELY = 256


class Chooser:
    """Draws tokens for one row, with a random stream of its own.

    Its draws depend on its own seed alone, not on which other rows are in the batch.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        # On the CPU whatever the model runs on: the same seed, the same draws.
        self._random = torch.Generator(device="cpu")
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    @property
    def greedy(self) -> bool:
        """Whether the row takes the likeliest token each time."""
        return self._sampling.temperature <= 0

    def choose(self, logits: torch.Tensor) -> int:
        """The next token, from one row of logits (shape: vocabulary)."""
        if self.greedy:
            return int(logits.argmax())
        scaled = logits.float() / self._sampling.temperature
        top_p = self._sampling.top_p
        if top_p >= 1:
            probabilities = torch.softmax(scaled, dim=-1)
            return int(self._draw(probabilities))
        normaliser = torch.logsumexp(scaled, dim=-1)
        count = min(_LIKELY, scaled.shape[-1])
        values, tokens = top(scaled, count)
        values, order = values.sort(descending=True)
        tokens = tokens[order]
        probabilities = torch.exp(values - normaliser)
        if count < scaled.shape[-1] and float(probabilities.sum()) < top_p:
            values, tokens = scaled.sort(descending=True)
            probabilities = torch.exp(values - normaliser)
        # The token that crosses the threshold still belongs to the nucleus.
        before = probabilities.cumsum(dim=-1) - probabilities
        nucleus = torch.where(before < top_p, probabilities, torch.zeros_like(probabilities))
        return int(tokens[self._draw(nucleus)])

    def _draw(self, weights: torch.Tensor) -> int:
        """An index, with probability in proportion to its weight."""
        cumulative = weights.cumsum(dim=-1).cpu()
        point = torch.rand((), generator=self._random) * cumulative[-1]
        index = int(torch.searchsorted(cumulative, point, right=True))
        return min(index, int(weights.nonzero()[-1]))
