"""Notices a reply that goes round in circles: a small model does so until its tokens are spent."""

from __future__ import annotations

from collections.abc import Sequence

# A passage of at most so many tokens, over and over for so many, is no code that anybody wants.
LONGEST_PASSAGE, LEAST_TOKENS = 48, 128
# Looking costs microseconds; there is no haste.
_EVERY = 16


def goes_round(tokens: Sequence[int]) -> bool:
    """Whether the reply's tokens end in one passage over and over; looks at every 16th token."""
    if len(tokens) < LEAST_TOKENS or len(tokens) % _EVERY:
        return False
    tail = list(tokens[-LEAST_TOKENS:])
    return any(tail[period:] == tail[:-period] for period in range(1, LONGEST_PASSAGE + 1))
