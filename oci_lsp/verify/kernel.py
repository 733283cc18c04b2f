"""One single-use Jupyter kernel: started, spoken to, and ended with all of its processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from oci_lsp.errors import InterpreterError, SandboxError
from oci_lsp.settings import VerifySettings
from oci_lsp.verify import jupyter, layer, mend, sandbox, wire, workspace
from oci_lsp.verify.preload import Preload
from oci_lsp.verify.printed import Printed

_START_SECONDS = 40.0
_PRELOAD_SECONDS = 65.0
_LOOK = 0.1
_SILENT = (
    "It printed nothing. Another OCI_LSP_RUNTIME_DIR (a short path on a local disk) or"
    " verify.isolation reduced shows whether the sandbox is at fault."
)
_GRACE = 4.0


@dataclass(frozen=True)
class Plan:
    """How kernels of one project are isolated; `bwrap` None means reduced isolation.

    `note` tells what is less than the full isolation and why, `advice` what to do; else empty.
    `foreign`: something in the project belongs to another user or group.
    """

    root: Path
    settings: VerifySettings
    interpreter: Path
    readable: tuple[Path, ...]
    bwrap: Path | None
    overlay: bool
    note: str = ""
    advice: str = ""
    foreign: bool = False

    @property
    def copies(self) -> bool:
        """Whether a kernel tests a copy of the project, as old as the kernel."""
        return self.bwrap is None or not self.overlay


class KernelGoneError(Exception):
    """The kernel ended or did not answer in time; `timed_out` tells which."""

    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.timed_out = timed_out


class PreloadError(InterpreterError):
    """The project's Python died while it imported what it was told to."""


