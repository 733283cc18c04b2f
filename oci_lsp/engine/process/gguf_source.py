"""Loads GGUF files: dequantised, with the vocabulary parsed once instead of three times."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

# Two quantisations of one matrix differ by less; two matrices by far more.
_SAME_MATRIX = 0.2


def load(path: Path) -> tuple[Any, Any]:
    """The model of a GGUF file in bf16 on the CPU, and its tokenizer."""
    with _one_reader():
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        model = AutoModelForCausalLM.from_pretrained(
            path.parent,
            gguf_file=path.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    _tie(model)
    return model, tokenizer


def _tie(model: Any) -> None:
    """Make input and output embeddings one where the file holds one matrix in two precisions.

    llama.cpp's tools store a tied model's output matrix a second time, more precisely; the more
    precise one then serves both ends.
    """
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or head.weight is embeddings.weight:
        return
    if head.weight.shape != embeddings.weight.shape:
        return
    sample = slice(0, None, max(1, head.weight.shape[0] // 4096))
    ours, theirs = head.weight[sample].float(), embeddings.weight[sample].float()
    if (ours - theirs).abs().mean() > _SAME_MATRIX * ours.abs().mean():
        return
    embeddings.weight = head.weight
    model.config.tie_word_embeddings = True


@contextlib.contextmanager
def _one_reader() -> Iterator[None]:
    """Lets transformers share one reader of the file while the context lasts.

    It parses the file anew for the configuration, the tokenizer and the tensors, and through
    numpy's memmap class, whose indexing is slow: together two thirds of the loading time.
    """
    original: Any = gguf.GGUFReader

    class Reader(original):  # type: ignore[misc]
        @property
        def data(self) -> Any:
            return self._plain

        @data.setter
        def data(self, mapped: Any) -> None:
            self._plain = np.asarray(mapped)

    @functools.cache
    def shared(path: Any, mode: str = "r") -> Any:
        return Reader(path, mode)

    gguf.GGUFReader = shared
    try:
        yield
    finally:
        gguf.GGUFReader = original
        shared.cache_clear()
