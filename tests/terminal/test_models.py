"""`oci-lsp engine` and `oci-lsp model`: whose settings count, and what is stopped."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.terminal.test_cli import command, oci
from tests.terminal.test_working import on_a_terminal

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="the `local` extra is not installed"
)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    from tests.engine.conftest import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny-coder")


@pytest.fixture
def variables():
    """The environment of a user who has no model yet; its engines are ended."""
    # A unix socket's path is short.
    root = Path(tempfile.mkdtemp(prefix="oci-"))
    found = {
        **os.environ,
        "OCI_LSP_CACHE_DIR": str(root / "cache"),
        "OCI_LSP_RUNTIME_DIR": str(root / "run"),
        "HF_HUB_CACHE": str(root / "hub"),
        "HF_HUB_OFFLINE": "1",
    }
    yield found
    oci("engine", "stop", env=found)
    shutil.rmtree(root)


@pytest.fixture
def project(tmp_path, tiny_model):
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.oci-lsp]\nengine.model = "{tiny_model}"\nengine.device = "cpu"\n'
        'engine.url = "http://127.0.0.1:9"\n'
    )
    return tmp_path


def test_an_engine_from_its_start_to_its_end(project, tiny_model, variables):
    start = oci("engine", "start", cwd=project, env=variables)
    assert start.returncode == 0, start.stderr
    assert "tiny-coder is ready" in start.stdout
    assert "engine.url from pyproject.toml is ignored" in start.stderr
    assert "tiny-coder: Loading" in start.stderr or "Quantising" in start.stderr

    done = oci("doctor", "--json", cwd=project, env=variables)
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert found["engine"]["ok"]
    assert "tiny-coder on cpu: ready (this version" in found["engine"]["found"]

    def stop(*words):
        return oci("engine", "stop", *words, env=variables).stdout

    assert stop("--set", "engine.device=cuda") == "No such engine runs.\n"
    assert stop("--set", "engine.model=qwen2.5-coder-0.5b") == "No such engine runs.\n"
    assert stop("--set", f"engine.model={tiny_model}") == "The engine is stopped.\n"
    assert stop() == "No engine runs.\n"


def test_loading_is_a_bar_on_a_terminal(project, variables):
    shown = on_a_terminal(command("engine", "start"), cwd=project, env=variables)
    assert "%" in shown
    assert "tiny-coder is ready" in shown


def test_the_list_marks_what_the_project_asks_for(tmp_path, variables):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.oci-lsp]\nengine.model = "qwen2.5-coder-3b"\nengine.url = "http://x"\n'
    )
    listed = oci("model", "list", cwd=tmp_path, env=variables)
    (row,) = [line for line in listed.stdout.splitlines() if "<- engine.model" in line]
    assert row.startswith("qwen2.5-coder-3b")
    assert "engine.model is qwen2.5-coder-3b here." in listed.stdout
    assert "engine.url from pyproject.toml is ignored" in listed.stderr
    trusted = oci("model", "list", "--trust", cwd=tmp_path, env=variables)
    assert "None is used here: engine.url is http://x." in trusted.stdout


def test_a_server_is_not_ours_to_stop(variables):
    done = oci("engine", "stop", "--set", "engine.url=http://x", env=variables)
    assert done.returncode == 2
    assert "not oci-lsp's to stop" in done.stderr


def test_a_file_is_pulled_listed_and_removed(tiny_model, variables, tmp_path):
    from tests.engine.conftest import make_tiny_gguf

    file = make_tiny_gguf(tiny_model, tmp_path / "tiny-coder.gguf")
    pulled = oci("model", "pull", str(file), "--yes", env=variables)
    assert pulled.returncode == 0, pulled.stderr
    assert "tiny-coder is ready" in pulled.stdout
    oci("engine", "stop", env=variables)
    file.unlink()

    listed = oci("model", "list", env=variables).stdout
    (line,) = [line for line in listed.splitlines() if line.startswith("Kept too, in NF4: ")]
    name = line.removeprefix("Kept too, in NF4: ").rstrip(".")
    assert name.startswith("tiny-coder-")

    removed = oci("model", "remove", name, env=variables)
    assert removed.returncode == 0, removed.stderr
    assert "deleted" in removed.stdout
    assert "Kept too" not in oci("model", "list", env=variables).stdout


def test_the_list_says_what_auto_takes_and_why(variables):
    listed = oci("model", "list", env=variables).stdout
    (row,) = [line for line in listed.splitlines() if "<- auto" in line]
    assert f"`auto` takes {row.split()[0]}: none is local yet" in listed
    (large,) = [line for line in listed.splitlines() if "opencodeinterpreter-cl-70b" in line]
    assert "no: too large" in large


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("someone/not-here", ("cannot be fetched", "HF_HUB_OFFLINE is set", "GGUF file")),
        ("m-a-p/OpenCodeInterpeter-DS-6.7B", ("Did you mean m-a-p/OpenCodeInterpreter-DS-6.7B",)),
        ("qwen2.5-codr-1.5b", ("no model called", "Did you mean qwen2.5-coder-1.5b")),
        ("./gone.gguf", ("no model at", "gone.gguf")),
    ],
)
def test_a_pull_that_cannot_be_says_what_to_do(name, words, variables):
    done = oci("model", "pull", name, "--yes", env=variables)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in " ".join(done.stderr.split())


def test_a_file_that_is_no_gguf_file(tmp_path, variables):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no GGUF at all")
    done = oci("model", "pull", str(broken), "--yes", env=variables)
    assert done.returncode == 2
    assert "cannot be loaded" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_to_remove(variables):
    done = oci("model", "remove", "qwen2.5-coder-0.5b", env=variables)
    assert done.returncode == 2
    assert "Nothing of qwen2.5-coder-0.5b is kept" in done.stderr
