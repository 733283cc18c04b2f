"""Chat formats: what a conversation reads like, which family a model is of, what ends its turns."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import transformers

from oci_lsp.engine import catalogue, formats
from oci_lsp.engine.formats import FORMATS
from oci_lsp.engine.process import model
from oci_lsp.engine.process.attention import Reading
from oci_lsp.engine.process.kv import Lanes
from oci_lsp.errors import ModelError
from tests.engine.conftest import TINY, make_tokenizer

NAMES = [known.name for known in FORMATS]
# Beginning and end of a text, as the families call them.
ENDS = {
    "deepseek-coder": ("<｜begin▁of▁sentence｜>", "<|EOT|>"),
    "codellama": ("<s>", "</s>"),
    "gemma": ("<bos>", "<eos>"),
    "starcoder2": ("<|endoftext|>", "<|endoftext|>"),
    "qwen2": (None, "<|im_end|>"),
}
CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Fix it."},
    {"role": "assistant", "content": "x = 1"},
    {"role": "user", "content": "Again."},
]
EXPECTED = {
    "deepseek-coder": "<｜begin▁of▁sentence｜>Be brief.\n### Instruction:\nFix it.\n"
    "### Response:\nx = 1\n<|EOT|>\n### Instruction:\nAgain.\n### Response:\n",
    "codellama": "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nFix it. [/INST] x = 1 </s>"
    "<s>[INST] Again. [/INST]",
    "gemma": "<bos><start_of_turn>user\nBe brief.\n\nFix it.<end_of_turn>\n"
    "<start_of_turn>model\nx = 1<end_of_turn>\n<start_of_turn>user\nAgain.<end_of_turn>\n"
    "<start_of_turn>model\n",
    "starcoder2": "<|endoftext|>Be brief.\n\n### Instruction\nFix it.\n\n"
    "### Response\nx = 1<|endoftext|>\n\n### Instruction\nAgain.\n\n### Response\n",
    "qwen2": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nFix it.<|im_end|>\n"
    "<|im_start|>assistant\nx = 1<|im_end|>\n<|im_start|>user\nAgain.<|im_end|>\n"
    "<|im_start|>assistant\n",
}
# What comes before the first user's text where there is no system message.
OPENINGS = {
    "deepseek-coder": "<｜begin▁of▁sentence｜>You are an AI programming assistant",
    "codellama": "<s>[INST] Hi",
    "gemma": "<bos><start_of_turn>user\nHi",
    "starcoder2": "<|endoftext|>You are an exceptionally intelligent coding assistant",
    "qwen2": "<|im_start|>system\nYou are Qwen",
}
CONFIGS = {
    "deepseek-coder": transformers.LlamaConfig,
    "codellama": transformers.LlamaConfig,
    "gemma": transformers.GemmaConfig,
    "starcoder2": transformers.Starcoder2Config,
    "qwen2": transformers.Qwen2Config,
}


def named(name):
    return next(known for known in FORMATS if known.name == name)


def tokenizer_of(name, *, eos=True):
    """A tokenizer with the family's tokens, and without a template."""
    known = named(name)
    begin, end = ENDS[name]
    special = dict.fromkeys([*([begin] if begin else []), *known.stop, *known.marks])
    options = {"bos_token": begin} if begin else {}
    return make_tokenizer(special, **options, **({"eos_token": end} if eos else {}))


def rendered(name, messages, *, reply=True):
    tokenizer = tokenizer_of(name)
    tokenizer.chat_template = named(name).template
    return tokenizer.apply_chat_template(messages, add_generation_prompt=reply, tokenize=False)


@pytest.mark.parametrize("name", NAMES)
def test_a_conversation(name):
    assert rendered(name, CONVERSATION) == EXPECTED[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_conversation_without_a_reply_to_come(name):
    whole = rendered(name, CONVERSATION)
    shown = rendered(name, CONVERSATION, reply=False)
    assert whole.startswith(shown)
    assert shown.rstrip().endswith(("Again.", "Again. [/INST]", "<end_of_turn>", "<|im_end|>"))


@pytest.mark.parametrize("name", NAMES)
def test_without_a_system_message(name):
    text = rendered(name, [{"role": "user", "content": "Hi"}])
    assert text.startswith(OPENINGS[name])
    assert text.count("Hi") == 1
    assert "<<SYS>>" not in text


@pytest.mark.parametrize("name", NAMES)
def test_each_turn_adds_to_the_text_before(name):
    """What was read of a conversation's beginning is kept from turn to turn."""
    before = rendered(name, CONVERSATION[:2])
    assert rendered(name, CONVERSATION).startswith(before.rstrip())


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"qwen2"}))
def test_neighbours_of_one_role_are_one_turn(name):
    apart = [
        CONVERSATION[1],
        {"role": "user", "content": "Now."},
        CONVERSATION[2],
        {"role": "assistant", "content": "y = 2"},
        CONVERSATION[3],
    ]
    joined = [
        {"role": "user", "content": "Fix it.\n\nNow."},
        {"role": "assistant", "content": "x = 1\n\ny = 2"},
        CONVERSATION[3],
    ]
    assert rendered(name, apart) == rendered(name, joined)


