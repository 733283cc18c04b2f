"""A tiny model with random weights, made anew for the tests of the engine, and private folders."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
"""Sizes of every tiny model."""

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
    folder: Path,
    *,
    seed: int = 0,
    context: int = 2048,
    template: bool = True,
    tied: bool = True,
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
        **TINY,
        num_key_value_heads=2,
        max_position_embeddings=context,
        eos_token_id=2,
        pad_token_id=0,
        bos_token_id=None,
        tie_word_embeddings=tied,
        initializer_range=0.3,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def make_tiny_gguf(folder: Path, path: Path) -> Path:
    """The tiny model of a folder as a GGUF file, without a chat template."""
    import gguf
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config, vocabulary = model.config, AutoTokenizer.from_pretrained(folder).get_vocab()
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    # The format wants a merge, and what it gives.
    tokens[-1] = "ab"
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(vocabulary["<|im_end|>"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name != "lm_head.weight":
            writer.add_tensor(names.get_name(name, (".weight", ".bias")), tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A folder as on the hub: config.json, safetensors, tokenizer."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny-coder")


@pytest.fixture
def quiet(monkeypatch):
    """A machine on which nothing else runs: what is measured once holds for the next start."""
    from oci_lsp.engine.process import measured

    monkeypatch.setattr(measured.Moment, "is_quiet_since", lambda _moment: True)


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
