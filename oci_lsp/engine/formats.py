"""Chat formats of the model families: what stands for a tokenizer's own template, and ends a turn.

Templates are data files in templates/, rendered by transformers with `messages`,
`add_generation_prompt` and the tokenizer's `bos_token` and `eos_token`. They join neighbouring
messages of one role, which happen where a conversation goes on after a failure.
"""

from __future__ import annotations

import logging
from collections.abc import Container
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from oci_lsp.engine import catalogue
from oci_lsp.errors import ModelError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Format:
    """How a family of models is talked to.

    Attributes:
        name: as in the catalogue, and of its template.
        stop: tokens that end a turn.
        model_types: architectures (`model_type` of config.json) of the family.
        marks: tokens that, with the architecture, tell the family by its vocabulary; empty: nothing
            tells it, only the catalogue knows.
    """

    name: str
    stop: tuple[str, ...]
    model_types: tuple[str, ...]
    marks: tuple[str, ...]

    @property
    def template(self) -> str:
        """The Jinja template of a conversation."""
        folder = resources.files("oci_lsp.engine").joinpath("templates")
        return folder.joinpath(f"{self.name}.j2").read_text("utf-8")


FORMATS = (
    Format("deepseek-coder", ("<|EOT|>", "<｜end▁of▁sentence｜>"), ("llama",), ("<|EOT|>",)),
    # The 70B too. CodeLlama's own 70B-Instruct has another format, with a context of 4096 tokens;
    # OpenCodeInterpreter's has the 16384 of the 70B base model, which has no format of its own.
    # The marks are those of CodeLlama's vocabulary for filling in: "[INST]" is no token there.
    Format("codellama", ("</s>",), ("llama",), ("▁<PRE>", "▁<SUF>", "▁<MID>")),
    Format("gemma", ("<end_of_turn>", "<eos>"), ("gemma",), ("<start_of_turn>", "<end_of_turn>")),
    # An instructed StarCoder2 has no token that the base model has not.
    Format("starcoder2", ("<|endoftext|>",), ("starcoder2",), ()),
    Format(
        "qwen2",
        ("<|im_end|>", "<|endoftext|>"),
        ("qwen2",),
        ("<|im_start|>", "<|im_end|>"),
    ),
)


def find(name: str, model_type: str, vocabulary: Container[str]) -> Format | None:
    """The format of a model: the catalogue's word, else by architecture and vocabulary.

    Args:
        name: the model's, in the catalogue or not.
        model_type: its architecture, as config.json calls it.
        vocabulary: the tokens that its tokenizer has.
    """
    if entry := catalogue.find(name):
        return next(known for known in FORMATS if known.name == entry.chat)
    for known in FORMATS:
        marked = known.marks and all(mark in vocabulary for mark in known.marks)
        if marked and model_type in known.model_types:
            return known
    return None


def complete(tokenizer: Any, name: str, model_type: str, source: Path) -> None:
    """Give a tokenizer without a chat template that of its family.

    Args:
        tokenizer: transformers'.
        name: the model's, in the catalogue or not.
        model_type: its architecture, as config.json calls it.
        source: where the model lies, for messages.

    Raises:
        ModelError: it has none, and the family cannot be told.
    """
    if getattr(tokenizer, "chat_template", None):
        return
    found = find(name, model_type, tokenizer.get_vocab())
    if found is None:
        raise ModelError(
            f"The model at {source} has no chat template, so it cannot be talked to",
            "Take an instruction-tuned model: base models are of no use here. If it is one, put "
            "its template into its folder as chat_template.jinja.",
        )
    log.warning("%s has no chat template: that of %s is used", source, found.name)
    tokenizer.chat_template = found.template
