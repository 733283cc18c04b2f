"""Loads a model in NF4: quantised once from its source and saved, from the saved weights after."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils import is_protobuf_available, is_sentencepiece_available

from oci_lsp.engine import formats
from oci_lsp.engine.catalogue import nf4_is_whole, nf4_manifest
from oci_lsp.engine.process import attention, cpu
from oci_lsp.engine.process.kv import CACHE_BYTES
from oci_lsp.engine.process.lean import LeanModel
from oci_lsp.engine.process.measured import Measured
from oci_lsp.errors import ModelError

Report = Callable[[str, float], None]
"""Told what is going on, and the fraction done (0..1)."""

# Ends of a turn in the chat formats of the catalogue and of Llama 3; not every configuration names
# its own.
_TURN_ENDS = {"<|eot_id|>"}.union(*(known.stop for known in formats.FORMATS))
_DEFAULT_CONTEXT = 4096
_CACHE_SHARE = 8
# bitsandbytes lays weights out for AVX-512 in blocks of this many rows and columns; matrices that
# do not divide into them stay in bf16 everywhere, so that saved weights run on any device.
_ROWS, _COLUMNS = 32, 64


@dataclass(frozen=True)
class Loaded:
    """A model ready to generate; `context` in tokens.

    `cache_bytes`: what keys and values of earlier conversations may take; `measured`: of this
    machine, for this model.
    """

    model: Any
    tokenizer: Any
    stop_tokens: frozenset[int]
    context: int
    cache_bytes: int = CACHE_BYTES
    measured: Measured = field(default_factory=Measured)


def load(
    source: Path,
    nf4_dir: Path,
    device: str,
    report: Report,
    *,
    memory: int = 0,
    shortcuts: cpu.Shortcuts = cpu.ALL,
) -> Loaded:
    """Load a model onto a device ("cuda" or "cpu").

    Args:
        source: a GGUF file, or a folder with config.json and safetensors; may be `nf4_dir` itself.
        nf4_dir: where its NF4 weights are, or are saved to be loaded from the next time.
        device: where it runs.
        report: told of the progress.
        memory: bytes that all of it may take; 0: no limit.
        shortcuts: what is done in another way than transformers does, on a CPU.

    Raises:
        ModelError: the source cannot be read, or the device has not enough memory.
    """
    if memory and device == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, memory / total))
    try:
        if nf4_is_whole(nf4_dir):
            report("Loading the 4-bit weights", 0.1)
            model = cpu.kept(nf4_dir, shortcuts) if device == "cpu" else None
            if model is None:
                model, tokenizer = from_folder(nf4_dir, device, quantise=False)
            else:
                tokenizer = AutoTokenizer.from_pretrained(nf4_dir)
        elif source.is_file():
            model, tokenizer = _from_gguf(source, device, report)
            _save(model, tokenizer, nf4_dir, source, report)
        else:
            prepared = _is_quantised(source)
            report("Loading" if prepared else "Quantising the weights to 4 bits (once)", 0.1)
            model, tokenizer = from_folder(source, device, quantise=not prepared)
            if not prepared:
                _save(model, tokenizer, nf4_dir, source, report)
    except ModelError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise ModelError(
                f"The {device} has not enough free memory for this model",
                "Close what else uses it, take a smaller model (`oci-lsp model list`), or set "
                "engine.device to cpu.",
            ) from error
        # Damaged files fail in as many ways as there are libraries that read them.
        raise ModelError(
            f"The model at {source} cannot be loaded: {type(error).__name__}: {error}",
            "Check that it is a causal language model that transformers knows; "
            "`oci-lsp model remove` and another pull replace a damaged copy.",
        ) from error
    model.eval()
    model.requires_grad_(requires_grad=False)
    measured = Measured()
    if not isinstance(model, LeanModel):
        attention.install(model)
    if model.device.type == "cpu":
        report("Laying the weights out for this CPU", 0.8)
        measured = Measured(nf4_dir)
        model = cpu.prepare(model, nf4_dir, memory, shortcuts, measured)
    # The NF4 folder of a model of the catalogue has its name.
    formats.complete(tokenizer, nf4_dir.name, model.config.model_type, source)
    config = model.config.get_text_config(decoder=True)
    context = getattr(config, "max_position_embeddings", None) or _DEFAULT_CONTEXT
    return Loaded(
        model,
        tokenizer,
        stop_tokens(model, tokenizer),
        int(context),
        min(CACHE_BYTES, memory // _CACHE_SHARE) if memory else CACHE_BYTES,
        measured,
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on either device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # On the CPU torch has no class for it.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def from_folder(folder: Path, device: str, *, quantise: bool) -> tuple[Any, Any]:
    """Model and tokenizer of a folder as transformers loads them, quantised to NF4 if asked to.

    Raises:
        ModelError: a library is missing that reads its tokenizer.
    """
    _require_sentencepiece(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    options: dict[str, Any] = {"dtype": torch.bfloat16, "device_map": {"": device}}
    if quantise:
        options["quantization_config"] = _nf4_config(_unsuitable(folder))
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **options)
    return model, tokenizer


def _require_sentencepiece(folder: Path) -> None:
    # transformers then asks for another library, which does not help.
    alone = (folder / "tokenizer.model").is_file() and not (folder / "tokenizer.json").is_file()
    if alone and not (is_sentencepiece_available() and is_protobuf_available()):
        raise ModelError(
            f"The tokenizer of the model at {folder} needs sentencepiece and protobuf",
            "Install them with: pip install sentencepiece protobuf",
        )


def _from_gguf(path: Path, device: str, report: Report) -> tuple[Any, Any]:
    from oci_lsp.engine.process import gguf_source

    report("Reading the GGUF file (once)", 0.05)
    model, tokenizer = gguf_source.load(path)
    report("Quantising the weights to 4 bits (once)", 0.5)
    skipped = _quantise(model, device, report)
    model.config.quantization_config = _nf4_config(skipped)
    return model.to(device), tokenizer


def _nf4_config(skipped: list[str]) -> BitsAndBytesConfig:
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=skipped,
    )


def _suits(layer: nn.Linear) -> bool:
    return layer.out_features % _ROWS == 0 and layer.in_features % _COLUMNS == 0


def _keeps_precision(name: str, layer: nn.Linear, head: Any) -> bool:
    """Whether a linear layer stays in bf16: the output embeddings, and shapes that do not suit."""
    return layer is head or name.endswith("lm_head") or not _suits(layer)


def _unsuitable(folder: Path) -> list[str]:
    """Names of the linear layers of a model folder that stay in bf16."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    return _precise_layers(model)


