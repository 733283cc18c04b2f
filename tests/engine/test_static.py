"""Decoding in fixed memory, by captured steps, says what decoding says without."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers

from oci_lsp.engine.process import attention, fourbit, lean, static
from oci_lsp.engine.process.batch import GrowingBatch, read
from oci_lsp.engine.process.capture import EagerCapture, GraphCapture
from oci_lsp.engine.process.generation import Counts, Generation
from oci_lsp.engine.process.kv import Lanes
from oci_lsp.engine.process.model import _quantise
from oci_lsp.engine.process.pace import WIDTHS, Pace
from oci_lsp.engine.process.static import StaticReading, StaticSteps
from tests.engine.captures import Broken, Recorded
from tests.engine.test_decode import GREEDY, PROMPT, make_decoder, run, sampled, tokenizer

__all__ = ["tokenizer"]

ROWS = [GREEDY, sampled(1), sampled(2), sampled(3)]


def make_model(folder, **options):
    config = transformers.AutoConfig.from_pretrained(folder, **options)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype=torch.float32
    ).eval()
    attention.install(model)
    return model


@pytest.fixture(scope="module")
def model(tiny_model):
    return make_model(tiny_model)


@pytest.fixture(scope="module")
def sliding(tiny_model):
    model = make_model(
        tiny_model,
        use_sliding_window=True,
        sliding_window=24,
        layer_types=["sliding_attention", "full_attention"],
    )
    assert model.model.layers[0].self_attn.sliding_window == 24
    return model


@pytest.fixture(params=[EagerCapture, Recorded])
def capture(request):
    return request.param()


def pair(model, tokenizer, capture, *, drafts=False, **options):
    """A decoder without fixed memory and one with."""
    decoders = [
        make_decoder(model, tokenizer, **options),
        make_decoder(model, tokenizer, capture=lambda: capture, **options),
    ]
    if drafts:
        for decoder in decoders:
            decoder._pace = Pace([1.0 + width / 100 for width in WIDTHS])
    return decoders


def shapes(decoder):
    """Lanes, width and capacity of each step that was captured."""
    return {shape for shape, found in decoder._static._shapes.items() if found.replay}


def room(decoder):
    """Tokens that its fixed memory has room for, all lanes together."""
    memory = decoder._static._memory
    return memory.room if memory else 0


def same(decoders, *args, **options):
    """What both say, and the second's counts."""
    plain, fixed = (run(decoder, *args, **options) for decoder in decoders)
    assert fixed[:2] == plain[:2]
    assert fixed[2].cached_tokens == plain[2].cached_tokens
    assert fixed[2].completion_tokens == plain[2].completion_tokens
    return fixed


@pytest.mark.parametrize("kind", ["full", "sliding"])
@pytest.mark.parametrize("drafts", [False, True])
def test_what_is_said_is_the_same(model, sliding, tokenizer, capture, kind, drafts):
    chosen = {"full": model, "sliding": sliding}[kind]
    said = run(make_decoder(chosen, tokenizer))[0][0]
    prediction = tokenizer(said, add_special_tokens=False)["input_ids"]
    decoders = pair(chosen, tokenizer, capture, drafts=drafts)
    for rows in ([GREEDY], [sampled(5)], ROWS, ROWS[:3]):
        _, reasons, counts = same(decoders, rows=rows, prediction=prediction)
        assert reasons == ["length"] * len(rows)
        assert (counts.accepted_tokens > 10) == (drafts and GREEDY in rows)
    assert room(decoders[1])
    if isinstance(capture, Recorded):
        assert capture.replays > 40


def test_the_window_matters(model, sliding, tokenizer):
    assert run(make_decoder(model, tokenizer))[0] != run(make_decoder(sliding, tokenizer))[0]


