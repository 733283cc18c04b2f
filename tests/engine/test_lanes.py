"""Lanes and attention over them, and prefixes kept for later."""

from __future__ import annotations

import pytest
import torch

from oci_lsp.engine.process.attention import Reading, lanes_attention
from oci_lsp.engine.process.kv import Lanes, PrefixCache
from oci_lsp.errors import ModelError

SIZE, HEADS, SHARED = 8, 4, 2


def tensors(lanes, width, seed):
    torch.manual_seed(seed)
    return tuple(torch.randn(lanes, heads, width, SIZE) for heads in (HEADS, SHARED, SHARED))


def read(lanes: Lanes, query, key, value, window=None) -> torch.Tensor:
    width = query.shape[2]
    attended = Reading(lanes, width, "cpu").attend(0, query, key, value, None, window)
    lanes.lengths = [length + width for length in lanes.lengths]
    return attended


def reference(query, key, value, window=None) -> torch.Tensor:
    """Causal attention of one conversation, written out; the result (1, width, heads, size)."""
    width = query.shape[2]
    key, value = (part.repeat_interleave(HEADS // SHARED, dim=1) for part in (key, value))
    scores = query @ key.transpose(2, 3) / SIZE**0.5
    at = torch.arange(width)
    hidden = at[None] > at[:, None]
    if window is not None:
        hidden |= at[None] <= at[:, None] - window
    attended: torch.Tensor = scores.masked_fill(hidden, -torch.inf).softmax(-1) @ value
    return attended.transpose(1, 2)


@pytest.mark.parametrize("window", [None, 3, 20])
@pytest.mark.parametrize("pieces", [[30], [1] * 30, [20, 7, 1, 2], [3, 27]])
def test_piece_by_piece_is_as_all_at_once(pieces, window):
    query, key, value = tensors(1, 30, 0)
    lanes, parts, at = Lanes(1), [], 0
    for width in pieces:
        piece = slice(at, at + width)
        parts.append(read(lanes, query[:, :, piece], key[:, :, piece], value[:, :, piece], window))
        at += width
    expected = reference(query, key, value, window)
    torch.testing.assert_close(torch.cat(parts, dim=1), expected)


def test_lanes_of_different_lengths_do_not_see_each_other():
    query, key, value = tensors(3, 12, 1)
    lanes = Lanes(1, 3)
    read(lanes, query[:, :, :6], key[:, :, :6], value[:, :, :6])
    # The first keeps all, the second two tokens, the third none.
    lanes.lengths = [6, 2, 0]
    attended = read(lanes, query[:, :, 6:], key[:, :, 6:], value[:, :, 6:])
    for lane, held in enumerate((6, 2, 0)):
        own = [
            torch.cat([part[lane : lane + 1, :, :held], part[lane : lane + 1, :, 6:]], dim=2)
            for part in (query, key, value)
        ]
        torch.testing.assert_close(attended[lane : lane + 1], reference(*own)[:, held:])


def test_what_was_not_taken_is_written_over():
    query, key, value = tensors(1, 20, 2)
    lanes = Lanes(1)
    read(lanes, query[:, :, :10], key[:, :, :10], value[:, :, :10])
    read(lanes, *(part * 50 for part in tensors(1, 5, 9)))
    lanes.lengths = [10]
    attended = read(lanes, query[:, :, 10:], key[:, :, 10:], value[:, :, 10:])
    torch.testing.assert_close(attended, reference(query, key, value)[:, 10:])


def test_copies_are_their_own():
    query, key, value = tensors(1, 10, 3)
    lanes = Lanes(1)
    read(lanes, query, key, value)
    copies = lanes.select([0, 0])
    beginning = lanes.beginning(4)
    read(lanes, *tensors(1, 300, 4))
    assert (copies.lengths, beginning.lengths, lanes.lengths) == ([10, 10], [4], [310])
    more = tensors(1, 2, 5)
    both = read(copies, *(part.expand(2, -1, -1, -1) for part in more))
    whole = [torch.cat(pair, dim=2) for pair in zip((query, key, value), more, strict=True)]
    torch.testing.assert_close(both[:1], reference(*whole)[:, 10:])
    torch.testing.assert_close(both[0], both[1])


def test_other_kinds_of_attention_are_refused():
    query, key, value = tensors(1, 2, 0)
    with pytest.raises(ModelError, match="not learned"):
        lanes_attention(torch.nn.Identity(), query, key, value, None)
    with pytest.raises(ModelError, match="not learned"):
        lanes_attention(
            torch.nn.Identity(), query, key, value, None,
            reading=Reading(Lanes(1), 2, "cpu"), softcap=50.0,
        )  # fmt: skip


def filled(tokens) -> Lanes:
    lanes = Lanes(1)
    read(lanes, *tensors(1, len(tokens), 7))
    return lanes


def test_the_longest_common_prefix_is_taken():
    cache = PrefixCache(1, 1 << 20)
    one, other = [1, 2, 3, 4], [1, 2, 9, 9, 9]
    cache.keep(one, filled(one))
    cache.keep(other, filled(other))
    for tokens, common in [([1, 2, 9, 9, 5], 4), ([1, 2, 3, 5], 3), ([7, 7], 0), ([1, 2], 1)]:
        lanes, held = cache.take(tokens)
        assert (held, lanes.lengths) == (common, [common])
    # All of them are still there.
    assert cache.take([*one, 5])[1] == 4


def test_a_longer_conversation_takes_the_place_of_its_beginning():
    cache = PrefixCache(1, 1 << 20)
    cache.keep([1, 2, 3], filled([1, 2, 3]))
    cache.keep([1, 2, 3, 4], filled([1, 2, 3, 4]))
    assert cache.size == filled([1] * 4).size


def test_the_cache_is_bounded_and_forgets_the_least_recently_used():
    size = filled([1, 1]).size
    cache = PrefixCache(1, 2 * size)
    for first in (1, 2, 3):
        if first == 3:
            cache.take([1, 1, 1])
            cache.keep([1, 1], filled([1, 1]))
        cache.keep([first, first], filled([first] * 2))
    assert cache.size == 2 * size
    assert [cache.take([first] * 3)[1] for first in (2, 1, 3)] == [0, 2, 2]
    none = PrefixCache(1, 0)
    none.keep([1, 1], filled([1, 1]))
    assert (none.size, none.take([1, 1, 1])[1]) == (0, 0)


def test_what_does_not_hold_its_tokens_is_not_kept():
    cache = PrefixCache(1, 1 << 20)
    cache.keep([1, 2, 3], filled([1, 2]))
    cache.keep([], Lanes(1))
    assert cache.size == 0
