"""Whether a project is on disk what it was when a kernel was started, found by looking."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# What a look may cost: entries looked at, some 4 microseconds each.
MOST_ENTRIES = 2000
_SKIPPED = frozenset(
    (
        *(".git", ".hg", ".svn", "node_modules", "__pycache__", ".hypothesis", ".idea", ".vscode"),
        *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".tox", ".nox", ".ipynb_checkpoints"),
    )
)
# Written while the user types: neither an editor's spare copies nor coverage's data are tested.
_SKIPPED_ENDS = ("~", ".swp", ".swx", ".pyc")
_SKIPPED_STARTS = (".#", ".coverage")
_LINKED_ENTRIES = 500


@dataclass(frozen=True)
class Fingerprint:
    """A project's state; equal ones are the same state. `complete`: every file was looked at."""

    digest: int
    complete: bool


def look(
    root: Path,
    packages: Iterable[Path],
    linked: Iterable[Path],
    files: Iterable[Path] = (),
    skipped: Iterable[Path] = (),
) -> Fingerprint:
    """The present state of a project, of its installed packages and of those linked to it.

    Args:
        root: the project's folder.
        packages: site-packages folders; of these the list of names counts, and their .pth files.
        linked: folders outside of the root that .pth files name (editable installs).
        files: looked at in any case, however large the project is.
        skipped: folders that do not count.

    Of a project of more than `MOST_ENTRIES` entries those nearest to the root count, and `files`;
    the linked folders have as many once more, all of them together, but some hundred each.
    """
    seen: list[object] = []
    left_out = frozenset(map(str, skipped))
    complete = _walk(root, MOST_ENTRIES, seen, left_out) >= 0
    if not complete:
        for path in files:
            seen.append(_state(str(path)))
    for folder in packages:
        seen.append(_names(folder))
    spare = MOST_ENTRIES
    for folder in linked:
        most = max(_LINKED_ENTRIES, spare)
        left = _walk(folder, most, seen, left_out)
        complete = complete and left >= 0
        spare -= most - left
    return Fingerprint(hash(tuple(seen)), complete)


def counts(name: str) -> bool:
    """Whether a file or folder of that name is looked at: no caches, no version control."""
    return not (
        name in _SKIPPED or name.endswith(_SKIPPED_ENDS) or name.startswith(_SKIPPED_STARTS)
    )


def _walk(root: Path, most: int, seen: list[object], skipped: frozenset[str]) -> int:
    """Add the state of everything below the folder, nearest first.

    Returns how many of `most` entries are left; -1: there was more.
    """
    level = [str(root)]
    while level:
        below: list[str] = []
        for folder in level:
            try:
                with os.scandir(folder) as entries:
                    found = list(entries)
            except OSError:
                seen.append(folder)
                continue
            if folder != str(root) and any(
                entry.name in ("pyvenv.cfg", "conda-meta") for entry in found
            ):
                continue  # its site-packages count as such
            for entry in found:
                name = entry.name
                if not counts(name) or entry.path in skipped:
                    continue
                if most <= 0:
                    return -1
                most -= 1
                try:
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.path)
                        seen.append(entry.path)
                        continue
                    status = entry.stat()
                except OSError:
                    seen.append(entry.path)
                    continue
                seen.append(
                    (
                        entry.path,
                        status.st_mtime_ns,
                        status.st_ctime_ns,
                        status.st_size,
                        status.st_ino,
                    )
                )
        level = below
    return most


def _state(path: str) -> object:
    try:
        status = os.stat(path)  # noqa: PTH116 - many of these are looked at
    except OSError:
        return path
    return (path, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)


def _names(folder: Path) -> object:
    """An install or an upgrade adds or removes names; an editable one may only write a .pth."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names alone are wanted
    except OSError:
        return str(folder)
    links = [_state(os.path.join(folder, name)) for name in names if name.endswith(".pth")]  # noqa: PTH118
    return (_state(str(folder)), frozenset(names), tuple(links))
