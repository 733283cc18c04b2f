"""The catalogue: sizes, names, and what `auto` takes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from oci_lsp.engine import catalogue, devices
from oci_lsp.engine.devices import GIB, Device
from oci_lsp.errors import EngineError, ModelError
from oci_lsp.settings import EngineSettings

CPU = Device("cpu", "CPU", 16 * GIB)
GPU = Device("cuda", "GPU", 24 * GIB)

# Parameters in billions, as the makers state them.
STATED = {
    "opencodeinterpreter-ds-1.3b": 1.35,
    "opencodeinterpreter-ds-6.7b": 6.74,
    "opencodeinterpreter-ds-33b": 33.3,
    "opencodeinterpreter-cl-7b": 6.74,
    "opencodeinterpreter-cl-13b": 13.0,
    "opencodeinterpreter-cl-34b": 33.7,
    "opencodeinterpreter-cl-70b": 69.0,
    "opencodeinterpreter-gm-7b": 8.54,
    "opencodeinterpreter-sc2-3b": 3.03,
    "opencodeinterpreter-sc2-7b": 7.17,
    "opencodeinterpreter-sc2-15b": 15.96,
    "qwen2.5-coder-0.5b": 0.49,
    "qwen2.5-coder-1.5b": 1.54,
    "qwen2.5-coder-3b": 3.09,
    "qwen2.5-coder-7b": 7.62,
    "qwen2.5-coder-14b": 14.8,
    "qwen2.5-coder-32b": 32.8,
}


def test_every_model_has_its_stated_size():
    assert {entry.name for entry in catalogue.entries()} == set(STATED)
    for entry in catalogue.entries():
        assert entry.parameters / 1e9 == pytest.approx(STATED[entry.name], rel=0.02), entry.name


def test_memory_is_about_half_a_byte_a_weight_and_embeddings_in_bf16():
    entry = catalogue.find("Qwen/Qwen2.5-Coder-7B-Instruct")
    assert entry is not None
    assert entry.nf4_bytes == pytest.approx(6.53e9 * 0.516 + 1.09e9 * 2, rel=0.01)
    assert entry.nf4_bytes < entry.memory_bytes("cuda") < 1.5 * entry.nf4_bytes


def test_a_cpu_holds_the_weights_twice():
    """The kernel's layout beside the plain one, and the output matrix in 4 bits."""
    entry = catalogue.find("qwen2.5-coder-1.5b")
    assert entry is not None
    more = entry.memory_bytes("cpu") - entry.memory_bytes("cuda")
    assert more == pytest.approx(1.31e9 * 0.578 + 0.233e9 * 0.531, rel=0.01)


def test_what_a_cpu_holds_of_a_layer_is_what_is_counted():
    torch = pytest.importorskip("torch")
    from oci_lsp.engine.process import layers

    product = layers.packed([layers.quantised(torch.randn(64, 128, dtype=torch.bfloat16))])
    held = [product.packed.weights, product.packed.scales, *product.parts[0]]
    counted = catalogue.NF4_BYTES + catalogue.PACKED_BYTES + catalogue.PLAIN_SCALES_BYTES
    assert sum(tensor.nbytes for tensor in held) == pytest.approx(64 * 128 * counted, rel=0.001)


@pytest.mark.parametrize(
    ("device", "local", "taken"),
    [
        (CPU, set(), "qwen2.5-coder-1.5b"),
        (Device("cpu", "small", 4 * GIB), set(), "qwen2.5-coder-0.5b"),
        (CPU, {"qwen2.5-coder-0.5b", "qwen2.5-coder-7b"}, "qwen2.5-coder-0.5b"),
        (CPU, {"qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"}, "qwen2.5-coder-1.5b"),
        (GPU, {"qwen2.5-coder-7b", "qwen2.5-coder-32b", "qwen2.5-coder-3b"}, "qwen2.5-coder-32b"),
        (
            Device("cuda", "GPU", 8 * GIB),
            {"qwen2.5-coder-7b", "qwen2.5-coder-32b", "opencodeinterpreter-ds-6.7b"},
            "qwen2.5-coder-7b",
        ),
    ],
)
def test_auto_takes_the_best_local_model_that_fits(device, local, taken):
    assert catalogue.choose(device, lambda entry: entry.name in local).name == taken


@pytest.mark.parametrize(
    ("device", "local", "words"),
    [
        (CPU, set(), "none is local yet"),
        (CPU, {"qwen2.5-coder-7b"}, "none of the local ones suits"),
        (CPU, {"qwen2.5-coder-0.5b"}, "the local one that fits (HumanEval+ 57 %)"),
        (CPU, {"qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"}, "the best of 2 local ones"),
        (CPU, {"qwen2.5-coder-0.5b", "qwen2.5-coder-3b"}, "qwen2.5-coder-3b is too slow here"),
        (CPU, {"qwen2.5-coder-0.5b", "qwen2.5-coder-32b"}, "qwen2.5-coder-32b is too large here"),
        (GPU, {"qwen2.5-coder-3b", "qwen2.5-coder-32b"}, "the best of 2 local ones"),
    ],
)
def test_auto_says_why(device, local, words):
    assert words in catalogue.why(device, lambda entry: entry.name in local)


def test_what_is_fetched_first_fits_what_the_user_allows():
    allowed = Device("cpu", "CPU", 16 * GIB, limit_bytes=2_000_000_000)
    assert catalogue.starter(allowed).name == "qwen2.5-coder-0.5b"
    assert catalogue.starter(CPU).name == "qwen2.5-coder-1.5b"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("opencodeinterpeter-ds-6.7b", "opencodeinterpreter-ds-6.7b"),
        ("m-a-p/OpenCodeInterpeter-DS-6.7B", "m-a-p/OpenCodeInterpreter-DS-6.7B"),
    ],
)
def test_a_misspelt_name_is_recognised(name, meant):
    assert f"Did you mean {meant}" in catalogue.hint(name)
    assert catalogue.hint(meant) == ""
    assert catalogue.hint("someone/else") == ""


