"""The watchdog: what the driver's process tree uses, and how it ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MEGABYTE = 1 << 20


def harden(*, die_with_parent: bool) -> None:
    """Make this process unreadable to its children, and orphans of the tree its children."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if die_with_parent:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def descendants() -> list[int]:
    """Pids of every living process below this one; empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The command's name stands in parentheses and may hold anything.
            fields = entry.read_text("ascii", "replace").rpartition(")")[2].split()
            if fields[0] not in "ZX":
                children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found: list[int] = []
    queue = [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def kill_tree(seconds: float = 2.0) -> None:
    """SIGKILL everything below this process until nothing is left, or `seconds` are over."""
    deadline = time.monotonic() + seconds
    while pids := descendants():
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return
        time.sleep(0.005)


class Watchdog:
    """Compares the tree's memory and process count with their limits."""

    def __init__(self, memory_mb: int, processes: int, volumes: Sequence[str]) -> None:
        self._memory_mb = memory_mb
        self._processes = processes
        # File systems that live in memory; what is in them already is not the run's.
        self._volumes = {path: _used_bytes(path) for path in volumes}

    def exceeded(self) -> str:
        """Which limit is exceeded, a sentence; empty: none."""
        pids = descendants()
        if len(pids) > self._processes:
            return f"It had more than {self._processes} processes (the limit is `verify.processes`)"
        limit = self._memory_mb * _MEGABYTE
        stored = sum(max(0, _used_bytes(p) - before) for p, before in self._volumes.items())
        # The cheap figure counts pages shared after a fork more than once: confirm it.
        likely = sum(map(_own_bytes, pids)) + stored > limit
        if likely and sum(map(_proportional_bytes, pids)) + stored > limit:
            return f"It used more than {self._memory_mb} MB (the limit is `verify.memoryMb`)"
        return ""


def _used_bytes(path: str) -> int:
    try:
        status = os.statvfs(path)
    except OSError:
        return 0
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def _own_bytes(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/statm").read_text("ascii").split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * _PAGE


def _proportional_bytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    except OSError:
        return _own_bytes(pid)
    return sum(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Pss:"))
