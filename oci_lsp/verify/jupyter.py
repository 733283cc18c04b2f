"""jupyter_client's manager of one kernel of ours, over ipc sockets in a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

_ARGV = [
    sys.executable,
    "-P",  # the project is the working directory: its modules must not shadow ours
    "-m",
    "ipykernel_launcher",
    "-f",
    "{connection_file}",
    "--IPKernelApp.capture_fd_output=False",
    "--HistoryManager.enabled=False",
]


def load() -> None:
    """Takes a quarter of a second: in a thread, so that the event loop goes on."""
    import jupyter_client.asynchronous
    import jupyter_client.manager  # noqa: F401


def manager(ipc: Path, prefix: list[str], *, contained: bool) -> Any:
    """A manager that starts our kernel behind a command prefix, with its sockets in `ipc`."""
    import zmq.asyncio
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    config = {"prefix": prefix, "contained": contained}
    spec = KernelSpec(
        argv=_ARGV,
        display_name="oci-lsp",
        language="python",
        interrupt_mode="message",
        metadata={"kernel_provisioner": {"provisioner_name": "oci-lsp-sandbox", "config": config}},
    )

    class OneSpec(KernelSpecManager):  # type: ignore[misc]
        """Knows our kernel alone: nothing is installed into the user's Jupyter."""

        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return spec

    return AsyncKernelManager(
        kernel_name="oci-lsp",
        kernel_spec_manager=OneSpec(),
        transport="ipc",
        ip=str(ipc / "i"),
        connection_file=str(ipc / "c.json"),
        context=zmq.asyncio.Context(),
    )


def ports(of: Any) -> list[int]:
    """Of a manager's sockets those that the host speaks through: shell and control."""
    return [of.shell_port, of.control_port]