def test_what_a_name_stands_for(own_folders, tmp_path):
    assert catalogue.resolve("auto", CPU).name == "qwen2.5-coder-1.5b"
    assert catalogue.resolve("QWEN2.5-coder-0.5B", CPU).hub == "Qwen/Qwen2.5-Coder-0.5B-Instruct"
    assert catalogue.resolve("m-a-p/OpenCodeInterpreter-DS-6.7B", CPU).kind == "catalogue"
    assert catalogue.resolve("someone/Some.Model-1", CPU).kind == "hub"
    gguf = tmp_path / "a model.gguf"
    gguf.write_bytes(b"GGUF")
    ref = catalogue.resolve(str(gguf), CPU)
    assert (ref.kind, ref.path) == ("gguf", gguf)
    assert catalogue.local_source(ref) == gguf
    (tmp_path / "config.json").write_text("{}")
    assert catalogue.resolve(str(tmp_path), CPU).kind == "folder"


def test_another_file_of_the_same_name_is_another_model(own_folders, tmp_path):
    slugs = set()
    for folder, text in (("a", b"1"), ("b", b"1"), ("a", b"22")):
        path = tmp_path / folder / "m.gguf"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)
        slugs.add(catalogue.resolve(str(path), CPU).slug)
    assert len(slugs) == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("qwen2.5-coder-2b", "Did you mean qwen2.5-coder-"),
        ("gpt-9", "oci-lsp model list"),
        ("/no/such/folder", "engine.model"),
        ("./missing.gguf", "engine.model"),
    ],
)
def test_a_wrong_name_says_what_to_do(name, words):
    with pytest.raises(ModelError) as caught:
        catalogue.resolve(name, CPU)
    assert words in caught.value.advice


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(ModelError, match="is no model"):
        catalogue.resolve(str(tmp_path), CPU)


@pytest.mark.parametrize(
    ("index", "part"),
    [
        ("model.safetensors.index.json", "model-{}.safetensors"),
        ("pytorch_model.bin.index.json", "pytorch_model-{}.bin"),
    ],
)
def test_the_hubs_copy_counts_only_when_whole(own_folders, index, part):
    ref = catalogue.resolve("someone/model", CPU)
    repository = own_folders / "hub" / "models--someone--model"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    (snapshot / "config.json").write_text("{}")
    parts = {"a": part.format(1), "b": part.format(2)}
    (snapshot / index).write_text(json.dumps({"weight_map": parts}))
    (snapshot / parts["a"]).write_text("")
    assert catalogue.local_source(ref) is None
    (snapshot / parts["b"]).write_text("")
    assert catalogue.local_source(ref) == snapshot


def test_saved_weights_count_only_with_their_manifest(own_folders):
    ref = catalogue.resolve("qwen2.5-coder-0.5b", CPU)
    ref.nf4_dir.mkdir(parents=True)
    (ref.nf4_dir / "model.safetensors").write_text("half")
    assert catalogue.local_source(ref) is None
    name, text = catalogue.nf4_manifest("source")
    (ref.nf4_dir / name).write_text(text)
    assert catalogue.local_source(ref) == ref.nf4_dir
    (ref.nf4_dir / name).write_text('{"format": 0}')
    assert catalogue.local_source(ref) is None


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelError) as caught:
        devices.require_local()
    assert "torch" in caught.value.message
    assert "pip install 'oci-lsp[local]'" in caught.value.advice


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    devices.gpu.cache_clear()
    try:
        assert devices.detect(EngineSettings(device="auto")).kind == "cpu"
        with pytest.raises(EngineError, match="no NVIDIA GPU"):
            devices.detect(EngineSettings(device="cuda"))
    finally:
        devices.gpu.cache_clear()


def test_the_gpu_is_found_by_its_tool(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA Test 4090, 24564'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    devices.gpu.cache_clear()
    try:
        gpu = devices.gpu()
        assert gpu == Device("cuda", "NVIDIA Test 4090", 24564 * 1024**2)
        if not devices.torch_has_cuda():
            assert devices.detect(EngineSettings(device="auto")).kind == "cpu"
            with pytest.raises(EngineError, match="cannot use the NVIDIA Test 4090"):
                devices.detect(EngineSettings(device="cuda"))
    finally:
        devices.gpu.cache_clear()


def test_the_light_modules_stay_light():
    code = (
        "import sys; import oci_lsp.engine.lifecycle, oci_lsp.engine.fetch; "
        "print([m for m in ('torch', 'transformers', 'httpx', 'huggingface_hub', 'starlette') "
        "if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"


def test_a_limit_on_the_memory():
    whole = devices.detect(EngineSettings(device="cpu"))
    limited = devices.detect(EngineSettings(device="cpu", max_memory=2.0))
    assert whole.usable_bytes > limited.usable_bytes == 2_000_000_000
    assert limited.memory_bytes == whole.memory_bytes
    small = catalogue.find("qwen2.5-coder-0.5b")
    large = catalogue.find("qwen2.5-coder-1.5b")
    assert small is not None and large is not None
    assert small.fits(limited)
    assert not large.fits(limited)


def test_the_next_smaller_model():
    smaller = catalogue.smaller("qwen2.5-coder-1.5b", "cpu")
    assert smaller is not None
    assert smaller.name == "qwen2.5-coder-0.5b"
    assert catalogue.smaller("qwen2.5-coder-0.5b", "cpu") is None
    assert catalogue.smaller("my-own", "cuda") is None