def _precise_layers(model: Any) -> list[str]:
    head = model.get_output_embeddings()
    return [
        name
        for name, layer in model.named_modules()
        if type(layer) is nn.Linear and _keeps_precision(name, layer, head)
    ]


def _quantise(model: Any, device: str, report: Report) -> list[str]:
    """Replace the linear layers by NF4 ones, one at a time; the names of those that stay."""
    from oci_lsp.engine.process.layers import quantised

    skipped = _precise_layers(model)
    wanted = [
        name
        for name, layer in model.named_modules()
        if type(layer) is nn.Linear and name not in skipped
    ]
    for done, name in enumerate(wanted):
        layer = model.get_submodule(name)
        model.set_submodule(name, quantised(layer.weight.data, layer.bias, device))
        report("Quantising the weights to 4 bits (once)", 0.5 + 0.3 * done / len(wanted))
    return skipped


def _save(model: Any, tokenizer: Any, nf4_dir: Path, source: Path, report: Report) -> None:
    """Save NF4 weights so that the folder appears whole or not at all.

    Must come before the first forward pass, which lays the weights out for the CPU at hand.
    """
    report("Saving the 4-bit weights (once)", 0.85)
    nf4_dir.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=nf4_dir.parent))
    try:
        state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        if model.config.tie_word_embeddings:
            for name in getattr(model, "_tied_weights_keys", None) or ():
                state.pop(name, None)
        save_file(state, partial / "model.safetensors", metadata={"format": "pt"})
        # A configuration that came out of a GGUF file names no class; other tools want one.
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(partial)
        if model.generation_config is not None:
            model.generation_config.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        name, text = nf4_manifest(str(source))
        (partial / name).write_text(text, "utf-8")
        for file in partial.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        if not nf4_is_whole(nf4_dir):
            # What lies there is of an older format, or not whole.
            shutil.rmtree(nf4_dir, ignore_errors=True)
        try:
            partial.rename(nf4_dir)
        except OSError:
            # Another engine was faster: its weights are as good.
            if not nf4_is_whole(nf4_dir):
                raise
    except OSError as error:
        raise ModelError(
            f"The 4-bit weights cannot be saved in {nf4_dir}: {error}",
            "Free some space, or point OCI_LSP_CACHE_DIR to another disk.",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_quantised(folder: Path) -> bool:
    """Whether a model folder holds bitsandbytes' weights already.

    Raises:
        ModelError: they are quantised in another way.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    given = getattr(config, "quantization_config", None)
    if given is None:
        return False
    method = (given if isinstance(given, dict) else given.to_dict()).get("quant_method")
    if method not in (None, "bitsandbytes"):
        raise ModelError(
            f"The model at {folder} is quantised with {method}, which this engine does not read",
            "Take the model that it was made from (it is quantised to NF4 here, once), or one that "
            "was quantised with bitsandbytes, or a GGUF file.",
        )
    return True


def stop_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends a turn."""
    found: set[int] = set()
    for config in (model.config, getattr(model, "generation_config", None), tokenizer):
        ids = getattr(config, "eos_token_id", None)
        found.update([ids] if isinstance(ids, int) else ids or [])
    special = set(tokenizer.all_special_tokens) | set(
        getattr(tokenizer, "added_tokens_encoder", {}) or {}
    )
    for token in _TURN_ENDS:
        if token in special:
            found.add(int(tokenizer.convert_tokens_to_ids(token)))
    return frozenset(found)
