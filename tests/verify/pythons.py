"""Pythons that can be found on this machine, and environments of them that are made once."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import filelock
import platformdirs
import pytest

VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
OURS = "{}.{}".format(*sys.version_info)
# Each Python with another pytest, from the oldest that we know on.
PYTESTS = {"3.9": "pytest==7.0.1", "3.10": "pytest==7.4.4", "3.11": "pytest==8.0.2"}
SECONDS = 120


@functools.cache
def find(version: str) -> Path:
    """The base interpreter of that version, its links kept; skips the test where there is none."""
    for candidate in _candidates(version):
        shown = subprocess.run(
            [candidate, "-c", "import sys; print(*sys.version_info[:2], sep='.', end=' ');"
             "print(sys.executable)"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if shown.returncode == 0 and shown.stdout.startswith(version + " "):
            return Path(shown.stdout.partition(" ")[2].strip())
    pytest.skip(f"there is no Python {version} on this machine")


def _candidates(version: str) -> Iterator[str]:
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        yield os.path.realpath(sys.executable)
    if found := shutil.which(f"python{version}"):
        yield found
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv")
    for folder in (pyenv / "versions", home / ".local/share/uv/python"):
        for pattern in (f"{version}.*/bin/python", f"cpython-{version}.*/bin/python"):
            yield from sorted(map(str, folder.glob(pattern)))


def environment(version: str, *packages: str) -> Path:
    """A virtual environment with these packages, made by pip and kept in the user's cache.

    Skips the test where it cannot be made: without the network, say.
    """
    base = find(version)
    name = "-".join([base.parent.parent.name, version, *packages]).replace("/", "_")
    folder = platformdirs.user_cache_path("oci-lsp") / "test-venvs"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / name
    with filelock.FileLock(f"{target}.lock"):
        if not ((target / "made").is_file() and (target / "bin/python").exists()):
            shutil.rmtree(target, ignore_errors=True)
            _make(base, target, packages)
            (target / "made").touch()
    return target


def _make(base: Path, target: Path, packages: tuple[str, ...]) -> None:
    subprocess.run([base, "-m", "venv", "--without-pip", target], check=True, timeout=SECONDS)
    program = str(target / "bin/python")
    command = [sys.executable, "-m", "pip", "--python", program, "install", "-q"]
    try:
        done = subprocess.run(
            [*command, *packages], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"pip did not install {packages} within {SECONDS} s")
    if done.returncode:
        pytest.skip(f"pip could not install {packages}: {done.stderr[-300:]}")
