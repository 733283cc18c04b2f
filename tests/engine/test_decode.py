"""The decode loop against transformers' own `generate`, with a tiny model in float32."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers

from oci_lsp.engine.process import attention
from oci_lsp.engine.process.decode import Decoder
from oci_lsp.engine.process.generation import (
    CancelledGenerationError,
    Counts,
    Generation,
    Sampling,
)
from oci_lsp.engine.process.sampling import Chooser

PROMPT = list(range(3, 40)) * 2
GREEDY = Sampling()


def sampled(seed: int) -> Sampling:
    return Sampling(temperature=1.5, top_p=0.95, seed=seed)


@pytest.fixture(scope="module")
def plain(tiny_model):
    """The model as transformers runs it."""
    return transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def model(plain):
    """The same, attending over lanes."""
    model = copy.deepcopy(plain)
    attention.install(model)
    return model


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return transformers.AutoTokenizer.from_pretrained(tiny_model)


def make_decoder(model, tokenizer, stop_tokens=(), context=2048, **options) -> Decoder:
    return Decoder(model, tokenizer, stop_tokens=frozenset(stop_tokens), context=context, **options)


@pytest.fixture
def decoder(model, tokenizer) -> Decoder:
    return make_decoder(model, tokenizer)


def run(decoder, prompt=PROMPT, rows=(GREEDY,), max_tokens=60, **options):
    """Texts and finish reasons by index, and the counts."""
    counts = Counts()
    texts = ["" for _ in rows]
    reasons: list[str | None] = [None for _ in rows]
    generation = Generation(prompt, rows, max_tokens, **options)
    for piece in decoder.generate(generation, lambda: False, counts):
        assert reasons[piece.index] is None
        texts[piece.index] += piece.text
        reasons[piece.index] = piece.finish_reason
    return texts, reasons, counts


def reference(plain, tokenizer, prompt, max_tokens):
    with torch.inference_mode():
        output = plain.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=max_tokens,
            eos_token_id=None,
        )
    return tokenizer.decode(output[0, len(prompt) :], skip_special_tokens=True)


@pytest.mark.parametrize("length", [1, 7, 300, 700])
def test_greedy_is_what_generate_gives(plain, tokenizer, decoder, length):
    prompt = [3 + (7 * i * i + i) % 250 for i in range(length)]
    texts, reasons, counts = run(decoder, prompt, max_tokens=300)
    assert texts[0] == reference(plain, tokenizer, prompt, 300)
    assert reasons == ["length"]
    assert (counts.prompt_tokens, counts.completion_tokens) == (length, 300)


def test_candidates_share_a_prefill_and_do_not_disturb_each_other(decoder):
    rows = [GREEDY, sampled(1), sampled(2), sampled(1)]
    together, reasons, counts = run(decoder, rows=rows)
    assert together[1] == together[3]
    assert len(set(together)) == 3
    assert reasons == ["length"] * 4
    assert counts.completion_tokens == 240
    for row, text in zip(rows, together, strict=True):
        assert run(decoder, rows=[row])[0] == [text]


def test_a_row_that_ends_leaves_the_batch(model, tokenizer):
    decoder = make_decoder(model, tokenizer)
    rows = [GREEDY, sampled(1), sampled(2)]
    whole, _, _ = run(decoder, rows=rows)
    # End each row at a place of its own.
    stops = [text[10 * (index + 1) : 10 * (index + 1) + 6] for index, text in enumerate(whole)]
    stopped, reasons, counts = run(decoder, rows=rows, stop=stops)
    assert reasons == ["stop"] * 3
    assert counts.completion_tokens < 120
    for index, text in enumerate(stopped):
        _, first = min(
            (whole[index].find(stop) + len(stop), whole[index].find(stop))
            for stop in stops
            if stop in whole[index]
        )
        assert text == whole[index][:first]


def test_a_stop_token_ends_a_row_and_is_not_shown(plain, model, tokenizer):
    with torch.inference_mode():
        output = plain.generate(
            torch.tensor([PROMPT]),
            attention_mask=torch.ones(1, len(PROMPT), dtype=torch.long),
            do_sample=False,
            max_new_tokens=40,
            eos_token_id=None,
        )
    ids = output[0, len(PROMPT) :].tolist()
    reference_ids = ids[: ids.index(ids[-1])]
    ending = make_decoder(model, tokenizer, stop_tokens=[ids[-1]])
    texts, reasons, _ = run(ending)
    assert texts == [tokenizer.decode(reference_ids, skip_special_tokens=True)]
    assert reasons == ["stop"]


def test_the_prefix_of_an_earlier_conversation_is_not_read_again(plain, tokenizer, decoder):
    first, _, counts = run(decoder)
    assert counts.cached_tokens == 0
    again, _, counts = run(decoder)
    assert (again, counts.cached_tokens) == (first, len(PROMPT) - 1)
    longer = [*PROMPT, 9, 8, 7]
    texts, _, counts = run(decoder, longer, rows=[GREEDY, sampled(3)])
    assert counts.cached_tokens == len(PROMPT)
    assert texts[0] == reference(plain, tokenizer, longer, 60)
    branch = PROMPT[:20] + [100, 101] * 9
    texts, _, counts = run(decoder, branch)
    assert counts.cached_tokens == 20
    assert texts[0] == reference(plain, tokenizer, branch, 60)
    other, _, counts = run(decoder, [200, 201, 202])
    assert counts.cached_tokens == 0
    assert other[0] == reference(plain, tokenizer, [200, 201, 202], 60)


def test_a_reply_that_comes_back_in_the_next_prompt_is_cached(decoder, tokenizer):
    texts, _, _ = run(decoder, max_tokens=20)
    said = tokenizer(texts[0], add_special_tokens=False)["input_ids"]
    _, _, counts = run(decoder, [*PROMPT, *said, 50, 51])
    assert counts.cached_tokens >= len(PROMPT)


def test_a_reply_that_goes_round_in_circles_is_cut_where_code_is_wanted(model, tokenizer):
    stuck = copy.deepcopy(model)
    stuck.get_output_embeddings().weight.data.zero_()  # all tokens are equal: the first one wins
    decoder = make_decoder(stuck, tokenizer)
    _, reasons, counts = run(decoder, max_tokens=400)
    assert (reasons, counts.completion_tokens) == (["length"], 400)
    _, reasons, counts = run(decoder, max_tokens=400, after_code=True)
    assert reasons == ["length"]
    assert counts.completion_tokens < 200


def test_cancel_between_tokens(decoder):
    seen = []
    generation = Generation(PROMPT, [GREEDY, sampled(1)], 1000)
    counts = Counts()
    with pytest.raises(CancelledGenerationError):
        for piece in decoder.generate(generation, lambda: counts.completion_tokens >= 6, counts):
            seen.append(piece)
    assert counts.completion_tokens == 6
    assert run(decoder)[2].cached_tokens == len(PROMPT) - 1


def test_cancel_between_pieces_of_a_prompt(decoder):
    calls = []

    def cancelled():
        calls.append(1)
        return len(calls) > 1

    with pytest.raises(CancelledGenerationError):
        list(decoder.generate(Generation([5] * 1500, [GREEDY], 10), cancelled, Counts()))
    assert len(calls) == 2
    assert run(decoder, [5] * 600)[2].cached_tokens == 512


def test_a_failed_forward_pass_leaves_no_broken_cache(model, tokenizer, monkeypatch):
    decoder = make_decoder(model, tokenizer)
    expected = run(decoder)[0]
    layer = model.model.layers[1]
    original = layer.forward
    calls = []

    def failing(*args, **kwargs):
        calls.append(1)
        if len(calls) == 10:
            raise MemoryError
        return original(*args, **kwargs)

    monkeypatch.setattr(layer, "forward", failing)
    with pytest.raises(MemoryError):
        run(decoder)
    assert run(decoder)[0] == expected


def test_the_context_limits_the_reply(model, tokenizer):
    decoder = make_decoder(model, tokenizer, context=len(PROMPT) + 5)
    _, reasons, counts = run(decoder)
    assert (reasons, counts.completion_tokens) == (["length"], 5)


def test_sampling_stays_in_the_nucleus_and_follows_the_odds():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    chooser = Chooser(Sampling(temperature=1.0, top_p=0.7, seed=3))
    drawn = [chooser.choose(logits) for _ in range(4000)]
    # 0.5 + 0.3 crosses 0.7: the third and fourth are outside.
    assert set(drawn) == {0, 1}
    assert drawn.count(0) / 4000 == pytest.approx(0.5 / 0.8, abs=0.03)


def test_a_flat_distribution_is_sampled_whole():
    logits = torch.zeros(5000)
    chooser = Chooser(Sampling(temperature=1.0, top_p=0.9, seed=1))
    drawn = {chooser.choose(logits) for _ in range(3000)}
    assert 1500 < len(drawn) <= 4500
    everything = Chooser(Sampling(temperature=1.0, top_p=1.0, seed=1))
    counts = torch.zeros(4)
    for _ in range(4000):
        counts[everything.choose(torch.zeros(4))] += 1
    assert counts.min() > 850


def test_low_temperature_approaches_greedy():
    logits = torch.tensor([1.0, 1.2, 0.9])
    cold = Chooser(Sampling(temperature=0.01, top_p=0.95, seed=None))
    assert {cold.choose(logits) for _ in range(50)} == {1}
