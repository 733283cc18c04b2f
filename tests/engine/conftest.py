"""A tiny model with random weights, made anew for the tests of the engine, and private folders."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer(special, **options):
    """A byte-level tokenizer: the special tokens, then one token per byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(
        models.BPE(
            vocab={text: index for index, text in enumerate([*special, *letters])}, merges=[]
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, additional_special_tokens=list(special), **options
    )


def make_tiny_model(
    folder: Path, *, seed: int = 0, context: int = 2048, template: bool = True
) -> Path:
    """Save a Qwen2 of two layers and a byte-level tokenizer to a folder."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    fast = make_tokenizer(special, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    if template:
        fast.chat_template = CHAT_TEMPLATE
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        eos_token_id=2,
        pad_token_id=0,
        bos_token_id=None,
        tie_word_embeddings=True,
        initializer_range=0.3,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A folder as on the hub: config.json, safetensors, tokenizer."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny-coder")


@pytest.fixture
def own_folders(monkeypatch):
    """Cache and runtime folders of the test alone, with paths short enough for a socket."""
    root = Path(tempfile.mkdtemp(prefix="oci-"))
    monkeypatch.setenv("OCI_LSP_CACHE_DIR", str(root / "cache"))
    monkeypatch.setenv("OCI_LSP_RUNTIME_DIR", str(root / "run"))
    monkeypatch.setenv("HF_HUB_CACHE", str(root / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield root
    shutil.rmtree(root)
