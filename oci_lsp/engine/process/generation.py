"""What is generated and what comes of it: the terms between service, worker and decode loop.

Free of torch, so that the service answers while torch is still being imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Sampling:
    """How one row chooses. `temperature` 0 is greedy; `seed` None draws by chance."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


@dataclass(frozen=True)
class Generation:
    """What to generate from a prompt.

    Attributes:
        prompt: token ids, at least one.
        rows: how each candidate chooses its tokens; as many candidates as there are entries.
        max_tokens: limit of each candidate.
        stop: texts that end a candidate.
        after_code: a candidate also ends when its first fenced code block has been closed, or when
            it goes round in circles (finish reason "length").
        definition: name of a function whose definition's end also ends a candidate; empty: none.
        prediction: tokens that the reply is likely to repeat.
    """

    prompt: Sequence[int]
    rows: Sequence[Sampling]
    max_tokens: int
    stop: Sequence[str] = ()
    after_code: bool = False
    definition: str = ""
    prediction: Sequence[int] = ()


@dataclass(frozen=True)
class Piece:
    """More text of candidate `index`; the last piece of each has its finish reason."""

    index: int
    text: str
    finish_reason: Literal["stop", "length"] | None = None


@dataclass
class Counts:
    """What a generation took; filled in while it runs. Seconds are wall-clock.

    `drafted_tokens` were checked, `accepted_tokens` of them became part of a candidate.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0


class CancelledGenerationError(Exception):
    """The client does not want the rest."""
