"""NF4 products on the CPU: what bitsandbytes computes, in another way."""

from __future__ import annotations

import copy

import bitsandbytes as bnb
import pytest
import torch
import transformers
from bitsandbytes.functional import _convert_weight_packed_for_cpu, dequantize_4bit

from oci_lsp.engine.process import attention, cpu, fourbit, head, layers, lean
from oci_lsp.engine.process.attention import Reading
from oci_lsp.engine.process.kv import Lanes
from oci_lsp.engine.process.layers import packed
from oci_lsp.engine.process.model import _quantise
from oci_lsp.engine.process.top import top
from tests.engine.conftest import TINY

needs_kernel = pytest.mark.skipif(not fourbit.is_available(), reason="this CPU has no AVX512-BF16")


def layer(outputs=96, inputs=128, *, bias=False, seed=0):
    torch.manual_seed(seed)
    weight = torch.randn(outputs, inputs, dtype=torch.bfloat16)
    return layers.quantised(weight, torch.randn(outputs).bfloat16() if bias else None)


def dequantised(layer):
    return dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()


def test_the_packed_layout_is_that_of_bitsandbytes():
    ours, theirs = layer(), layer()
    weights, scales = layers.plain(ours)
    expected, state = _convert_weight_packed_for_cpu(theirs.weight.data, theirs.weight.quant_state)
    assert torch.equal(fourbit.pack(weights), expected)
    assert torch.equal(scales.T.to(torch.bfloat16), state.absmax)


@needs_kernel
@pytest.mark.parametrize("rows", [1, 3, 17, 200])
@pytest.mark.parametrize("hold", [False, True])
def test_products_agree_with_the_dequantised_weights(rows, hold):
    made = [layer(96, bias=True, seed=1), layer(32, bias=True, seed=2)]
    given = torch.randn(2, rows, 128, dtype=torch.bfloat16)
    expected = torch.cat(
        [given.float() @ dequantised(one).T + one.bias.float() for one in made], dim=-1
    )
    product = packed(made)
    product.holds = hold
    for product.many in (1, 10_000):
        got = product(given)
        assert got.shape == (2, rows, 128)
        torch.testing.assert_close(got.float(), expected, atol=0.25, rtol=0.03)


@needs_kernel
def test_a_large_matrix_is_dequantised_in_pieces(monkeypatch):
    monkeypatch.setattr(fourbit, "_PIECE_BYTES", 128 * 2 * 32)
    one = layer()
    given = torch.randn(5, 128, dtype=torch.bfloat16)
    product = packed([one])
    assert len(list(product._pieces())) == 3
    torch.testing.assert_close(
        product.dense(given).float(), given.float() @ dequantised(one).T, atol=0.25, rtol=0.03
    )


@needs_kernel
@pytest.mark.parametrize("spare", [0, 1 << 30])
def test_the_dense_product_is_taken_where_it_is_quicker(monkeypatch, spare):
    products = [packed([layer()]) for _ in range(2)]
    monkeypatch.setattr(fourbit, "crossing", lambda inputs, few, many: 7)
    assert fourbit.calibrate(products, spare) == 7
    assert [product.many for product in products] == [7, 7]
    for product in products:
        product(torch.ones(7, 128, dtype=torch.bfloat16))
    assert [bool(product.parts) for product in products] == [not spare] * 2


@pytest.fixture(scope="module")
def tiny(tiny_model):
    """The tiny model with NF4 layers, on which every pass starts from a copy."""
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    _quantise(model, "cpu", lambda text, done: None)
    return model.eval()


def logits(model, tokens):
    with torch.inference_mode():
        return model(torch.tensor([tokens])).logits.float()


def lane_logits(model, tokens):
    if not isinstance(model, lean.LeanModel):
        attention.install(model)
    with torch.inference_mode():
        reading = Reading(Lanes(2), len(tokens), "cpu")
        given = torch.tensor([tokens])
        output = model(given, position_ids=reading.positions, use_cache=False, reading=reading)
    return output.logits.float()


TOKENS = [(7 * i * i + i) % 250 + 3 for i in range(40)]


@needs_kernel
@pytest.mark.parametrize("count", [1, 4, 40])
def test_lean_layers_compute_what_transformers_does(tiny, count):
    ours = lean.lean(copy.deepcopy(tiny))
    assert ours is not None
    expected = logits(copy.deepcopy(tiny), TOKENS[:count])
    got = lane_logits(ours, TOKENS[:count])
    assert torch.corrcoef(torch.stack([expected.flatten(), got.flatten()]))[0, 1] > 0.999


SHARED = {
    **TINY,
    "vocab_size": 259,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
}
SHAPES = {
    "biases": transformers.LlamaConfig(**SHARED, attention_bias=True, mlp_bias=True),
    "wide heads": transformers.LlamaConfig(**SHARED, head_dim=32),
    "no shared heads": transformers.LlamaConfig(**SHARED | {"num_key_value_heads": 4}),
    "linear": transformers.LlamaConfig(
        **SHARED, rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 1e5}
    ),
    "yarn": transformers.LlamaConfig(
        **SHARED,
        rope_parameters={
            "rope_type": "yarn",
            "factor": 4.0,
            "rope_theta": 1e4,
            "original_max_position_embeddings": 64,
        },
    ),
    "llama3": transformers.LlamaConfig(
        **SHARED,
        rope_parameters={
            "rope_type": "llama3",
            "factor": 8.0,
            "rope_theta": 5e5,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    ),
    "a window": transformers.Qwen2Config(
        **SHARED,
        use_sliding_window=True,
        sliding_window=10,
        layer_types=["full_attention", "sliding_attention"],
    ),
}


