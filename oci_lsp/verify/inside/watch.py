"""The watchdog: what the driver's process tree uses, and how it ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence

from oci_lsp.verify.inside import usage

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_KEYCTL_JOIN_SESSION_KEYRING = 1
_THREADS_PER_PROCESS = 8
_SECONDS = 0.05
_DISK_SECONDS = 0.5
_MEGABYTE = 1 << 20


def harden(*, strict: bool) -> None:
    """Make this process unreadable to its children, and orphans of the tree its children.

    Without a pid namespace (not `strict`) the tree also ends when the host does.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # The user's session keyring (tickets, tokens) is inherited, even into a user namespace.
    if sys.platform == "linux" and (number := _KEYCTL.get(platform.machine())):
        libc.syscall(number, _KEYCTL_JOIN_SESSION_KEYRING, None)
    if not strict:
        signal.signal(signal.SIGTERM, lambda *_: _end())
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _end() -> None:
    kill_tree(strict=False)
    os._exit(1)


def kill_tree(*, strict: bool, seconds: float = 2.0) -> None:
    """SIGKILL everything below this process until nothing is left, or `seconds` are over.

    `strict`: this process is in a pid namespace of its own, all of whose processes may go.
    """
    deadline = time.monotonic() + seconds
    while True:
        if strict:
            # One call for all: nothing forks away between two looks. It spares its caller.
            with contextlib.suppress(OSError):
                os.kill(-1, signal.SIGKILL)
        elif tree := usage.descendants():
            for number in (signal.SIGSTOP, signal.SIGKILL):  # what stands still cannot fork
                for pid in tree:
                    with contextlib.suppress(OSError):
                        os.kill(pid, number)
        if time.monotonic() > deadline or not usage.descendants():
            return
        time.sleep(0.005)


class Watchdog:
    """Compares what the tree uses with its limits.

    Args:
        memory_mb: for memory, files in memory included, and for what is written to `disk`.
        processes: how many the tree may have; threads are limited to a multiple.
        volumes: mount points whose content lies in memory.
        disk: folders on the host's disk that the tree may write to.
    """

    def __init__(
        self, memory_mb: int, processes: int, volumes: Sequence[str], disk: Sequence[str] = ()
    ) -> None:
        self._memory_mb = memory_mb
        self._processes = processes
        self._threads = thread_limit(processes)
        self._memory = usage.Memory(volumes, memory_mb * _MEGABYTE)
        self._disk = [usage.Disk(path, memory_mb * _MEGABYTE) for path in disk]
        self._newest = usage.newest()
        self._looked = self._looked_at_disk = 0.0

    def exceeded(self) -> str:
        """Which limit is exceeded, a sentence; empty: none. To be called every few milliseconds."""
        now = time.monotonic()
        # A bomb doubles in milliseconds: a number without a look at each comes first.
        if usage.newest() - self._newest <= self._processes and now - self._looked < _SECONDS:
            return ""
        self._looked, self._newest = now, usage.newest()
        tree = usage.descendants()
        if len(tree) > self._processes:
            return f"It had more than {self._processes} processes (the limit is `verify.processes`)"
        if sum(tree.values()) > self._threads:
            return (
                f"It had more than {self._threads} threads ({self._threads // self._processes} for"
                " each of `verify.processes`)"
            )
        if self._memory.exceeded(tree):
            return f"It used more than {self._memory_mb} MB (the limit is `verify.memoryMb`)"
        if self._memory.machine_is_short():
            return "It was ended because the machine had no memory left"
        if now - self._looked_at_disk > _DISK_SECONDS:
            self._looked_at_disk = now
            if any(disk.exceeded() for disk in self._disk):
                return f"It wrote more than {self._memory_mb} MB (the limit is `verify.memoryMb`)"
        return ""


def thread_limit(processes: int) -> int:
    """How many threads the tree may have: libraries of numbers start one for each processor."""
    return processes * max(_THREADS_PER_PROCESS, os.cpu_count() or 1)
