"""The second lower layer of an overlay: this user's own copies of what belongs to others.

An overlay cannot copy up what belongs to a user or group that the sandbox does not know. A layer
above the project, made of the same folders and files in this user's name, cures it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from oci_lsp.paths import is_file

# What a layer holds besides the files that are laid over. Beyond it, tests cannot write.
MOST_ENTRIES = 5_000
MOST_FILES = 1_000
MOST_BYTES = 16 << 20
_SKIPPED = frozenset((".git", ".hg", ".svn", "node_modules", "__pycache__"))

State = tuple[int, int]


def foreign(root: Path, files: Iterable[Path]) -> frozenset[Path]:
    """Those of the files that an overlay cannot copy up: they, or a folder above them, belong to
    another user or group than this process's."""
    return frozenset(
        path for path in files if any(_is_foreign(step) for step in _steps(root, path))
    )


def has_foreign(root: Path) -> bool:
    """Whether anything in the project, as far as is looked, belongs to another user or group."""
    return _is_foreign(root) or any(_is_foreign(path) for path, _ in _entries(root))


def make(root: Path, layer: Path, files: Iterable[Path], *, wide: bool) -> dict[Path, State]:
    """Make a layer with the files and the folders above them; `wide`: and whatever else is foreign.

    Returns the state of what the layer holds besides the files: it must still be so when used.
    """
    layer.mkdir(parents=True)
    laid = set(files)
    for path in laid:
        _copy(path, layer / path.relative_to(root))
    return _widen(root, layer, laid) if wide else {}


def is_current(states: dict[Path, State]) -> bool:
    """Whether the files are as they were when a layer was made of them."""
    return all(_state(path) == state for path, state in states.items())


def _widen(root: Path, layer: Path, laid: set[Path]) -> dict[Path, State]:
    states: dict[Path, State] = {}
    left = MOST_BYTES
    for path, status in _entries(root):
        copy = layer / path.relative_to(root)
        if not _is_foreign(path) or path in laid or os.path.lexists(copy):
            continue
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(status.st_mode):
                copy.mkdir(parents=True, exist_ok=True)
            elif stat.S_ISLNK(status.st_mode):
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.symlink_to(path.readlink())
            elif len(states) < MOST_FILES and status.st_size <= left:
                left -= status.st_size
                states[path] = _state(path)
                _copy(path, copy)
    return states


def _copy(path: Path, copy: Path) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    if is_file(path):
        shutil.copyfile(path, copy)
        shutil.copystat(path, copy)


def _entries(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Folders, files and links of the project, breadth first, up to a bound."""
    queue, seen = [root], 0
    for folder in queue:
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in found:
            seen += 1
            if seen > MOST_ENTRIES:
                return
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                kind = stat.S_IFMT(status.st_mode)
                if kind == stat.S_IFDIR:
                    path = Path(entry.path)
                    if entry.name in _SKIPPED or is_file(path / "pyvenv.cfg"):
                        continue
                    queue.append(path)
                if kind in (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK):
                    yield Path(entry.path), status


def _is_foreign(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return status.st_uid != os.geteuid() or status.st_gid != os.getegid()


def _steps(root: Path, path: Path) -> list[Path]:
    """The path and the folders above it, up to and including the root."""
    return [path, *(folder for folder in path.parents if folder == root or root in folder.parents)]


def _state(path: Path) -> State:
    try:
        status = path.lstat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
