"""Drafts: where a reply follows what it repeats, and what that is believed to be worth."""

from __future__ import annotations

import pytest

from oci_lsp.engine.process.draft import Acceptance, Corpus, Follower
from oci_lsp.engine.process.pace import WIDTHS, Pace

OLD = list(range(100, 140))
PROMPT = [1, 2, 3, *OLD, 4, 5, 6]


def follower(said, prediction=OLD, prompt=PROMPT, **options) -> Follower:
    follower = Follower(Corpus(prediction, prompt, **options))
    for token in said:
        follower.add(token)
    return follower


def drafted(follower: Follower, count=4) -> list[int]:
    return [token for token, _ in follower.draft(count)]


def test_it_follows_the_prediction():
    assert drafted(follower(OLD[:5])) == OLD[5:9]
    assert drafted(follower(OLD[:38])) == OLD[38:]
    assert drafted(follower(OLD)) == []


@pytest.mark.parametrize(
    ("said", "following"),
    [
        pytest.param([*OLD[:5], 900], OLD[6:10], id="replaced"),
        pytest.param([*OLD[:5], *OLD[9:10]], OLD[10:14], id="left out"),
        pytest.param([*OLD[:5], 900, 901, 902, *OLD[5:7]], OLD[7:11], id="inserted"),
        pytest.param([*OLD[:30], *OLD[10:13]], OLD[13:17], id="back to an earlier place"),
        pytest.param([50, 51, 52, *OLD[:2]], OLD[2:6], id="begun after a few words"),
        pytest.param([50, 2, 3], OLD[:4], id="from the prompt"),
    ],
)
def test_it_finds_its_place_again(said, following):
    assert drafted(follower(said)) == following


def test_the_nearest_of_several_places_counts():
    body = [7, 8, 9, 20, 7, 8, 9, 30, 7, 8, 9, 40]
    assert drafted(follower([*body[:4], 99, 7, 8, 9], body, []), 1) == [30]


def test_a_reply_begins_as_the_last_one_did():
    opening = [60, 61, 62]
    assert drafted(follower([], opening=opening)) == opening
    assert drafted(follower([60], opening=opening)) == opening[1:]


def test_the_prediction_begins_with_a_line():
    clues = follower([60, 10], ends_line=lambda token: token == 10).draft(1)
    assert clues == [(OLD[0], ("line", 0))]
    assert follower([60, 61], ends_line=lambda token: token == 10).draft(1)[0][1][0] == "before"


def test_nothing_to_repeat():
    assert drafted(follower([1, 2], [], [])) == []
    assert drafted(follower([], [], [5])) == []


def test_confidence_grows_with_what_was_followed():
    clues = [clue for _, clue in follower(OLD[:2]).draft(20)]
    assert [run for _, run in clues[:9]] == [1, 2, 2, 4, 4, 4, 4, 8, 8]
    assert clues[-1] == ("followed", 16)


def test_acceptance_is_learned():
    acceptance = Acceptance()
    clue = ("followed", 8)
    before = acceptance.chance(clue)
    for _ in range(50):
        acceptance.note(clue, taken=False)
    assert acceptance.chance(clue) < 0.1 < before
    for _ in range(300):
        acceptance.note(clue, taken=True)
    assert acceptance.chance(clue) > 0.95


def test_a_width_must_be_earned():
    """Costs as measured on a CPU: four tokens cost a third more than one, eight cost double."""
    pace = Pace([1.0, 1.1, 1.35, 2.8, 5.6, 11.0])
    assert pace.width([[]], 16) == 1
    assert pace.width([[0.05, 0.05]], 16) == 1
    assert pace.width([[0.9] * 15], 16) == 4
    assert pace.width([[0.999] * 15], 16) in (4, 5)
    # Four candidates are as wide as four drafted tokens already.
    assert pace.width([[0.5] * 15] * 4, 16) == 1


def test_where_a_wider_pass_costs_nothing_it_is_taken():
    pace = Pace([1.0] * len(WIDTHS))
    assert pace.width([[0.9] * 15], 16) == 16
    assert pace.width([[0.9, 0.9]], 16) == 3


def test_filler_is_paid_for_and_room_beside_it_is_free():
    """As where captured steps round up to powers of two: five tokens cost what eight do."""

    def computed(width):
        return 1 << (width - 1).bit_length()

    pace = Pace([1.0 + 0.3 * width for width in WIDTHS])
    assert pace.width([[0.9] * 4], 16) == 5
    assert pace.width([[0.9] * 4], 16, computed) == 4
    assert pace.width([[0.9] * 7], 16, computed) == 8


def test_costs_follow_what_is_measured():
    pace = Pace([float(width) for width in WIDTHS])
    assert pace.width([[0.95] * 15], 16) == 1
    for _ in range(400):
        pace.note(1, 1.0)
        pace.note(4, 1.0)
    assert pace.width([[0.95] * 3], 16) == 4


def test_a_slower_machine_changes_no_choice():
    pace = Pace([1.0 + 0.1 * width for width in WIDTHS])
    chosen = pace.width([[0.9] * 15], 16)
    for _ in range(20):
        for width in WIDTHS:
            pace.note(width, 7 * (1.0 + 0.1 * width))
    assert abs(pace.width([[0.9] * 15], 16) - chosen) <= 1


def test_costs_between_and_beyond_the_measured_widths():
    pace = Pace([float(width) for width in WIDTHS])
    assert pace.cost(3) == pytest.approx(3)
    assert pace.cost(24) == pytest.approx(24)
    assert pace.cost(64) == pytest.approx(64)
    # Measured while the machine was disturbed: one token can't cost more than two.
    assert Pace([9.0 if width == 1 else float(width) for width in WIDTHS]).cost(1) == 2
