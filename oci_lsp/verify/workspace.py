"""What a kernel needs on the host: an ipc folder, a copy of the project, an overlay layer."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from oci_lsp import paths

# A unix socket's path holds 107 bytes; "/i-5" is added to the folder's.
_LONGEST = 96
_NOT_COPIED = frozenset(
    (
        *(".git", ".hg", ".svn", "node_modules", "__pycache__"),
        *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".tox", ".nox"),
    )
)


def private_folder() -> Path:
    """A new folder of this user's alone, with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="k", dir=paths.runtime_dir()))
    if len(os.fsencode(folder)) > _LONGEST:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="oci-k", dir="/tmp"))
    return folder.resolve()


def copy_project(root: Path, target: Path, *, link_environments: bool) -> None:
    """Copy the project without version control, caches and virtual environments.

    With `link_environments` a symlink stands for each virtual environment.
    """

    runtime = paths.runtime_dir().resolve()

    def ignored(folder: str, names: list[str]) -> set[str]:
        skipped = set(_NOT_COPIED.intersection(names))
        for name in names:
            path = Path(folder, name)
            if path in (runtime, target):  # the project is a folder above them
                skipped.add(name)
            elif (path / "pyvenv.cfg").is_file():
                skipped.add(name)
                if link_environments:
                    link = target / path.relative_to(root)
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(path)
            elif not (path.is_symlink() or path.is_dir() or path.is_file()):
                skipped.add(name)  # sockets and pipes cannot be copied
        return skipped

    shutil.copytree(root, target, symlinks=True, ignore=ignored, dirs_exist_ok=True)


def foreign(root: Path, files: Iterable[Path]) -> frozenset[Path]:
    """Those of the files that an overlay cannot copy up: they, or a folder above them, belong to
    another user or group than this process's."""
    uid, gid = os.geteuid(), os.getegid()

    def is_foreign(path: Path) -> bool:
        try:
            status = path.lstat()
        except OSError:
            return False
        return status.st_uid != uid or status.st_gid != gid

    return frozenset(path for path in files if any(is_foreign(step) for step in _steps(root, path)))


def _steps(root: Path, path: Path) -> list[Path]:
    """The path and the folders above it, up to and including the root."""
    return [path, *(folder for folder in path.parents if folder == root or root in folder.parents)]


def make_layer(root: Path, layer: Path, files: Iterable[Path]) -> None:
    """A lower layer that holds this user's own copies of the files and the folders above them."""
    layer.mkdir(parents=True)
    for path in files:
        copy = layer / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            shutil.copyfile(path, copy)
            copy.chmod(path.stat().st_mode & 0o777)


def remove(folder: Path) -> None:
    """Delete a folder of ours; what cannot be deleted is left."""
    shutil.rmtree(folder, ignore_errors=True)
