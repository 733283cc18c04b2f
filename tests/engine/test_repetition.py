"""Replies that go round in circles are noticed, others are left alone."""

from __future__ import annotations

import pytest

from oci_lsp.engine.process.repetition import LEAST_TOKENS, LONGEST_PASSAGE, goes_round


def grown(tokens: list[int]) -> bool:
    """Whether the reply would have been cut anywhere while it grew."""
    return any(goes_round(tokens[:length]) for length in range(1, len(tokens) + 1))


@pytest.mark.parametrize("period", [1, 2, 7, LONGEST_PASSAGE])
def test_a_passage_over_and_over_is_noticed(period: int) -> None:
    start = list(range(1000, 1050))
    assert grown(start + list(range(period)) * (2 * LEAST_TOKENS // period))


def test_soon_after_there_is_enough_of_it() -> None:
    tokens = list(range(100)) + [1, 2, 3] * 200
    cut = next(n for n in range(1, len(tokens)) if goes_round(tokens[:n]))
    assert 100 + LEAST_TOKENS <= cut < 100 + LEAST_TOKENS + 16


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        list(range(600)),
        # A table of 60 equal entries, then the code goes on.
        [*range(50), *[7, 8] * 60, *range(200, 400)],
        # Lines that count up.
        [token for line in range(60) for token in (1, 2, 3, 1000 + line)],
    ],
    ids=["empty", "no repetition", "a short table", "counting lines"],
)
def test_what_goes_on_is_left_alone(tokens: list[int]) -> None:
    assert not grown(tokens)