@pytest.mark.parametrize("drafts", [False, True])
def test_rows_that_end_early_leave(model, tokenizer, capture, drafts):
    whole = run(make_decoder(model, tokenizer), rows=ROWS)[0]
    decoders = pair(model, tokenizer, capture, drafts=drafts)
    # One in the middle first, so that the others move up.
    stops = [whole[row][8 * at : 8 * at + 5] for at, row in enumerate((2, 0, 3), 1)]
    _, reasons, _ = same(decoders, rows=ROWS, stop=stops)
    assert reasons.count("stop") >= 3
    # What each of them held was kept, and is right to go on from.
    kept, expected = ([entry.tokens for entry in d._prefix._entries] for d in decoders)
    assert sorted(kept) == sorted(expected)
    for tokens in kept:
        _, _, counts = same(decoders, [*tokens, 8, 9])
        assert counts.cached_tokens >= len(tokens)
    # Three rows are read as four are.
    assert {lanes for lanes, _, _ in shapes(decoders[1])} == {1, 2, 4}


def test_prefixes_are_kept_and_found(model, tokenizer, capture):
    decoders = pair(model, tokenizer, capture)
    same(decoders)
    _, _, counts = same(decoders)
    assert counts.cached_tokens == len(PROMPT) - 1
    same(decoders, [*PROMPT, 9, 8, 7], rows=ROWS)
    _, _, counts = same(decoders, PROMPT[:20] + [100, 101] * 9)
    assert counts.cached_tokens == 20
    same(decoders, [200, 201, 202])


@pytest.mark.parametrize("rows", [[GREEDY], ROWS[:3]])
@pytest.mark.parametrize("drafts", [False, True])
def test_a_conversation_grows_out_of_its_memory(
    model, tokenizer, capture, monkeypatch, rows, drafts
):
    # So little that larger lanes need other memory.
    monkeypatch.setattr(static, "_USUAL", 512)
    prompt = [3 + (7 * i * i + i) % 250 for i in range(440)]
    decoders = pair(model, tokenizer, capture, drafts=drafts)
    same(decoders, prompt, rows, max_tokens=120)
    assert {capacity for _, _, capacity in shapes(decoders[1])} == {1024}
    # And back into a part of it.
    same(decoders, prompt[:50], rows, max_tokens=20)
    assert {capacity for _, _, capacity in shapes(decoders[1])} == {512, 1024}


@pytest.mark.parametrize(("rows", "lanes"), [([GREEDY], 1), (ROWS[:3], 4)])
def test_a_conversation_that_finds_no_memory_goes_on_without(
    model, tokenizer, capture, rows, lanes
):
    prompt = [3 + (7 * i * i + i) % 250 for i in range(440)]
    decoders = pair(model, tokenizer, capture)
    steps = decoders[1]._static
    # Keys and values of two layers, two heads of 16, in float32.
    a_token = 2 * 2 * 2 * 16 * 4
    steps._limit = lanes * 512 * a_token
    same(decoders, prompt, rows, max_tokens=120)
    assert shapes(decoders[1]) == {(lanes, 1, 512)}
    for decoder in decoders:
        decoder.forget()
    steps._limit = lanes * 512 * a_token - 1
    same(decoders, prompt, rows, max_tokens=120)
    assert room(decoders[1]) == 0


def test_memory_that_runs_out_is_asked_for_less(model, tokenizer, capture, monkeypatch):
    original, asked = static._flat, []

    def flat(part, room):
        asked.append(room)
        if room > 512:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(part, room)

    monkeypatch.setattr(static, "_flat", flat)
    decoders = pair(model, tokenizer, capture)
    same(decoders)
    assert set(asked) == {8192, 512}
    assert room(decoders[1]) == 512
    for _ in range(2):
        same(decoders, rows=ROWS)
    # What did not fit is not tried again.
    assert asked.count(2048) == 1


def test_a_failed_capture_is_told_once_and_changes_nothing(model, tokenizer, caplog):
    for good in (0, 2):
        caplog.clear()
        broken = Broken(good)
        decoders = pair(model, tokenizer, broken, drafts=True)
        for rows in ([GREEDY], ROWS):
            same(decoders, rows=rows)
        for decoder in decoders:
            decoder.forget()
        same(decoders, rows=ROWS)
        assert (broken.good, broken.failed) == (0, 1)
        assert [record.message for record in caplog.records] == [
            "Decoding steps cannot be captured; going on without"
        ]


