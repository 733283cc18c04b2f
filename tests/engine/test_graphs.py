"""Recorded steps: what is said stays the same, and nothing but data differs from step to step."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers
from torch.fx.experimental.proxy_tensor import make_fx

from oci_lsp.engine.process import attention, graphs
from oci_lsp.engine.process.attention import Reading, StaticReading
from oci_lsp.engine.process.kv import Lanes
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

ROWS = [GREEDY, *(sampled(seed) for seed in range(3))]


class Recorder:
    """Records a step's operations as a CUDA graph does: on the memory that they used, no Python.

    What a step computes in Python while it is recorded is fixed from then on, and asking a tensor
    for its value is an error.
    """

    def __init__(self) -> None:
        self.recorded = 0
        self.replayed = 0

    def __call__(self, step: graphs.Step) -> graphs.Step:
        self.recorded += 1
        nothing = torch.zeros(1)
        traced = make_fx(lambda _nothing: step())(nothing)

        def replay() -> tuple[torch.Tensor, torch.Tensor]:
            self.replayed += 1
            logits, likeliest = traced(nothing)
            return logits, likeliest

        return replay


def recording(model, tokenizer, recorder, **options):
    """A decoder whose steps are recorded, and that drafts as if wide steps cost nothing."""
    decoder = make_decoder(model, tokenizer, record=recorder, **options)
    decoder._pace = Pace([1.0] * len(WIDTHS))
    return decoder


def steps_of(decoder):
    assert decoder._graphs is not None
    return decoder._graphs._steps


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("draft", [False, True])
def test_what_is_said_is_the_same(model, tokenizer, count, draft):
    prediction = [3 + (5 * i) % 200 for i in range(50)]
    if draft:
        one = make_decoder(model, tokenizer, speculate=False)
        run(one)
        prediction = one._prefix._entries[-1].tokens[len(PROMPT) :]
    rows = ROWS[:count]
    expected = run(make_decoder(model, tokenizer), rows=rows, prediction=prediction)
    recorder = Recorder()
    decoder = recording(model, tokenizer, recorder)
    got = run(decoder, rows=rows, prediction=prediction)
    assert got[:2] == expected[:2]
    assert recorder.recorded
    assert recorder.replayed > 1
    # And the conversation goes on from what was kept, while the store serves another.
    longer = [*PROMPT, *([8, 9] * 20)]
    other = PROMPT[::-1]
    for prompt in (other, longer, PROMPT, other):
        again = run(decoder, prompt, rows=rows)
        assert again[:2] == run(make_decoder(model, tokenizer), prompt, rows=rows)[:2]
    assert again[2].cached_tokens


@pytest.fixture(scope="module")
def stops(model, tokenizer):
    """Texts that end each of the candidates at a place of its own."""
    whole, _, _ = run(make_decoder(model, tokenizer), rows=ROWS)
    return [text[10 * (index + 1) : 10 * (index + 1) + 6] for index, text in enumerate(whole)]


def test_candidates_that_end_leave_the_batch(model, tokenizer, stops):
    expected = run(make_decoder(model, tokenizer), rows=ROWS, stop=stops)
    recorder = Recorder()
    decoder = recording(model, tokenizer, recorder)
    assert run(decoder, rows=ROWS, stop=stops)[:2] == expected[:2]
    assert {key[0] for key in steps_of(decoder)} > {1, 2}


def test_a_conversation_outgrows_what_a_graph_sees(model, tokenizer, monkeypatch):
    monkeypatch.setattr(graphs, "_SMALLEST", 64)
    expected = run(make_decoder(model, tokenizer), rows=ROWS[:2], max_tokens=150)
    recorder = Recorder()
    decoder = recording(model, tokenizer, recorder)
    assert run(decoder, rows=ROWS[:2], max_tokens=150)[:2] == expected[:2]
    assert {key[2] for key in steps_of(decoder)} >= {256}


@pytest.mark.parametrize("context", [100, 129, 137, 200, 260])
def test_up_to_the_end_of_the_context(model, tokenizer, monkeypatch, context):
    monkeypatch.setattr(graphs, "_SMALLEST", 64)
    for rows in (ROWS[:1], ROWS[:3]):
        one = make_decoder(model, tokenizer, context=context, speculate=False)
        run(one, max_tokens=500)
        said = one._prefix._entries[-1].tokens[len(PROMPT) :]
        one.forget()
        expected = run(one, rows=rows, max_tokens=500)
        decoder = recording(model, tokenizer, Recorder(), context=context)
        got = run(decoder, rows=rows, max_tokens=500, prediction=said)
        assert got[:2] == expected[:2]
        assert got[2].accepted_tokens > 10
        assert decoder._graphs is not None
        assert decoder._graphs._record is not None


def test_few_graphs_are_kept(model, tokenizer, stops, monkeypatch):
    monkeypatch.setattr(graphs, "_MOST_GRAPHS", 2)
    expected = run(make_decoder(model, tokenizer), rows=ROWS, stop=stops)
    decoder = recording(model, tokenizer, Recorder())
    assert run(decoder, rows=ROWS, stop=stops)[:2] == expected[:2]
    assert len(steps_of(decoder)) == 2


@pytest.mark.parametrize("at", [1, 3])
def test_what_cannot_be_recorded_is_done_without(model, tokenizer, stops, at, caplog):
    recorder = Recorder()

    def fails(step):
        if recorder.recorded == at - 1:
            raise RuntimeError("this operation cannot be recorded")
        return recorder(step)

    expected = run(make_decoder(model, tokenizer), rows=ROWS, stop=stops)
    decoder = recording(model, tokenizer, fails)
    for _ in range(2):
        assert run(decoder, rows=ROWS, stop=stops)[:2] == expected[:2]
    assert caplog.text.count("cannot be recorded") == 1
    assert recorder.recorded == at - 1


def test_forgetting_frees_store_and_graphs(model, tokenizer):
    decoder = recording(model, tokenizer, Recorder())
    expected = run(decoder)
    assert steps_of(decoder)
    decoder.forget()
    assert not steps_of(decoder)
    assert not decoder._graphs._store
    assert run(decoder)[:2] == expected[:2]


def test_warming_up_records_ahead(model, tokenizer):
    recorder = Recorder()
    decoder = make_decoder(model, tokenizer, record=recorder)
    decoder.warm_up()
    assert recorder.recorded == len(steps_of(decoder)) >= len(graphs.WIDTHS)
    before = recorder.recorded
    run(decoder)
    assert recorder.recorded == before
    assert recorder.replayed > before


def test_a_model_that_sees_a_window_only(tiny_model, tokenizer):
    config = transformers.AutoConfig.from_pretrained(tiny_model)
    config.layer_types = ["full_attention", "sliding_attention"]
    config.use_sliding_window, config.sliding_window = True, 20
    torch.manual_seed(4)
    sliding = transformers.AutoModelForCausalLM.from_config(config).eval()
    attention.install(sliding)
    expected = run(make_decoder(sliding, tokenizer), rows=ROWS)
    whole = copy.deepcopy(sliding)
    whole.model.layers[1].self_attn.sliding_window = None
    assert run(make_decoder(whole, tokenizer), rows=ROWS)[0] != expected[0]
    recorder = Recorder()
    assert run(recording(sliding, tokenizer, recorder), rows=ROWS)[:2] == expected[:2]
    assert recorder.replayed


@pytest.mark.parametrize("window", [None, 5])
def test_a_static_reading_attends_as_the_other_does(window):
    torch.manual_seed(0)
    lanes = Lanes(1, 3)
    query, key, value = (torch.randn(3, heads, 10, 16) for heads in (4, 2, 2))
    old, new = slice(8), slice(8, 10)
    reading = Reading(lanes, 8, "cpu")
    reading.attend(0, query[:, :, old], key[:, :, old], value[:, :, old], None, window)
    lanes.lengths = [8, 3, 5]
    static = lanes.moved(lanes.buffers_for(4, 64))
    positions = torch.tensor(lanes.lengths)[:, None] + torch.arange(2)
    given = query[:, :, new], key[:, :, new], value[:, :, new]
    expected = Reading(lanes, 2, "cpu").attend(0, *given, None, window)
    got = StaticReading(static._filled(), positions).attend(0, *given, None, window)
    torch.testing.assert_close(got, expected)
