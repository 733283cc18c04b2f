"""The projects that are mutated: pinned source packages, each with a Python of its own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import venv
from dataclasses import dataclass
from pathlib import Path

from oci_lsp import paths

# pytest-cov knows which test entered which line, pytest-timeout ends a mutant that hangs.
_TOOLS = ("pytest==9.2.0", "pytest-cov==7.1.0", "pytest-timeout==2.4.0")


class FetchError(Exception):
    """A source package is not the one that was pinned."""


@dataclass(frozen=True)
class Project:
    """A source package; `packages` are its folders whose functions are mutated."""

    name: str
    version: str
    archive: str
    sha256: str
    packages: tuple[str, ...]
    style: str


PROJECTS = (
    Project(
        name="more-itertools",
        version="11.2.1",
        archive="more_itertools-11.2.1.tar.gz",
        sha256="cbf08fd0af284dc69718b9b76a8e6203df624d70209ea511e4219d350c856f63",
        packages=("more_itertools",),
        style="unittest classes beside the package, star re-exports, doctests",
    ),
    Project(
        name="boltons",
        version="26.2.0",
        archive="boltons-26.2.0.tar.gz",
        sha256="d39cfd15c1a1c3bd4d705c82252fa9edb8e4f5e8cc039f8e39afac7b1b47e92c",
        packages=("boltons",),
        style="pytest functions and classes beside the package, many methods",
    ),
    Project(
        name="toolz",
        version="1.2.0",
        archive="toolz-1.2.0.tar.gz",
        sha256="9667a038e9d6ecba37995e26cb2f59ec6420b6ad8dd9677de59db9b956b08490",
        packages=("toolz", "tlz"),
        style="pytest functions inside the package, re-exports, curried aliases",
    ),
)


@dataclass(frozen=True)
class Checkout:
    """A project on disk, as its authors packed it."""

    project: Project
    root: Path
    python: Path


def check_out(project: Project) -> Checkout:
    """The project and its Python from the user's cache; fetched and made where they are missing.

    Raises:
        FetchError: the archive's hash is not the pinned one; nothing of it is kept.
        subprocess.CalledProcessError: pip failed.
    """
    home = paths.cache_dir() / "mutants"
    root = home / project.archive.removesuffix(".tar.gz")
    if not root.is_dir():
        archive = home / project.archive
        if not archive.exists():
            _download(project, home)
        verify(archive, project.sha256)
        with tarfile.open(archive) as packed:
            packed.extractall(home, filter="data")
    python = home / f"venv-{project.name}-{sys.version_info[0]}.{sys.version_info[1]}"
    return Checkout(project, root.resolve(), _environment(python))


def _download(project: Project, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [*(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")]
    command += ["--disable-pip-version-check", "--no-binary", project.name, "--dest", str(folder)]
    subprocess.run([*command, f"{project.name}=={project.version}"], check=True)


def verify(archive: Path, sha256: str) -> None:
    """Raises FetchError, and deletes the file, where its hash is another."""
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != sha256:
        archive.unlink()
        raise FetchError(
            f"{archive.name} has the sha256 {found}, not the pinned {sha256}. It was deleted; "
            "what the numbers stand on is not what was measured before."
        )


def _environment(folder: Path) -> Path:
    """The Python of a virtual environment that has the tools."""
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if not ready.exists() or ready.read_text() != " ".join(_TOOLS):
        venv.create(folder, with_pip=True, clear=True)
        command = [*(str(python), "-m", "pip", "install", "--quiet"), "--disable-pip-version-check"]
        subprocess.run([*command, *_TOOLS], check=True)
        ready.write_text(" ".join(_TOOLS))
    return python