def test_what_is_dropped_comes_back_no_larger_than_needed(model, tokenizer):
    made = []

    def capture():
        made.append(Recorded())
        return made[-1]

    decoder = make_decoder(model, tokenizer, capture=capture)
    expected = run(decoder, rows=ROWS)[0]
    assert room(decoder) == 8192
    decoder.forget()
    assert (room(decoder), shapes(decoder)) == (0, set())
    assert run(decoder, rows=ROWS)[0] == expected
    assert room(decoder) == 4 * 512
    # Graphs of the old pool and of the new one are never mixed.
    assert len(made) == 2
    assert all(capture.replays for capture in made)


def test_captured_steps_are_bounded(model, tokenizer, monkeypatch):
    monkeypatch.setattr(static, "_SHAPES", 2)
    capture = Recorded()
    decoders = pair(model, tokenizer, capture, drafts=True)
    for rows in ([GREEDY], ROWS, [GREEDY], ROWS[:2]):
        same(decoders, rows=rows, prediction=PROMPT)
        assert len(shapes(decoders[1])) <= 2
    assert capture.recorded > 4


def test_what_was_there_before_does_not_shine_through(model, tokenizer):
    decoder = make_decoder(model, tokenizer, capture=EagerCapture)
    expected = run(decoder, rows=ROWS)[0]
    memory = decoder._static and decoder._static._memory
    assert memory
    with torch.inference_mode():
        for pair in memory.laid_out(8, 1024):
            assert pair
            for part in pair:
                part.fill_(torch.nan)
    decoder._prefix.clear()
    assert run(decoder, rows=ROWS)[0] == expected


@pytest.mark.parametrize("cut", [1, 2, 5, 9])
def test_a_cut_off_reply_leaves_a_sound_cache(model, tokenizer, capture, cut):
    decoders = pair(model, tokenizer, capture, drafts=True)
    (text,) = run(decoders[0])[0]
    prediction = tokenizer(text, add_special_tokens=False)["input_ids"]
    generation = Generation(PROMPT, [GREEDY], 60, prediction=prediction)
    pieces = decoders[1].generate(generation, lambda: False, Counts())
    for _ in range(cut):
        next(pieces)
    pieces.close()
    said = decoders[1]._prefix._entries[-1].tokens
    assert len(said) >= len(PROMPT) + cut - 1
    got, _, counts = run(decoders[1], [*said, 8, 9])
    assert counts.cached_tokens == len(said)
    assert got == run(make_decoder(model, tokenizer), [*said, 8, 9])[0]


def test_a_failed_step_leaves_no_broken_cache(model, tokenizer, monkeypatch):
    decoder = make_decoder(model, tokenizer, capture=EagerCapture)
    expected = run(decoder)[0]
    layer = copy.copy(model.model.layers[1].forward)
    calls = []

    def failing(*args, **kwargs):
        calls.append(1)
        if len(calls) == 10:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return layer(*args, **kwargs)

    monkeypatch.setattr(model.model.layers[1], "forward", failing)
    with pytest.raises(torch.OutOfMemoryError):
        run(decoder)
    assert run(decoder)[0] == expected
    decoder.forget()
    assert run(decoder)[0] == expected


@pytest.mark.parametrize("kind", ["plain", "lean"])
def test_layers_in_four_bits_compute_the_same(tiny_model, kind):
    if kind == "lean" and not fourbit.is_available():
        pytest.skip("no CPU for lean layers")
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    _quantise(model.eval(), "cpu", lambda text, done: None)
    attention.install(model)
    if kind == "lean":
        model = lean.lean(model)
        assert model is not None
    # The lean layers' kernels are none of torch's operations, so they cannot be recorded.
    capture = EagerCapture if kind == "lean" else Recorded
    steps = StaticSteps(model, 2048, 1 << 20, capture)
    with torch.inference_mode():
        lanes = Lanes(2)
        lanes.reserve(40)
        read(model, [PROMPT[:40]], lanes)
        lanes.lengths = [40]
        growing = GrowingBatch(model, lanes.select([0, 0, 0]))
        fixed = steps.begin(lanes, [0, 0, 0])
        assert fixed is not None
        for lengths in ([40, 31, 36], [43, 34, 39], [46, 35, 42]):
            growing.lengths[:] = fixed.lengths[:] = lengths
            tokens = [[50 + length, 60, 70] for length in lengths]
            expected = torch.stack(list(growing.step(tokens).logits)).float()
            got = torch.stack([logits[:3] for logits in fixed.step(tokens).logits]).float()
            both = torch.stack([expected.flatten(), got.flatten()])
            assert torch.corrcoef(both)[0, 1] > 0.999