@pytest.mark.parametrize("name", ["codellama", "gemma"])
@pytest.mark.parametrize("messages", [CONVERSATION[:1], CONVERSATION[2:]])
def test_a_format_that_begins_with_the_user_says_so(name, messages):
    with pytest.raises(Exception, match="begins with the user's message"):
        rendered(name, messages)


def test_every_model_of_the_catalogue_has_a_format():
    families = {"ds": "deepseek-coder", "cl": "codellama", "gm": "gemma", "sc2": "starcoder2"}
    for entry in catalogue.entries():
        found = formats.find(entry.hub, "unheard-of", ())
        assert found is not None
        family = entry.name.split("-")[1]
        assert found.name == families.get(family, "qwen2"), entry.name


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"starcoder2"}))
def test_the_family_is_told_by_architecture_and_vocabulary(name):
    vocabulary = tokenizer_of(name).get_vocab()
    found = formats.find("someone/model", CONFIGS[name].model_type, vocabulary)
    assert found is named(name)
    assert formats.find("someone/model", "unheard-of", vocabulary) is None
    assert formats.find("someone/model", CONFIGS[name].model_type, {"</s>": 2}) is None


def test_a_base_model_of_starcoder2_is_not_taken_for_an_instructed_one():
    vocabulary = tokenizer_of("starcoder2").get_vocab()
    assert formats.find("someone/model", "starcoder2", vocabulary) is None


def test_the_makers_own_template_stays(tmp_path):
    tokenizer = tokenizer_of("qwen2")
    tokenizer.chat_template = "{{ messages }}"
    formats.complete(tokenizer, "qwen2.5-coder-0.5b", "qwen2", tmp_path)
    assert tokenizer.chat_template == "{{ messages }}"


def test_a_family_that_cannot_be_told(tmp_path):
    with pytest.raises(ModelError, match="no chat template") as caught:
        formats.complete(make_tokenizer(["</s>"]), "someone/model", "llama", tmp_path)
    assert "chat_template.jinja" in caught.value.advice


@pytest.mark.parametrize("name", NAMES)
def test_the_ends_of_a_turn_are_found_where_no_configuration_names_them(name):
    tokenizer = tokenizer_of(name, eos=False)
    nameless = SimpleNamespace(config=SimpleNamespace(eos_token_id=None))
    found = model.stop_tokens(nameless, tokenizer)
    assert {tokenizer.convert_ids_to_tokens(token) for token in found} >= set(named(name).stop)


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_model_of_the_family_loads_and_reads(name, tmp_path):
    """Every architecture of the catalogue goes through the engine, under a catalogue's name."""
    tokenizer = tokenizer_of(name)
    config = CONFIGS[name](
        vocab_size=len(tokenizer),
        **TINY,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=0,
    )
    folder = tmp_path / "source"
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    entry = next(entry for entry in catalogue.entries() if entry.chat == name)
    loaded = model.load(folder, tmp_path / entry.name, "cpu", lambda _text, _at: None)
    prompt = loaded.tokenizer.apply_chat_template(CONVERSATION, add_generation_prompt=True)
    ids = prompt["input_ids"] if not isinstance(prompt, list) else prompt
    assert loaded.tokenizer.decode(ids) == EXPECTED[name]
    with torch.inference_mode():
        reading = Reading(Lanes(2), len(ids), "cpu")
        given = torch.tensor([ids])
        logits = loaded.model(given, position_ids=reading.positions, reading=reading).logits
    assert bool(logits.isfinite().all())
    assert loaded.context == 512
    # A second time from what was saved, which has no template either.
    again = model.load(folder, tmp_path / entry.name, "cpu", lambda _text, _at: None)
    assert again.tokenizer.chat_template == loaded.tokenizer.chat_template
