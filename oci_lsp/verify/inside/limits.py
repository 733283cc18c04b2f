"""What the driver may use of the machine, set from outside of it before any user code runs."""

from __future__ import annotations

import contextlib
import os
import re
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oci_lsp.verify.inside import usage, watch

_OWN_THREADS = 64  # the kernel's and the sandbox's, with room to spare


def limit(pid: int, settings: Mapping[str, Any], timeout: float) -> None:
    memory = settings["memory_mb"] << 20
    # Drivers of devices map more memory than they use.
    if not settings["devices"]:
        _prlimit(pid, "RLIMIT_DATA", memory)
    _prlimit(pid, "RLIMIT_CPU", int(timeout * (os.cpu_count() or 1)) + 2)
    # With 0 the kernel would still feed a dump to a collecting program; with 1 it never does.
    _prlimit(pid, "RLIMIT_CORE", 1)
    for name in ("RLIMIT_RTPRIO", "RLIMIT_NICE"):  # no precedence over the user's programs
        _prlimit(pid, name, 0)
    threads = watch.thread_limit(settings["processes"]) + _OWN_THREADS
    if not settings["strict"]:
        _prlimit(pid, "RLIMIT_FSIZE", memory)
        # Without a namespace of its own all of the user's count: so many more may there be.
        _prlimit(pid, "RLIMIT_NPROC", usage.users_threads() + threads)
    elif _counts_by_namespace():
        _prlimit(pid, "RLIMIT_NPROC", threads)
    # Should the machine run out of memory, this is what is to go, not the user's editor.
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000", "ascii")


def _counts_by_namespace() -> bool:
    """Whether the kernel counts processes by user namespace (Linux 5.14), not all of the user's."""
    numbers = re.findall(r"\d+", os.uname().release)[:2]
    return tuple(map(int, numbers)) >= (5, 14)


def _prlimit(pid: int, name: str, value: int) -> None:
    kind = getattr(resource, name, None)
    if kind is not None and hasattr(resource, "prlimit"):
        hard = resource.prlimit(pid, kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.prlimit(pid, kind, (value, value))
