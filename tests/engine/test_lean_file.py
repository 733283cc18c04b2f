"""What a start prepares is found by the next: the same model, without transformers' layers."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time

import pytest
import torch

from oci_lsp.engine.process import cpu, fourbit, lean_file, measured, model
from oci_lsp.engine.process.attention import Reading
from oci_lsp.engine.process.keeping import keep
from oci_lsp.engine.process.kv import Lanes
from oci_lsp.engine.process.lean import LeanModel
from tests.engine.conftest import make_tiny_model

needs_kernel = pytest.mark.skipif(not fourbit.is_available(), reason="this CPU has no AVX512-BF16")
TOKENS = [[(7 * i * i + i) % 250 + 3 for i in range(70)]]


def load(source, folder, **options):
    return model.load(source, folder, "cpu", lambda text, done: None, **options)


def logits(loaded, tokens=TOKENS):
    with torch.inference_mode():
        reading = Reading(Lanes(2), len(tokens[0]), "cpu")
        output = loaded.model(
            input_ids=torch.tensor(tokens), position_ids=reading.positions, reading=reading
        )
    return output.logits


@needs_kernel
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("tied", [True, False])
def test_the_next_start_finds_the_same_model(tmp_path, tied):
    source = make_tiny_model(tmp_path / "tiny", tied=tied)
    first = load(source, tmp_path / "nf4")
    assert lean_file.load(tmp_path / "nf4") is not None
    second = load(tmp_path / "gone", tmp_path / "nf4")
    assert isinstance(second.model, LeanModel)
    for tokens in (TOKENS, [TOKENS[0][:1]]):
        assert torch.equal(logits(first, tokens), logits(second, tokens))
    assert (second.stop_tokens, second.context) == (first.stop_tokens, first.context)
    plain = load(tmp_path / "gone", tmp_path / "nf4", shortcuts=cpu.Shortcuts(lean_layers=False))
    assert not isinstance(plain.model, LeanModel)
    both = torch.stack([logits(plain).float().flatten(), logits(second).float().flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.999


@needs_kernel
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "damage", ["half", "of another version", "of another model", "other weights", "no weights"]
)
def test_what_cannot_be_read_is_made_anew(tiny_model, tmp_path, damage):
    folder = tmp_path / "nf4"
    expected = logits(load(tiny_model, folder))
    kept = folder / "lean.pt"
    whole = kept.read_bytes()
    if damage == "half":
        kept.write_bytes(whole[: len(whole) // 2])
    elif damage == "of another version":
        torch.save({"format": 0}, kept)
    elif damage == "other weights":
        (folder / "model.safetensors").touch()
    elif damage == "of another model":
        content = torch.load(kept, weights_only=True)
        content["layers"][0]["products"][0]["scales"] = torch.ones(3, 5, dtype=torch.bfloat16)
        torch.save(content, kept)
    else:
        content = torch.load(kept, weights_only=True)
        content["layers"].append(content["layers"][0])
        content["shape"]["layers"] += content["shape"]["layers"][:1]
        torch.save(content, kept)
    assert lean_file.load(folder) is None
    assert torch.equal(logits(load(tmp_path / "gone", folder)), expected)
    assert lean_file.load(folder) is not None


@needs_kernel
def test_a_later_start_imports_neither_transformers_models_nor_bitsandbytes(tiny_model, tmp_path):
    load(tiny_model, tmp_path / "nf4")
    program = """
import sys
from pathlib import Path
from oci_lsp.engine.process.decode import Decoder
from oci_lsp.engine.process.model import load
loaded = load(Path("gone"), Path(sys.argv[1]), "cpu", lambda text, done: None)
decoder = Decoder(loaded.model, loaded.tokenizer, stop_tokens=loaded.stop_tokens,
                  context=loaded.context, measured=loaded.measured)
decoder.warm_up()
heavy = ("bitsandbytes", "transformers.modeling_utils", "torch._dynamo", "accelerate", "sympy")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "nf4")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture
def start(monkeypatch, tmp_path):
    """A start of the engine beside others' work or not: what it believes a figure to be."""

    def started(figure, *, quiet, name="rows", folder=tmp_path):
        monkeypatch.setattr(measured.Moment, "is_quiet_since", lambda self: quiet)
        return measured.Measured(folder).get(name, lambda: figure)

    return started


def test_figures_are_kept_for_a_day_and_for_one_machine(tmp_path, monkeypatch, start):
    assert start(7, quiet=True) == 7
    assert start([1.0, 2.0], quiet=True, name="seconds") == [1.0, 2.0]
    assert start(8, quiet=True) == 7
    assert start([], quiet=True, name="seconds") == [1.0, 2.0]
    assert start(9, quiet=True, folder=tmp_path / "gone") == 9
    with monkeypatch.context() as other:
        other.setattr(platform, "node", lambda: "another")
        assert start(10, quiet=True) == 10
    assert start(11, quiet=True) == 11
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 25 * 3600)
    assert start(12, quiet=False) == 11
    assert start(13, quiet=True) == 13
    here = json.loads((tmp_path / "measured.json").read_text())["of"]
    for figure in (0, [], [1.0, 0.0], "7", None):
        kept = {"figure": figure, "at": now, "quiet": True}
        text = json.dumps({"of": here, "figures": {"rows": kept}})
        (tmp_path / "measured.json").write_text(text)
        assert start(14, quiet=True) == 14
    for text in ('{"of": 3}', "[]", "{", '{"figures": {"rows": 1}}'):
        (tmp_path / "measured.json").write_text(text)
        assert start(14, quiet=True) == 14


def test_what_was_measured_beside_others_is_measured_anew_when_it_is_quiet(start):
    assert start(1, quiet=False) == 1
    assert start(2, quiet=False) == 1
    assert start(3, quiet=True) == 3
    assert start(4, quiet=False) == 3


def test_others_that_use_the_processors_are_noticed():
    moment = measured.Moment()
    program = "import time\nend = time.time() + 0.5\nwhile time.time() < end: pass"
    count = os.cpu_count() or 1
    for one in [subprocess.Popen([sys.executable, "-c", program]) for _ in range(count)]:
        one.wait()
    assert not moment.is_quiet_since()


def test_what_is_kept_is_whole_and_leaves_nothing_beside_it(tmp_path):
    file = tmp_path / "kept"
    stale, young = tmp_path / ".kept.1", tmp_path / ".kept.2"
    for left in (stale, young):
        left.write_text("half")
    os.utime(stale, (time.time() - 7200,) * 2)

    def fails(partial):
        partial.write_text("half")
        raise OSError("the disk is full")

    keep(file, fails)
    assert sorted(tmp_path.iterdir()) == [young]
    keep(file, lambda partial: partial.write_text("whole"))
    keep(tmp_path / "gone" / "kept", lambda partial: partial.write_text("whole"))
    assert file.read_text() == "whole"
    assert sorted(tmp_path.iterdir()) == [young, file]
