"""What the sandbox shows: interpreters where they are masked, and nothing that pretends to be one;
projects in unusual places."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci_lsp.errors import SandboxError
from oci_lsp.verify import sandbox
from tests.verify.conftest import NODE, Project

GOOD = "def add(a, b):\n    return a + b\n"


@pytest.fixture(params=["/run", "/tmp"])
def secret(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder in a masked place, with a file and a listening socket."""
    if not os.access(request.param, os.W_OK):
        pytest.skip(f"{request.param} is not writable")
    folder = Path(tempfile.mkdtemp(dir=request.param))
    (folder / "bin").mkdir()
    (folder / "secret.txt").write_text("secret")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))
        server.listen()
        yield folder
    shutil.rmtree(folder)


def a_venv(project: Project, home: Path) -> Path:
    """A virtual environment in the project whose pyvenv.cfg names another home."""
    venv = project.root / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (site,) = venv.glob("lib/python3.*/site-packages")
    (site / "ours.pth").write_text(str(Path(pytest.__file__).parents[1]))
    config = venv / "pyvenv.cfg"
    lines = config.read_text().splitlines()
    config.write_text("\n".join([*lines[1:], f"home = {home}"]) + "\n")
    return venv


@pytest.mark.parametrize("disguised", [False, True])
async def test_a_claimed_home_is_not_shown(project: Project, secret: Path, disguised: bool):
    venv = a_venv(project, Path(sys.base_prefix, "bin"))
    if disguised:  # an installation it is, but nothing beside it may be seen
        (secret / "bin/python3").symlink_to(Path(sys.base_prefix, "bin/python3"))
        (secret / "lib/python3.11").mkdir(parents=True)
    config = venv / "pyvenv.cfg"
    # The last one wins for us, the first one for Python.
    config.write_text(config.read_text() + f"home = {secret / 'bin'}\n")
    project.set(interpreter=str(venv))
    project.write(
        "tests/test_calc.py",
        "import os, socket\nfrom calc import add\n\ndef test_add():\n    add(1, 1)\n"
        f"    assert not os.path.exists({str(secret / 'secret.txt')!r})\n"
        "    client = socket.socket(socket.AF_UNIX)\n"
        f"    assert client.connect_ex({str(secret / 's')!r})\n",
    )
    report = await project.verify(GOOD)
    assert report.verdict == "passed", report.feedback


async def test_an_installation_in_a_masked_place_works(project: Project, tmp_path: Path):
    """As uv and conda have them: a prefix of its own below /tmp."""
    base = Path(sys.base_prefix)
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    prefix = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        (prefix / "bin").mkdir()
        shutil.copy2(base / "bin" / name, prefix / "bin" / name)
        (prefix / "bin/python").symlink_to(name)
        (prefix / "bin/python3").symlink_to(name)
        (prefix / "lib").mkdir()
        (prefix / "lib" / name).symlink_to(base / "lib" / name)
        venv = project.root / ".venv"
        (venv / "lib" / name / "site-packages").mkdir(parents=True)
        (venv / "lib" / name / "site-packages/ours.pth").write_text(
            str(Path(pytest.__file__).parents[1])
        )
        (venv / "bin").mkdir()
        (venv / "bin/python").symlink_to(prefix / "bin/python")
        (venv / "pyvenv.cfg").write_text(f"home = {prefix / 'bin'}\n")
        project.write(
            "tests/test_calc.py",
            "import sys\nfrom calc import add\n\ndef test_add():\n    add(1, 1)\n"
            f"    assert sys.base_prefix == {str(prefix)!r}\n",
        )
        report = await project.verify(GOOD)
        assert report.verdict == "passed", report.feedback
    finally:
        shutil.rmtree(prefix)


@pytest.mark.parametrize("overlay", [True, False])
async def test_a_project_above_the_runtime_folder(
    project: Project, overlay: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    runtime = project.root / "r"
    runtime.mkdir(mode=0o700)
    (runtime / "engine").write_text("secret")
    monkeypatch.setenv("OCI_LSP_RUNTIME_DIR", str(runtime))
    secret = project.write(".ssh/id", "secret")
    monkeypatch.setenv("HOME", str(project.root))
    if not overlay:
        no_overlay(tmp_path, monkeypatch)
    project.write(
        "tests/test_calc.py",
        "import os\nfrom calc import add\n\ndef test_add():\n    assert add(2, 3) == 5\n"
        f"    assert not os.path.exists({str(secret)!r})\n"
        f"    assert not os.path.exists({str(runtime / 'engine')!r})\n",
    )
    report = await project.verify(GOOD, NODE)
    assert report.verdict == "passed", report.feedback
    assert os.listdir(runtime) == ["engine"]


def no_overlay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bubblewrap on a file system that cannot be an overlay's lower layer."""
    (real,) = sandbox.find_bwrap()[-1:]
    a_bwrap(folder, monkeypatch, f'[ "$word" = --tmp-overlay ] && exit 1; done\nexec {real} "$@"')


def a_bwrap(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    program = folder / "bwrap"
    program.write_text(f'#!/bin/sh\nfor word in "$@"; do {body}\n')
    program.chmod(0o755)
    monkeypatch.setenv("OCI_LSP_BWRAP", str(program))


async def test_a_kernel_that_does_not_start_says_why(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    a_bwrap(
        tmp_path,
        monkeypatch,
        '[ "$word" = ipykernel_launcher ] && echo "no room left" >&2 && exit 1; done; exit 0',
    )
    with pytest.raises(SandboxError) as raised:
        await project.verify(GOOD)
    assert "no room left" in raised.value.advice


async def test_read_only_files_can_be_laid_over(project: Project):
    """Without capabilities in the sandbox even root must heed the mode."""
    path = project.write("pkg/calc.py", "")
    path.chmod(0o444)
    path.parent.chmod(0o555)
    project.write(
        "tests/test_calc.py",
        "import os\nfrom pkg import calc\n\ndef test_add():\n    assert calc.add(2, 3) == 5\n"
        "    assert os.stat(calc.__file__).st_mode & 0o777 == 0o444\n"
        "    assert os.stat(os.path.dirname(calc.__file__)).st_mode & 0o777 == 0o555\n",
    )
    try:
        report = await project.verify(GOOD, file="pkg/calc.py")
    finally:
        path.parent.chmod(0o755)
    assert report.verdict == "passed", report.feedback


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can reach into others' folders")
async def test_a_socket_in_anothers_closed_folder_is_no_obstacle(project: Project):
    folder = Path(tempfile.mkdtemp(dir=Path.home()))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))
        server.listen()
        os.chown(folder, 12345, 12345)
        try:
            report = await project.verify(GOOD)
        finally:
            shutil.rmtree(folder)
    assert report.verdict == "passed", report.feedback
