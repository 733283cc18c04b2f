"""How many tokens a step should check: what a wider forward pass costs, against what it brings."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence

# Widths whose cost is measured before the first request.
WIDTHS = (1, 2, 4, 8, 16, 32)
# How fast a step's time corrects what was believed of its width, and of the machine's pace.
_OWN, _SHARED = 0.03, 0.2


class Pace:
    """The cost of a forward pass by its tokens, all lanes together; learned as it goes.

    Args:
        costs: seconds of a pass over as many tokens as each of `WIDTHS` says.
    """

    def __init__(self, costs: Sequence[float]) -> None:
        self._costs = list(costs)
        # A wider pass is never cheaper: where it seems so, the machine was disturbed.
        for index in range(len(WIDTHS) - 2, -1, -1):
            self._costs[index] = min(self._costs[index], self._costs[index + 1])
        # The machine's pace against the day of the measurement: a longer context, fewer threads.
        self._scale = 1.0

    def cost(self, tokens: int) -> float:
        """Seconds that a pass over so many tokens takes, at the pace of the measurement."""
        at = bisect.bisect_left(WIDTHS, tokens)
        if at == len(WIDTHS):
            return self._costs[-1] * tokens / WIDTHS[-1]
        if WIDTHS[at] == tokens:
            return self._costs[at]
        low, high = WIDTHS[at - 1], WIDTHS[at]
        part = (tokens - low) / (high - low)
        return self._costs[at - 1] * (1 - part) + self._costs[at] * part

    def note(self, tokens: int, seconds: float) -> None:
        """Take note of how long a pass took."""
        ratio = seconds / (self.cost(tokens) * self._scale)
        # A disturbance of the machine is not the width's fault.
        ratio = min(max(ratio, 0.5), 2.0)
        self._scale *= ratio**_SHARED
        if tokens in WIDTHS:
            self._costs[WIDTHS.index(tokens)] *= ratio**_OWN

    def width(
        self,
        chances: Sequence[Sequence[float]],
        most: int,
        computed: Callable[[int], int] | None = None,
    ) -> int:
        """Tokens a lane that a step should read, the one already chosen included.

        Args:
            chances: for each lane, the chance of each drafted token to be taken if those before it
                are; shorter where less is drafted.
            most: width at most.
            computed: tokens that a step of some width computes, filler included; by default there
                is no filler.
        """
        lanes = len(chances)
        computed = computed or (lambda width: lanes * width)
        best, rate = 1, lanes / self.cost(computed(1))
        brought = float(lanes)
        reached = [1.0] * lanes
        for width in range(2, most + 1):
            for lane, own in enumerate(chances):
                reached[lane] *= own[width - 2] if width - 2 < len(own) else 0.0
            brought += sum(reached)
            if brought / self.cost(computed(width)) > rate:
                best, rate = width, brought / self.cost(computed(width))
        return best
