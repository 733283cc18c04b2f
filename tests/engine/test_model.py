"""Loading: quantised once, saved whole, loaded from there; what is no model says so."""

from __future__ import annotations

import json
import struct

import pytest
import torch
import transformers
from safetensors.torch import load_file

from oci_lsp.engine import catalogue
from oci_lsp.engine.process import fourbit, gguf_source, head, model
from oci_lsp.engine.process.attention import Reading
from oci_lsp.engine.process.decode import Decoder
from oci_lsp.engine.process.generation import Counts, Generation, Sampling
from oci_lsp.engine.process.kv import Lanes
from oci_lsp.errors import ModelError
from tests.engine.conftest import TINY, make_tiny_gguf, make_tiny_model, make_tokenizer


def logits(loaded):
    # From how many rows another product is taken is measured, and the two round otherwise.
    for module in loaded.model.modules():
        if isinstance(module, fourbit.PackedLinear):
            module.many = 1000
        elif isinstance(module, head.ShortlistHead):
            module._many = 1
    with torch.inference_mode():
        reading = Reading(Lanes(2), 5, "cpu")
        given = torch.tensor([[5, 6, 7, 8, 9]])
        return loaded.model(given, position_ids=reading.positions, reading=reading).logits


def silent(_text, _fraction):
    pass


def test_quantised_once_and_loaded_from_there(tiny_model, tmp_path):
    saved = tmp_path / "nf4" / "tiny"
    told = []
    first = model.load(tiny_model, saved, "cpu", lambda text, at: told.append((text, at)))
    assert any("Quantising" in text for text, _ in told)
    assert catalogue.nf4_is_whole(saved)
    assert sorted(p.name for p in saved.parent.iterdir()) == ["tiny"]
    # The source is not needed any more.
    second = model.load(tmp_path / "gone", saved, "cpu", silent)
    assert torch.equal(logits(first), logits(second))
    assert second.stop_tokens == first.stop_tokens
    assert second.context == 2048
    assert first.tokenizer("grüße")["input_ids"] == second.tokenizer("grüße")["input_ids"]


def test_nf4_is_close_to_the_original(tiny_model, tmp_path):
    original = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    ours = model.load(tiny_model, tmp_path / "nf4", "cpu", silent)
    with torch.inference_mode():
        wanted = original(torch.tensor([[5, 6, 7, 8, 9]])).logits
    got = logits(ours).float()
    assert torch.corrcoef(torch.stack([wanted.flatten(), got.flatten()]))[0, 1] > 0.8


def test_end_of_turn_tokens_are_found(tiny_model, tmp_path):
    loaded = model.load(tiny_model, tmp_path / "nf4", "cpu", silent)
    # <|endoftext|> and <|im_end|>, not <|im_start|>.
    assert loaded.stop_tokens == {0, 2}


def test_half_saved_weights_are_made_anew(tiny_model, tmp_path):
    saved = tmp_path / "nf4"
    saved.mkdir()
    (saved / "model.safetensors").write_bytes(b"half")
    loaded = model.load(tiny_model, saved, "cpu", silent)
    assert catalogue.nf4_is_whole(saved)
    assert torch.equal(logits(loaded), logits(model.load(tiny_model, saved, "cpu", silent)))


def test_quantising_in_place_gives_what_loading_gives(tiny_model, tmp_path):
    """The way that GGUF files take, against the one that safetensors take."""
    model.load(tiny_model, tmp_path / "nf4", "cpu", silent)
    plain = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    skipped = model._quantise(plain, "cpu", silent)
    assert skipped == ["lm_head"]
    saved = load_file(tmp_path / "nf4" / "model.safetensors")
    ours = plain.state_dict()
    assert saved.keys() == ours.keys() - {"lm_head.weight"}
    assert all(torch.equal(saved[name], ours[name]) for name in saved)


@pytest.mark.parametrize("noise", [0.0, 0.02, 3.0])
def test_one_matrix_in_two_precisions_is_tied(tiny_model, noise):
    net = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    net.config.tie_word_embeddings = False
    precise = net.model.embed_tokens.weight.detach().clone()
    net.lm_head.weight = torch.nn.Parameter(precise)
    net.model.embed_tokens.weight = torch.nn.Parameter(
        precise + noise * precise.abs().mean() * torch.randn_like(precise)
    )
    gguf_source._tie(net)
    tied = net.model.embed_tokens.weight is net.lm_head.weight
    assert tied == (noise < 1)
    assert net.config.tie_word_embeddings == tied


def test_a_base_model_without_a_chat_template(tmp_path):
    folder = make_tiny_model(tmp_path / "base", template=False)
    make_tokenizer(["<unk>", "<s>", "</s>"], eos_token="</s>").save_pretrained(folder)
    with pytest.raises(ModelError, match="no chat template"):
        model.load(folder, tmp_path / "nf4", "cpu", silent)


def test_a_gguf_file_without_a_chat_template(tiny_model, tmp_path):
    file = make_tiny_gguf(tiny_model, tmp_path / "tiny.gguf")
    loaded = model.load(file, tmp_path / "nf4", "cpu", silent)
    assert "<|im_start|>" in loaded.tokenizer.chat_template
    # <|endoftext|>, which the file does not name, and <|im_end|>.
    assert loaded.stop_tokens == {0, 2}
    ours = model.load(tiny_model, tmp_path / "ours", "cpu", silent)
    compared = torch.stack([logits(loaded).flatten(), logits(ours).flatten()])
    assert torch.corrcoef(compared)[0, 1] > 0.99


