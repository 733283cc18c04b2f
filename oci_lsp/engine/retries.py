"""Which failures of a server pass by themselves, and how long to wait before asking again."""

from __future__ import annotations

import random
from collections.abc import Callable

PASSING = frozenset({429, 502, 503, 504})
"""HTTP statuses that say: not now."""

PAUSES = (0.5, 1.0, 2.0)
"""Seconds before each further trial; with jitter, so that clients do not come back all at once."""

# Whoever is told to wait longer is better told why.
_LONGEST_PAUSE = 20.0


def pause(
    trial: int, told: str | None, chance: Callable[[], float] = random.random
) -> float | None:
    """Seconds to wait after a failed trial (0-based); None: it is no use, or not worth the wait.

    `told` is the server's Retry-After header, in seconds; a date is as good as nothing said.
    """
    if trial >= len(PAUSES):
        return None
    own = PAUSES[trial] * (0.75 + 0.5 * chance())
    try:
        wanted = float(told or 0)
    except ValueError:
        wanted = 0.0
    if not wanted <= _LONGEST_PAUSE:
        return None
    return max(own, wanted)