def test_a_move_that_fails_half_way_leaves_no_broken_cache(model, tokenizer, monkeypatch):
    prompt = [3 + (7 * i * i + i) % 250 for i in range(440)]
    decoder = make_decoder(model, tokenizer, capture=EagerCapture)
    expected = run(decoder, prompt, max_tokens=120)[0]
    decoder._prefix.clear()
    original = static._Memory.laid_out

    class Full:
        def zero_(self):
            raise torch.OutOfMemoryError("CUDA out of memory")

    def laid_out(memory, lanes, capacity):
        pairs = original(memory, lanes, capacity)
        return [pairs[0], (Full(), Full())] if capacity == 1024 else pairs

    with monkeypatch.context() as patch:
        patch.setattr(static._Memory, "laid_out", laid_out)
        with pytest.raises(torch.OutOfMemoryError):
            run(decoder, prompt, max_tokens=120)
    assert run(decoder, prompt, max_tokens=120)[0] == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_card(model, tokenizer):
    on_card = copy.deepcopy(model).to("cuda")
    decoders = [make_decoder(on_card, tokenizer) for _ in range(2)]
    decoders[0]._static = None
    for decoder in decoders:
        decoder.warm_up()
        decoder._pace = Pace([1.0 + width / 100 for width in WIDTHS])
    for rows in ([GREEDY], ROWS, [GREEDY]):
        same(decoders, rows=rows, prediction=PROMPT)
    same(decoders, [3 + (7 * i * i + i) % 250 for i in range(440)], ROWS, max_tokens=120)
    steps = decoders[1]._static
    assert steps is not None
    assert isinstance(steps._capture, GraphCapture)
    assert shapes(decoders[1])


def test_filler_has_no_position_beyond_the_context():
    reading = StaticReading([], torch.tensor([6, 1]), 4, 8)
    assert reading.positions.tolist() == [[6, 7, 7, 7], [1, 2, 3, 4]]


def test_the_context_is_used_up(model, tokenizer, capture):
    context = len(PROMPT) + 13
    decoders = pair(model, tokenizer, capture, drafts=True, context=context)
    said = run(make_decoder(model, tokenizer))[0][0]
    prediction = tokenizer(said, add_special_tokens=False)["input_ids"]
    _, _, counts = same(decoders, prediction=prediction)
    assert counts.completion_tokens == 13


def test_warming_up_captures_what_comes_first(model, tokenizer):
    capture = Recorded()
    decoder = make_decoder(model, tokenizer, capture=lambda: capture)
    decoder.warm_up()
    widths = {(1, width, 512) for width in (1, 2, 4, 8, 16)}
    assert shapes(decoder) == {*widths, (2, 16, 512)}
    # Each time that is measured is a replay's: twice a shape, the widest once ahead.
    assert capture.replays == 3 * len(shapes(decoder)) + 1
    assert decoder._pace is not None
    run(decoder, max_tokens=5)
    assert capture.recorded == len(shapes(decoder)) == 6


class Listening(Pace):
    """Writes down what it is told, and believes that nothing wider pays."""

    def __init__(self):
        super().__init__(WIDTHS)
        self.noted, self.asked = [], []

    def note(self, tokens, seconds):
        self.noted.append(tokens)

    def width(self, chances, most, computed=None):
        self.asked.append([computed(width) for width in (1, 2, 3)])
        return 1


def test_a_step_costs_what_its_replay_takes_filler_included(model, tokenizer):
    decoder = make_decoder(model, tokenizer, capture=EagerCapture)
    decoder._pace = pace = Listening()
    run(decoder, rows=ROWS[:3], max_tokens=12)
    assert pace.asked == [[4, 8, 16]] * 11
    # The first step and the capture take longer.
    assert pace.noted == [4] * 9