@needs_kernel
@pytest.mark.parametrize("shape", SHAPES)
def test_lean_models_of_every_shape(shape):
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(SHAPES[shape], dtype=torch.bfloat16)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # they are made as zeros
            torch.nn.init.normal_(parameter.data)
    _quantise(model.eval(), "cpu", lambda text, done: None)
    expected = logits(copy.deepcopy(model), TOKENS)
    ours = lean.lean(model)
    assert ours is not None
    both = torch.stack([expected.flatten(), lane_logits(ours, TOKENS).flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.999


@needs_kernel
def test_models_of_another_shape_keep_their_layers(tiny):
    activation, special, rotary, head = (copy.deepcopy(tiny) for _ in range(4))
    activation.model.layers[0].mlp.act_fn = torch.nn.GELU()
    special.model.layers[1].__class__ = type("SpecialLayer", (type(special.model.layers[1]),), {})
    rotary.model.rotary_emb.rope_type = "dynamic"
    head.__class__ = type("SpecialForCausalLM", (type(head),), {})
    for ours in (activation, special, rotary, head):
        assert lean.lean(ours) is None
        assert layers.install(ours) == 14
        assert lane_logits(ours, TOKENS[:3]).shape == (1, 3, 259)


def test_without_the_kernel_weights_are_held_dense(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(fourbit, "is_available", lambda: False)
    expected = logits(copy.deepcopy(tiny), TOKENS)
    for bf16 in (True, False):
        monkeypatch.setattr(cpu, "_multiplies_bf16", lambda bf16=bf16: bf16)
        ours = copy.deepcopy(tiny)
        cpu.prepare(ours, tmp_path)
        assert not any(isinstance(module, bnb.nn.Linear4bit) for module in ours.modules())
        assert ours.dtype == (torch.bfloat16 if bf16 else torch.float32)
        assert ours.model.rotary_emb.inv_freq.dtype == torch.float32
        got = lane_logits(ours, TOKENS)
        assert torch.corrcoef(torch.stack([expected.flatten(), got.flatten()]))[0, 1] > 0.99
    monkeypatch.setattr(cpu, "_spare_bytes", lambda *given: 0)
    ours = copy.deepcopy(tiny)
    cpu.prepare(ours, tmp_path)
    assert any(isinstance(module, bnb.nn.Linear4bit) for module in ours.modules())


@needs_kernel
@pytest.mark.parametrize("vocabulary", [259, 6400])
def test_the_likely_tokens_have_exact_logits(tmp_path, vocabulary):
    torch.manual_seed(3)
    weight = torch.randn(vocabulary, 64, dtype=torch.bfloat16)
    net = torch.nn.Linear(64, vocabulary, bias=False, dtype=torch.bfloat16)
    net.weight = torch.nn.Parameter(weight, requires_grad=False)

    class Model(torch.nn.Module):
        def get_output_embeddings(self):
            return net

        def set_output_embeddings(self, new):
            self.new = new

    model = Model()
    assert head.install(model, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["output-layer.safetensors"]
    hidden = torch.randn(2, 3, 64, dtype=torch.bfloat16)
    expected = hidden.float() @ weight.float().T
    model.new._many = 100
    got = model.new(hidden)
    assert got.shape == expected.shape
    best = expected.topk(8, dim=-1)
    torch.testing.assert_close(got.gather(-1, best.indices), best.values)
    assert torch.equal(got.argmax(-1), expected.argmax(-1))
    # And it is found again.
    again = Model()
    assert head.install(again, tmp_path)
    again.new._many = 100
    assert torch.equal(again.new(hidden), got)
    model.new._many = 1
    torch.testing.assert_close(model.new(hidden), expected, atol=0.3, rtol=0.02)


@needs_kernel
def test_a_kept_copy_of_another_model_is_made_anew(tmp_path):
    (tmp_path / "output-layer.safetensors").write_bytes(b"half")
    assert head._kept(tmp_path / "output-layer.safetensors", torch.Size([259, 64])) is None
    head._keep(
        head.quantised_output(torch.randn(320, 64).bfloat16()),
        tmp_path / "output-layer.safetensors",
    )
    assert head._kept(tmp_path / "output-layer.safetensors", torch.Size([259, 64])) is None
    assert head._kept(tmp_path / "output-layer.safetensors", torch.Size([300, 64])) is not None
    # A folder that is not there is no reason to fail.
    head._keep(head.quantised_output(torch.randn(320, 64).bfloat16()), tmp_path / "gone" / "x")


@pytest.mark.parametrize("vocabulary", [5, 64, 259, 6401, 64 * 100])
@pytest.mark.parametrize("count", [1, 16, 64])
def test_the_largest_logits(vocabulary, count):
    torch.manual_seed(vocabulary)
    values = torch.randn(2, 3, vocabulary)
    expected = values.topk(min(count, vocabulary), dim=-1)
    got = top(values, count)
    assert torch.equal(got.values.sort(dim=-1, descending=True).values, expected.values)
    assert torch.equal(values.gather(-1, got.indices), got.values)
