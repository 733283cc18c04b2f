"""A host that is killed: its kernels end with it, and a later one sweeps up what it left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from oci_lsp.verify import workspace
from tests.verify import elsewhere
from tests.verify.conftest import Project

_HOST = """
import asyncio, sys
from pathlib import Path
from oci_lsp.settings import VerifySettings
from oci_lsp.verify.pool import Verifier
from oci_lsp.verify.verdict import Candidate, Run

TEXT = '''
import os, pathlib, time
def add(a, b):
    if os.fork() == 0:
        os.setsid()
        os.fork()
    time.sleep(600)
'''

async def main():
    root = Path(sys.argv[1])
    settings = VerifySettings(standby=1, isolation="reduced")
    async with Verifier(root, settings) as verifier:
        await verifier.prepare()
        path = root / "calc.py"
        run = Run(files={path: TEXT}, node_ids=("tests/test_calc.py::test_add",),
                  candidate=Candidate(path, "add", "add", (0, 9)), timeout=600)
        await verifier.run(run)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["strict", "reduced"])
def test_no_kernel_outlives_a_killed_host_and_its_folders_are_swept(
    project: Project, kind: str, monkeypatch: pytest.MonkeyPatch
):
    runtime = Path(os.environ["OCI_LSP_RUNTIME_DIR"])
    if kind == "reduced":
        monkeypatch.setenv("OCI_LSP_BWRAP", "/none")
    host = subprocess.Popen(
        [sys.executable, "-c", _HOST, str(project.root)], cwd=Path(__file__).parents[2]
    )
    try:
        assert _becomes(lambda: _sleeping() >= 3, 60)
        family = psutil.Process(host.pid).children(recursive=True)
        assert list(runtime.iterdir())
    finally:
        host.send_signal(signal.SIGKILL)
        host.wait()
    assert _becomes(lambda: not [p for p in family if _lives(p)], 10)
    left = list(runtime.iterdir())
    assert left
    for folder in left:  # as old as it would be by the time of another start
        os.utime(folder, (time.time() - 60,) * 2)
    monkeypatch.delenv("OCI_LSP_BWRAP", raising=False)
    told = elsewhere.run((), project.root)
    assert told["verdict"] == "passed"
    assert list(runtime.iterdir()) == []


def test_the_folders_of_a_living_host_are_not_swept(tmp_path: Path):
    runtime = Path(os.environ["OCI_LSP_RUNTIME_DIR"])
    mine = workspace.private_folder()
    os.utime(mine, (time.time() - 60,) * 2)
    stale = runtime / "kstale"
    stale.mkdir()
    os.utime(stale, (time.time() - 60,) * 2)
    young = runtime / "kyoung"
    young.mkdir()
    code = "from oci_lsp.verify import workspace; workspace.remove(workspace.private_folder())"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert sorted(path.name for path in runtime.iterdir()) == sorted([mine.name, "kyoung"])
    workspace.remove(mine)
    assert [path.name for path in runtime.iterdir()] == ["kyoung"]


def test_folders_without_a_bottom_are_removed_too(tmp_path: Path):
    folder = workspace.private_folder()
    here = os.getcwd()
    try:
        os.chdir(folder)
        for _ in range(2000):
            os.mkdir("d" * 50)
            os.chdir("d" * 50)
    finally:
        os.chdir(here)
    (folder / "closed").mkdir(mode=0)
    workspace.remove(folder)
    assert not folder.exists()


def _sleeping() -> int:
    """How many processes run the candidate: the driver and those that it forked."""
    return sum(
        "driver.py" in " ".join(process.cmdline())
        for process in psutil.Process().children(recursive=True)
        if _lives(process)
    )


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _becomes(condition, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
