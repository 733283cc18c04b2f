"""jupyter_client's way to start a kernel, for kernels in a sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import Any

import psutil
from jupyter_client.provisioning import LocalProvisioner
from traitlets import Bool, List, Unicode

from oci_lsp.verify.sandbox import MARK

_SECONDS = 2.0


class SandboxProvisioner(LocalProvisioner):  # type: ignore[misc]  # jupyter_client is untyped
    """Starts the kernel behind a command prefix and ends it with all of its processes.

    The prefix is bubblewrap's command line: its first process is the parent of a pid namespace,
    whose end is the end of everything in it. With an empty prefix (reduced isolation) the process
    tree is walked instead, and what left it is known by a variable in its environment.
    """

    process: Any
    _mark = ""
    prefix: Any = List(Unicode(), help="Command line before the kernel's own").tag(config=True)
    contained: Any = Bool(True, help="Whether the prefix makes a pid namespace").tag(config=True)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Start the kernel behind the prefix."""
        self._mark = kwargs.get("env", {}).get(MARK, "")
        return await super().launch_kernel([*self.prefix, *cmd], **kwargs)

    def kill_now(self) -> None:
        """SIGKILL to everything, without waiting for anything."""
        process = self.process
        if process is None or process.poll() is not None:
            return
        doomed = [] if self.contained else _tree(process.pid)
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        for other in doomed:
            with contextlib.suppress(psutil.Error):
                other.kill()

    async def kill(self, restart: bool = False) -> None:
        """SIGKILL to everything."""
        self.kill_now()

    async def wait(self) -> int | None:
        """Wait for the end, without jupyter_client's tenth of a second between looks."""
        process = self.process
        if process is None:
            return 0
        while process.poll() is None:  # noqa: ASYNC110 - Popen has no event to wait for
            await asyncio.sleep(0.005)
        if process.stdin:
            process.stdin.close()
        if self._mark:
            await asyncio.to_thread(_kill_marked, self._mark)
        self.process = None
        return int(process.returncode)


def _kill_marked(mark: str) -> None:
    """SIGKILL to what was started with the mark, whoever its parent is now."""
    deadline = time.monotonic() + _SECONDS
    while found := [process for process in psutil.process_iter() if _has(process, mark)]:
        for kill in (psutil.Process.suspend, psutil.Process.kill):  # what stands still cannot fork
            for process in found:
                with contextlib.suppress(psutil.Error):
                    kill(process)
        if time.monotonic() > deadline:
            return


def _has(process: psutil.Process, mark: str) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
            return process.environ().get(MARK) == mark
    return False


def _tree(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []
