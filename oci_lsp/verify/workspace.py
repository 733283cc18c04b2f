"""What a kernel needs on the host: folders that somebody sweeps, a copy of the project."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path

from oci_lsp import paths
from oci_lsp.errors import SandboxError
from oci_lsp.paths import exists, is_file
from oci_lsp.verify import remedies

# A unix socket's path holds 107 bytes; "/i-5" is added to the folder's.
_LONGEST = 96
_PREFIX = "k"
_LAST_RESORT = "oci-k"
_LOCK = "lock"
_YOUNG_SECONDS = 20.0
_MOST_FILES = 200_000
_FICLONE = 0x40049409
_locks: dict[Path, int] = {}
_swept: set[Path] = set()
_NOT_COPIED = frozenset(
    (
        *(".git", ".hg", ".svn", "node_modules", "__pycache__"),
        *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".tox", ".nox"),
    )
)


def private_folder() -> Path:
    """A new folder of this user's alone, with a path short enough for sockets.

    It is ours for as long as this process lives or until `remove`; a later process sweeps it.
    """
    folder = _ours(paths.runtime_dir(), _PREFIX)
    if len(os.fsencode(folder)) > _LONGEST:
        remove(folder)
        folder = _ours(Path("/tmp"), _LAST_RESORT)  # noqa: S108 - made with mkdtemp
    return folder


def _ours(parent: Path, prefix: str) -> Path:
    _sweep(parent, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent)).resolve()
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    _locks[folder] = lock
    return folder


def _sweep(parent: Path, prefix: str) -> None:
    """Once in a process: remove the folders of processes that were killed."""
    if parent in _swept:
        return
    _swept.add(parent)
    for folder in parent.glob(prefix + "*"):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            young = time.time() - status.st_mtime < _YOUNG_SECONDS  # its lock may be to come
            if not young and stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                _remove_if_left(folder)


def _remove_if_left(folder: Path) -> None:
    """Remove the folder unless a living process, of whatever pid namespace, holds its lock."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        remove(folder)
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(folder)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)


def require_small(root: Path, limit_mb: int, reason: str, advice: str) -> None:
    """Nothing where a project can be copied within the limit.

    Raises:
        SandboxError: it is larger, or has too many files; the message tells by how much.
    """
    size, count = 0, 0
    for folder, folders, names in os.walk(root):
        skipped = _not_copied(folder, [*folders, *names])
        folders[:] = [name for name in folders if name not in skipped]
        for name in names:
            if name not in skipped:
                with contextlib.suppress(OSError):
                    size += Path(folder, name).lstat().st_blocks * 512
        count += len(names)
        if size > limit_mb << 20 or count > _MOST_FILES:
            much = f"{limit_mb} MB" if size > limit_mb << 20 else f"{_MOST_FILES} files"
            raise SandboxError(
                f"{root} has more than {much}, too much to copy for each run ({reason})",
                f"{advice} Or open a smaller folder, or raise verify.copyMb.",
            )


def copy_project(root: Path, target: Path, *, link_environments: bool) -> None:
    """Copy the project without version control, caches, virtual environments, sockets and what
    cannot be read.

    With `link_environments` a symlink stands for each virtual environment.
    """
    runtime = paths.runtime_dir().resolve()

    def ignored(folder: str, names: list[str]) -> set[str]:
        skipped = _not_copied(folder, names)
        skipped |= {name for name in names if Path(folder, name) in (runtime, target)}
        for name in names:
            path = Path(folder, name)
            if link_environments and is_file(path / "pyvenv.cfg"):
                link = target / path.relative_to(root)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path)
        return skipped

    with contextlib.suppress(shutil.Error):  # folders that vanished or became unreadable meanwhile
        shutil.copytree(
            root,
            target,
            symlinks=True,
            ignore=ignored,
            copy_function=_copy_file,
            dirs_exist_ok=True,
        )


def _copy_file(source: str, target: str) -> str:
    """Copy a file with its times and mode, sharing its blocks where the file system can.

    Raises:
        SandboxError: it was not copied whole. Tests must not run on a part of a project.
    """
    try:
        old = open(source, "rb")  # noqa: PTH123, SIM115
    except OSError:  # vanished or became unreadable since it was listed
        return target
    try:
        with old, open(target, "wb") as new:  # noqa: PTH123
            try:
                fcntl.ioctl(new, _FICLONE, old.fileno())
            except OSError:
                shutil.copyfileobj(old, new, 1 << 20)
        shutil.copystat(source, target)
    except OSError as error:
        raise SandboxError(
            f"{source} could not be copied for a run: {error.strerror}",
            "Free some space in the cache folder, or set OCI_LSP_CACHE_DIR to another one.",
        ) from error
    return target


def _not_copied(folder: str, names: list[str]) -> set[str]:
    skipped = set(_NOT_COPIED.intersection(names))
    for name in names:
        path = Path(folder, name)
        if path.is_symlink():
            continue
        try:
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                readable = os.access(path, os.R_OK | os.X_OK)
                if not readable or is_file(path / "pyvenv.cfg"):
                    skipped.add(name)
            elif not stat.S_ISREG(mode) or not os.access(path, os.R_OK):
                skipped.add(name)  # sockets and pipes cannot be copied
        except OSError:
            skipped.add(name)
    return skipped


def copy_folder(folder: Path) -> Path:
    """Where a kernel's copy of the project goes: its folder, unless that lies in memory."""
    if remedies.file_system(folder) not in ("tmpfs", "ramfs"):
        return folder
    copies = paths.cache_dir() / "copies"
    copies.mkdir(mode=0o700, exist_ok=True)
    return _ours(copies, _PREFIX)


def remove(folder: Path) -> None:
    """Delete a folder of ours; what cannot be deleted is left."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if exists(folder):
        # Folders that a run left without a bottom, or closed to their owner: rm knows the first,
        # an open mode mends the second.
        for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            with contextlib.suppress(OSError):
                subprocess.run([*command, "--", folder], capture_output=True, check=False)
    if (lock := _locks.pop(folder, None)) is not None:
        os.close(lock)