def generated(loaded):
    """How many tokens a greedy reply has that nothing ends."""
    decoder = Decoder(
        loaded.model, loaded.tokenizer, stop_tokens=frozenset(), context=loaded.context
    )
    counts = Counts()
    generation = Generation(prompt=[5, 6, 7, 8, 9], rows=[Sampling()], max_tokens=8)
    list(decoder.generate(generation, lambda: False, counts))
    return counts.completion_tokens


def test_a_checkpoint_in_nf4_is_loaded_as_it_is(tiny_model, tmp_path):
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tiny_model,
        quantization_config=transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        ),
        dtype=torch.bfloat16,
        device_map={"": "cpu"},
    )
    checkpoint = tmp_path / "checkpoint"
    theirs.save_pretrained(checkpoint)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(checkpoint)
    told = []
    loaded = model.load(
        checkpoint, tmp_path / "nf4", "cpu", lambda text, _fraction: told.append(text)
    )
    assert not any("Quantising" in text for text in told)
    assert not (tmp_path / "nf4").exists()
    ours = model.load(tiny_model, tmp_path / "ours", "cpu", silent)
    assert torch.equal(logits(loaded), logits(ours))
    assert generated(loaded) == 8


def as_pickle(folder, weights):
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")


def test_weights_that_come_pickled(tiny_model, tmp_path):
    source = make_tiny_model(tmp_path / "m")
    as_pickle(source, load_file(source / "model.safetensors"))
    ours = model.load(tiny_model, tmp_path / "ours", "cpu", silent)
    loaded = model.load(source, tmp_path / "nf4", "cpu", silent)
    assert torch.equal(logits(loaded), logits(ours))


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_what_a_pickle_says_is_not_done(tmp_path):
    source = make_tiny_model(tmp_path / "m")
    as_pickle(source, {"weight": Hostile(str(tmp_path / "touched"))})
    with pytest.raises(ModelError, match="cannot be loaded"):
        model.load(source, tmp_path / "nf4", "cpu", silent)
    assert not (tmp_path / "touched").exists()


def sentencepiece_model():
    """A vocabulary as CodeLlama's come, written by hand: special tokens, bytes and some letters."""

    def piece(text, score, kind):
        raw = text.encode()
        body = b"\x0a" + bytes([len(raw)]) + raw + b"\x15" + struct.pack("<f", score)
        body += b"\x18" + bytes([kind])
        return b"\x0a" + bytes([len(body)]) + body

    special = [piece(text, 0, kind) for text, kind in (("<unk>", 2), ("<s>", 3), ("</s>", 3))]
    octets = [piece(f"<0x{value:02X}>", 0, 6) for value in range(256)]
    letters = [piece(letter, -1.0 - index, 1) for index, letter in enumerate("▁abcdefgh")]
    byte_pairs = b"\x12\x02\x18\x02"
    return b"".join([*special, *octets, *letters, byte_pairs])


def make_codellama(folder):
    config = transformers.LlamaConfig(
        vocab_size=280,
        **TINY,
        max_position_embeddings=512,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "tokenizer.model").write_bytes(sentencepiece_model())
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "CodeLlamaTokenizer"}')
    return folder


def test_a_tokenizer_of_sentencepiece(tmp_path):
    pytest.importorskip("sentencepiece")
    loaded = model.load(make_codellama(tmp_path / "m"), tmp_path / "nf4", "cpu", silent)
    text = loaded.tokenizer.apply_chat_template(
        [{"role": "user", "content": "abc"}], tokenize=False
    )
    assert text == "<s>[INST] abc [/INST]"
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids[0] == 1
    assert loaded.tokenizer.decode(ids, skip_special_tokens=True).strip() == "[INST] abc [/INST]"
    assert 2 in loaded.stop_tokens


def test_a_tokenizer_whose_library_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(model, "is_sentencepiece_available", lambda: False)
    with pytest.raises(ModelError, match="needs sentencepiece") as caught:
        model.load(make_codellama(tmp_path / "m"), tmp_path / "nf4", "cpu", silent)
    assert "pip install sentencepiece protobuf" in caught.value.advice


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_a_checkpoint_in_another_4_bit_form_says_what_to_take(tmp_path, method):
    source = make_tiny_model(tmp_path / "m")
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = {"quant_method": method, "bits": 4, "group_size": 128}
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=f"quantised with {method}") as caught:
        model.load(source, tmp_path / "nf4", "cpu", silent)
    assert "bitsandbytes" in caught.value.advice
    assert "GGUF" in caught.value.advice


@pytest.mark.parametrize("fault", ["weights", "config", "architecture", "gguf"])
def test_what_is_no_model(tmp_path, fault):
    source = make_tiny_model(tmp_path / "m")
    if fault == "weights":
        (source / "model.safetensors").write_bytes(b"\0" * 100)
    elif fault == "config":
        (source / "config.json").write_text("{")
    elif fault == "architecture":
        config = json.loads((source / "config.json").read_text())
        (source / "config.json").write_text(json.dumps(config | {"model_type": "unheard-of"}))
    else:
        source = tmp_path / "x.gguf"
        source.write_bytes(b"no GGUF at all")
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        model.load(source, tmp_path / "nf4", "cpu", silent)
    assert str(source) in caught.value.message
    assert not (tmp_path / "nf4").exists()
