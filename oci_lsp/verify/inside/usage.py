"""What a process tree uses: processes, threads, memory in each of its forms, disk."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_INODE = 1024  # what an empty file takes of the kernel's memory, about
_SHORT = 50  # a machine with less than this part of its memory available is short of it


def descendants() -> dict[int, int]:
    """Pid and number of threads of every living process below this one; empty without a /proc."""
    children: dict[int, list[tuple[int, int]]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The command's name stands in parentheses and may hold anything.
            fields = entry.read_text("ascii", "replace").rpartition(")")[2].split()
            if fields[0] not in "ZX":
                found = int(entry.parent.name), int(fields[17])
                children.setdefault(int(fields[1]), []).append(found)
    tree: dict[int, int] = {}
    queue = [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        tree.update(below)
        queue += [pid for pid, _ in below]
    return tree


def users_threads() -> int:
    """Threads of all processes of this user; 0 without a /proc."""
    total = 0
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if entry.stat().st_uid == os.geteuid():
                total += int(entry.read_text("ascii", "replace").rpartition(")")[2].split()[17])
    return total


def newest() -> int:
    """The pid that was given last, in this pid namespace; 0: not to be known."""
    try:
        return int(Path("/proc/loadavg").read_text("ascii").split()[4])
    except (OSError, ValueError, IndexError):
        return 0


class Memory:
    """Memory of a tree against a limit in bytes.

    Anonymous memory is counted by process. Shared memory has no owner that could be asked
    cheaply: the machine's total tells whether there can be too much, and only then is it looked
    for in maps, in open files and in what is stored in `volumes`.
    """

    def __init__(self, volumes: Sequence[str], limit: int) -> None:
        self._limit = limit
        # What is there already is not the run's.
        self._volumes = {path: stored_bytes(path) for path in volumes}
        self._before = _machine()

    def exceeded(self, tree: Iterable[int]) -> bool:
        """Whether the processes use more than the limit."""
        stored = sum(max(0, stored_bytes(p) - before) for p, before in self._volumes.items())
        grown = max(0, _machine().get("Shmem", 0) - self._before.get("Shmem", 0))
        own = {pid: _own_bytes(pid) for pid in tree}
        if sum(own.values()) + max(stored, grown) <= self._limit:
            return False
        # The cheap figure counts pages shared after a fork more than once, and other programs'.
        private, mapped = 0, 0
        for pid, most in own.items():
            parts = _proportional_bytes(pid)
            private += parts.get("Pss_Anon", most) if parts else most
            mapped += parts.get("Pss_Shmem", 0)
        # A file in a volume that is mapped, too, counts twice, but never beyond the total.
        shared = max(stored, min(grown, stored + mapped + _held_bytes(own)))
        return private + shared > self._limit

    def machine_is_short(self) -> bool:
        """Whether next to no memory is left and the run may be why, uncounted (pipes, tables)."""
        now = _machine()
        available = now.get("MemAvailable")
        if available is None or available > now["MemTotal"] // _SHORT:
            return False
        return self._before.get("MemAvailable", 0) - available > self._limit // 2


class Disk:
    """What was written below a folder on the host's disk, against a limit in bytes."""

    def __init__(self, path: str, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._used = stored_bytes(path)

    def exceeded(self) -> bool:
        """Whether the disk and the folder have both grown beyond the limit."""
        if stored_bytes(self._path) - self._used <= self._limit:
            return False
        # Others write to the disk as well: whose is it?
        return _folder_bytes(self._path) > self._limit


def volumes(*, besides: str) -> list[str]:
    """Mount points that can be written to and whose content lies in memory, without one of them."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        mount, _, rest = line.partition(" - ")
        point, options = mount.split()[4:6]
        path = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point)
        if rest.startswith(("tmpfs ", "overlay ")) and options.startswith("rw") and path != besides:
            found.append(path)
    return found


def stored_bytes(path: str) -> int:
    """Bytes used on the file system that holds the path; empty files have their price."""
    try:
        status = os.statvfs(path)
    except OSError:
        return 0
    blocks = (status.f_blocks - status.f_bfree) * status.f_frsize
    return blocks + (status.f_files - status.f_ffree) * _INODE


def _folder_bytes(path: str) -> int:
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total


def _machine() -> dict[str, int]:
    """The machine's memory in bytes, by /proc/meminfo's names."""
    try:
        text = Path("/proc/meminfo").read_text("ascii")
    except OSError:
        return {}
    return {name: int(kilo) << 10 for name, kilo in re.findall(r"^(\w+): +(\d+) kB", text, re.M)}


def _own_bytes(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/statm").read_text("ascii").split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * _PAGE


def _proportional_bytes(pid: int) -> dict[str, int]:
    """Bytes by kind, shared pages divided among those who share; empty: not to be read."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    except OSError:
        return {}
    return {name: int(kilo) << 10 for name, kilo in re.findall(r"^(\w+): +(\d+) kB", text, re.M)}


def _held_bytes(tree: Iterable[int]) -> int:
    """Bytes of memory files (memfd) that are open in the tree; each counts once."""
    found: dict[tuple[int, int], int] = {}
    for pid in tree:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                if str(link.readlink()).startswith("/memfd:"):
                    status = link.stat()
                    found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(found.values())