class Kernel:
    """A kernel, its client and its folder. `start` it, `verify` once, then `kill` and `reap`.

    Attributes:
        layered: files of another owner that lie in a layer of its own, as old as itself.
        preload: what it imports ahead.
        refused: after `start`, those of its imports that a run could tell from its own.
        versions: after `start`, the driver's Python ("3.11") and pytest ("8.3.4").
    """

    def __init__(self, plan: Plan, layered: frozenset[Path], preload: Preload) -> None:
        self.layered = layered
        self.preload = preload
        self.refused: tuple[str, ...] = ()
        self.versions = ("", "")
        self._plan = plan
        self._folder: Path | None = None
        self._manager: Any = None
        self._client: Any = None
        self._copy: Path | None = None
        self._copying: asyncio.Future[None] | None = None
        self._copies: Path | None = None
        self._states: dict[Path, layer.State] = {}
        self._printed = Printed()
        self._said = ""

    @property
    def root(self) -> Path:
        """The project's root as the driver sees it: another folder with reduced isolation."""
        if self._plan.bwrap is None:
            assert self._copy is not None
            return self._copy
        return self._plan.root

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        provisioner = self._manager.provisioner if self._manager is not None else None
        process = provisioner.process if provisioner is not None else None
        return process is not None and process.poll() is None

    @property
    def current(self) -> bool:
        """Whether what it holds copies of is still as it was."""
        return layer.is_current(self._states)

    # -- start -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Start it up to the point where the driver has imported what it was told to.

        Raises:
            SandboxError: the kernel did not start.
            InterpreterError: the driver did not, or the project's Python has no pytest.
            PreloadError: the driver died while it imported third-party modules.
        """
        try:
            try:
                await self._start()
            except KernelGoneError:
                # A socket that was to be covered may vanish while bubblewrap starts.
                self._said = self._log()
                if "bwrap: Can't" not in self._said:
                    raise
                await self.reap()
                self._client, self._printed, self._said = None, Printed(), ""
                await self._start()
            prepared = await self._call("ready", seconds=_PRELOAD_SECONDS)
        except KernelGoneError as error:
            advice = self._said or self._log() or _SILENT
            raise SandboxError(f"The kernel did not start: {error}", advice) from error
        if not prepared["ready"]:
            raise PreloadError(
                f"{self._plan.interpreter} ended while it imported the project's dependencies:"
                f" {wire.visible(prepared['output'].strip()) or 'no message'}",
                "Check them with `python -c 'import pytest'` and the like.",
            )
        self.refused = tuple(prepared["refused"])

    async def _start(self) -> None:
        plan = self._plan
        self._folder = workspace.private_folder()
        ipc = self._folder / "i"
        ipc.mkdir()
        scratch = self._folder / "scratch"
        scratch.mkdir()
        prefix = await self._prefix(ipc)
        await asyncio.to_thread(jupyter.load)
        self._manager = jupyter.manager(ipc, prefix, contained=plan.bwrap is not None)
        await self._manager.start_kernel(
            env=sandbox.environment(plan.settings)
            | ({sandbox.MARK: str(self._folder)} if plan.bwrap is None else {}),
            cwd=str(self.root),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=self._printed.write,
            stderr=self._printed.write,
        )
        self._printed.handed_over()
        await self._connect(ipc)
        strict = plan.bwrap is not None
        settings = {
            "ipc": str(ipc),
            "interpreter": str(plan.interpreter),
            "root": str(self.root),
            "preload": list(self.preload.names),
            "forbidden": sorted(self.preload.forbidden),
            "warnings": self.preload.warnings,
            "strict": strict,
            "scratch": sandbox.SCRATCH if strict else str(scratch),
            "capture": sandbox.CAPTURE if strict else str(scratch),
            "disk": [str(self._copies), str(self._folder)] if plan.copies else [],
            "environment": {} if strict else {"TMPDIR": str(_made(self._folder / "tmp"))},
            "memory_mb": plan.settings.memory_mb,
            "processes": plan.settings.processes,
            "devices": plan.settings.devices,
        }
        self._check(await self._call("boot", json.dumps(settings), seconds=_START_SECONDS))
        self._printed.close()
        with contextlib.suppress(OSError):
            ipc.rmdir()  # in a removed folder nothing can be made: none of the disk is writable now

    async def _prefix(self, ipc: Path) -> list[str]:
        plan = self._plan
        assert self._folder is not None
        if plan.copies:
            self._copies = await asyncio.to_thread(workspace.copy_folder, self._folder)
            self._copy = self._copies / plan.root.name
            copying = asyncio.to_thread(
                workspace.copy_project,
                plan.root,
                self._copy,
                link_environments=plan.bwrap is None,
            )
            # A thread cannot be cancelled: who removes the folder waits for it.
            self._copying = asyncio.ensure_future(copying)
            await asyncio.shield(self._copying)
        if plan.bwrap is None:
            return []
        needed = plan.overlay and (self.layered or plan.foreign)
        above = self._folder / "layer" if needed else None
        if above is not None:
            self._states = await asyncio.to_thread(
                layer.make, plan.root, above, self.layered, wide=plan.foreign
            )
        layout = sandbox.Layout(plan.root, ipc, plan.readable, copy=self._copy, layer=above)
        return sandbox.command(plan.bwrap, layout, plan.settings)

    async def _connect(self, ipc: Path) -> None:
        deadline = time.monotonic() + _START_SECONDS
        # zmq looks again only after a tenth of a second: connect when the sockets are there.
        wanted = [ipc / f"i-{port}" for port in jupyter.ports(self._manager)]
        while not all(path.exists() for path in wanted):
            self._still_alive(deadline)
            await asyncio.sleep(0.005)
        self._client = self._manager.client()
        self._client.start_channels(iopub=False, stdin=False, hb=False)
        # The supervisor removes the sockets next: both channels must be through by then.
        message = self._client.session.msg("kernel_info_request")
        self._client.control_channel.send(message)
        while not await self._client.control_channel.msg_ready():
            self._still_alive(deadline)
            await asyncio.sleep(0.005)

    def _still_alive(self, deadline: float) -> None:
        if not self.alive:
            raise KernelGoneError("its process ended")
        if time.monotonic() > deadline:
            raise KernelGoneError("it did not answer", timed_out=True)

    def _check(self, hello: Mapping[str, Any]) -> None:
        python = self._plan.interpreter
        match hello["error"]:
            case "no_pytest":
                raise InterpreterError(
                    f"{python} has no pytest",
                    f"Run `{mend.install_command(python, self._plan.root)}`.",
                )
            case "too_old":
                raise InterpreterError(
                    f"{python} is Python {hello['python']}; 3.9 or newer is needed",
                    "Name another one in verify.interpreter.",
                )
            case "gone" | "broken":
                # An environment is to be made anew only where its Python is not there at all.
                raise InterpreterError(
                    f"{python} does not start: {hello['output'].strip() or 'no answer'}",
                    mend.recreate(python.parent.parent)
                    if hello["error"] == "gone"
                    else f"Try `{python} -c 'import pytest'`. verify.interpreter names another.",
                )
        if int(hello["pytest"].partition(".")[0]) < 7:
            raise InterpreterError(
                f"{python} has pytest {hello['pytest']}; 7 or newer is needed",
                f"Run `{mend.install_command(python, self._plan.root, upgrade=True)}`.",
            )
        self.versions = (hello["python"], hello["pytest"])

    def _log(self) -> str:
        """The end of what the kernel printed, as advice; empty: it printed nothing."""
        text = wire.visible(self._printed.text())
        return f"The last that it printed:\n{text[-1500:]}" if text else ""

    def memory(self) -> int:
        """Bytes that all of its processes use, shared pages in proportion."""
        provisioner = self._manager.provisioner if self._manager is not None else None
        process = provisioner.process if provisioner is not None else None
        return tree_bytes(process.pid) if process is not None else 0

    # -- use -------------------------------------------------------------------------------

    async def verify(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The supervisor's judgement on a request.

        Raises:
            KernelGoneError: the kernel ended, or did not answer in time.
        """
        seconds = request["timeout"] + _GRACE
        return await self._call("verify", json.dumps(request), seconds=seconds)

    async def _call(self, name: str, *arguments: str, seconds: float) -> dict[str, Any]:
        """Call one of the supervisor's functions through the Jupyter protocol."""
        text = ", ".join(map(repr, arguments))
        sent = self._client.execute(
            "from oci_lsp.verify.inside import supervisor",
            silent=True,
            user_expressions={"reply": f"supervisor.{name}({text})"},
        )
        deadline = time.monotonic() + seconds
        while True:
            self._still_alive(deadline)
            if not await self._client.shell_channel.socket.poll(_LOOK * 1000):
                continue
            message = await self._client.get_shell_msg(timeout=1)
            if message["parent_header"].get("msg_id") == sent:
                return _content(message["content"])

    # -- end -------------------------------------------------------------------------------

    def kill(self) -> None:
        """SIGKILL to all of its processes, at once."""
        if self._manager is not None and self._manager.provisioner is not None:
            self._manager.provisioner.kill_now()

    async def reap(self) -> None:
        """Wait for its end and remove what it left on the host."""
        self.kill()
        self._printed.close()
        if self._client is not None:
            self._client.stop_channels()
        if self._manager is not None:
            if self._manager.provisioner is not None:
                await self._manager.provisioner.wait()
            await self._manager._async_cleanup_resources()
            self._manager.context.destroy(linger=0)
        if self._copying is not None:
            await asyncio.wait([self._copying])
        if self._folder is not None:
            await asyncio.to_thread(workspace.remove, self._folder)
        if self._copies is not None:
            await asyncio.to_thread(workspace.remove, self._copies)


def tree_bytes(pid: int) -> int:
    """Bytes that a process and all below it use, shared pages in proportion where that is told."""
    try:
        process = psutil.Process(pid)
        tree = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    return sum(map(_bytes, tree))


def _bytes(process: psutil.Process) -> int:
    # The supervisor cannot be looked into by anybody: what it shares is left out for it.
    for what, figure in (("memory_full_info", "pss"), ("memory_info", "rss")):
        with contextlib.suppress(psutil.Error, AttributeError, OSError):
            info = getattr(process, what)()
            return int(getattr(info, figure)) - (
                getattr(info, "shared", 0) if figure == "rss" else 0
            )
    return 0


def _made(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def _content(content: Mapping[str, Any]) -> dict[str, Any]:
    result = content.get("user_expressions", {}).get("reply", {})
    if content["status"] != "ok" or result.get("status") != "ok":
        failed = result or content
        raise KernelGoneError(f"{failed.get('ename')}: {failed.get('evalue')}")
    reply = result["data"]["application/json"]
    assert isinstance(reply, dict)
    return reply
