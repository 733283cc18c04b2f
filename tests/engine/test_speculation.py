"""Drafted tokens change how fast a reply comes, never what it says."""

from __future__ import annotations

import pytest

from oci_lsp.engine.process.generation import CancelledGenerationError, Counts, Generation
from oci_lsp.engine.process.pace import WIDTHS, Pace
from tests.engine.test_decode import (
    GREEDY,
    PROMPT,
    make_decoder,
    model,
    plain,
    run,
    sampled,
    tokenizer,
)

__all__ = ["model", "plain", "tokenizer"]


def drafting(model, tokenizer, cost=lambda width: 1.0, **options):
    """A decoder that drafts, believing that a pass of some width costs so much."""
    decoder = make_decoder(model, tokenizer, **options)
    decoder._pace = Pace([cost(width) for width in WIDTHS])
    return decoder


ROWS = [GREEDY, *(sampled(seed) for seed in range(5))]


@pytest.fixture(scope="module")
def expected(model, tokenizer):
    """For each row what is said without drafts: the text, and its tokens (but the last)."""
    found = []
    for row in ROWS:
        decoder = make_decoder(model, tokenizer, speculate=False)
        texts, _, _ = run(decoder, rows=[row])
        found.append((texts[0], decoder._prefix._entries[-1].tokens[len(PROMPT) :]))
    return found


@pytest.mark.parametrize("kind", ["exact", "half", "wrong", "none", "shifted"])
def test_what_is_said_is_the_same(model, tokenizer, expected, kind):
    for row, (text, said) in zip(ROWS, expected, strict=True):
        prediction = {
            "exact": said,
            "half": [token if at % 4 else 9 for at, token in enumerate(said)],
            "wrong": [11] * 60,
            "none": [],
            "shifted": said[10:] + said[:10],
        }[kind]
        decoder = drafting(model, tokenizer)
        got, reasons, counts = run(decoder, rows=[row], prediction=prediction)
        assert (got, reasons) == ([text], ["length"])
        assert counts.completion_tokens == 60
        assert counts.accepted_tokens <= counts.drafted_tokens
        if kind == "exact":
            assert counts.accepted_tokens > 45
        # And the lane held what it should: the conversation goes on from it.
        longer = [*PROMPT, *said, 8, 9]
        after, _, counts = run(decoder, longer)
        assert counts.cached_tokens == len(PROMPT) + 59
        assert after == run(make_decoder(model, tokenizer), longer)[0]


def test_candidates_side_by_side_each_follow_their_own_draft(model, tokenizer, expected):
    decoder = drafting(model, tokenizer)
    got, reasons, counts = run(decoder, rows=ROWS, prediction=expected[2][1])
    assert got == [text for text, _ in expected]
    assert reasons == ["length"] * len(ROWS)
    assert counts.accepted_tokens > 45


def test_candidates_that_end_within_a_draft(model, tokenizer, expected):
    stops = [text[7 + 5 * at : 11 + 5 * at] for at, (text, _) in enumerate(expected)]
    plain = run(make_decoder(model, tokenizer, speculate=False), rows=ROWS, stop=stops)
    for _, said in expected[:3]:
        drafted = run(drafting(model, tokenizer), rows=ROWS, stop=stops, prediction=said)
        assert drafted[:2] == plain[:2]
        assert drafted[2].completion_tokens == plain[2].completion_tokens
    said = expected[0][1]
    plain = run(make_decoder(model, tokenizer, [said[20]], speculate=False))
    drafted = run(drafting(model, tokenizer, stop_tokens=[said[20]]), prediction=said)
    assert drafted[:2] == plain[:2]
    assert drafted[1] == ["stop"]


def test_the_limit_and_the_context_hold_within_a_draft(model, tokenizer, expected):
    text, prediction = expected[0]
    for limit in (1, 2, 7, 33):
        decoder = drafting(model, tokenizer)
        got, reasons, counts = run(decoder, max_tokens=limit, prediction=prediction)
        assert (reasons, counts.completion_tokens) == (["length"], limit)
        assert text.startswith(got[0].rstrip("�"))
    decoder = drafting(model, tokenizer, context=len(PROMPT) + 11)
    assert run(decoder, prediction=prediction)[2].completion_tokens == 11


def test_where_it_does_not_pay_nothing_is_drafted(model, tokenizer, expected):
    decoder = drafting(model, tokenizer, cost=lambda width: float(width))
    _, _, counts = run(decoder, prediction=expected[0][1])
    assert counts.drafted_tokens == 0


def test_a_cut_off_reply_leaves_a_sound_cache(model, tokenizer, expected):
    text, prediction = expected[0]
    for cut in range(1, 12):
        decoder = drafting(model, tokenizer)
        counts = Counts()
        pieces = decoder.generate(
            Generation(PROMPT, [GREEDY], 60, prediction=prediction), lambda: False, counts
        )
        for _ in range(cut):
            next(pieces)
        pieces.close()
        assert run(decoder)[0] == [text]
        counts = Counts()
        with pytest.raises(CancelledGenerationError):
            for _ in decoder.generate(
                Generation(PROMPT, [GREEDY, sampled(1)], 60, prediction=prediction),
                lambda counts=counts, cut=cut: counts.completion_tokens > cut,
                counts,
            ):
                pass
        assert run(decoder)[0] == [text]


def test_warming_up_measures(model, tokenizer):
    decoder = make_decoder(model, tokenizer)
    decoder.warm_up()
    assert decoder._pace is not None
    assert 0 < decoder._pace.cost(1) <= decoder._pace.cost(16)
    plain = make_decoder(model, tokenizer, speculate=False)
    plain.warm_up()
    assert plain._pace is None
