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
