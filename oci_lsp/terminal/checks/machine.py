"""This machine: the GPU, the 4-bit kernels, the model, the disk, the engine."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oci_lsp import paths
from oci_lsp.engine import catalogue, devices, fetch, identity, lifecycle
from oci_lsp.engine.catalogue import ModelRef
from oci_lsp.engine.devices import Device
from oci_lsp.engine.lifecycle import EngineStatus
from oci_lsp.errors import EngineError, ModelError, OciError
from oci_lsp.settings import EngineSettings
from oci_lsp.terminal.checks.finding import BlockedError, Check, Finding

# torch's first import on a machine with a slow disk.
_SELFTEST_SECONDS = 180.0
# bf16 has 8 bits: products of both kinds differ by less than a percent.
_LARGEST_ERROR = 0.02
_NOT_NEEDED = "not needed: engine.url names a server"


class Machine:
    """The checks of this machine, for the engine that the settings ask for."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings

    def checks(self) -> Sequence[Check]:
        """In the order in which one builds upon another."""
        return (
            Check("Python", self.python),
            Check("GPU", self.gpu),
            Check("NF4 kernels", self.kernels),
            Check("model", self.model),
            Check("disk", self.disk),
            Check("engine", self.engine),
        )

    async def python(self) -> Finding:
        """The Python that runs oci-lsp."""
        good = sys.version_info >= (3, 11)
        return Finding(
            "Python",
            good,
            f"{platform.python_version()} ({sys.executable})",
            "" if good else "Install oci-lsp with Python 3.11 or newer.",
        )

    async def gpu(self) -> str:
        """The GPU and its driver."""
        if self._settings.url:
            return _NOT_NEEDED
        if self._settings.device == "cpu":
            return "not used: engine.device is cpu"
        version = await asyncio.to_thread(devices.driver)
        gpu = await asyncio.to_thread(devices.gpu)
        if not version or gpu is None:
            device = await asyncio.to_thread(self._device)
            return f"no NVIDIA GPU; models run on the {device.name}"
        found = f"{gpu.name}, {gpu.memory_bytes / devices.GIB:.1f} GiB, driver {version}"
        if importlib.util.find_spec("torch") and not devices.torch_has_cuda():
            raise EngineError(f"{found}: the installed torch cannot use it", _CUDA_BUILD)
        return found

    async def kernels(self) -> str:
        """A real NF4 product on the device, in a process of its own."""
        if self._settings.url:
            return _NOT_NEEDED
        devices.require_local()
        device = await self._found_device()
        found = await _selftest(device.kind)
        if "failed" in found:
            full = "out of memory" in str(found["failed"])
            advice = _FULL if full else _KERNEL_ADVICE[device.kind]
            raise EngineError(str(found["failed"]), advice)
        if found["error"] > _LARGEST_ERROR:
            raise EngineError(
                f"bitsandbytes {found['bitsandbytes']} computes wrongly on the {device.name}: off "
                f"by {found['error']:.0%}",
                _KERNEL_ADVICE[device.kind],
            )
        return (
            f"bitsandbytes {found['bitsandbytes']} and torch {found['torch']} on the "
            f"{device.name}: a product in {found['milliseconds']:.2f} ms"
        )

    async def model(self) -> Finding | str:
        """The model's files."""
        if self._settings.url:
            return f"the server's: {self._settings.model}"
        ref = await self._ref()
        source = catalogue.local_source(ref)
        if source is None:
            advice = f"`oci-lsp model pull {ref.name}` fetches it; the first fix asks, too."
            return Finding("model", False, f"{ref.name} is not on this machine yet", advice)
        how = "ready in NF4" if catalogue.has_nf4(ref) else "to be quantised at the first start"
        size = await asyncio.to_thread(_size, source)
        return f"{ref.name}, {how}, {size / 1e9:.2f} GB ({source})"

    async def disk(self) -> str:
        """Room in the cache, for what is still to be fetched and quantised."""
        folder = paths.cache_dir()
        needed = 0
        if not self._settings.url:
            # What is wrong with the model is told by its own check.
            with contextlib.suppress(OciError):
                needed = _still_to_write(await self._ref())
        free = shutil.disk_usage(folder).free
        found = f"{free / 1e9:.1f} GB free in {folder}"
        if needed:
            found += f"; the model takes {needed / 1e9:.1f} GB more"
        if free < needed + fetch.SPARE_BYTES:
            raise ModelError(
                found,
                "Free some space (`oci-lsp model remove`), or point OCI_LSP_CACHE_DIR to a larger "
                "disk.",
            )
        return found

    async def engine(self) -> Finding | str:
        """The engine: the server of engine.url, or this user's own processes."""
        if self._settings.url:
            return await self._server()
        engines = await lifecycle.status()
        if not engines:
            return "none runs; the first fix starts it, or `oci-lsp engine start`"
        ill = [one for one in engines if one.health is None or one.health.status == "error"]
        others = [one for one in engines if one.identity.version != identity.version()]
        advice = ""
        if ill:
            advice = f"`oci-lsp engine stop` ends it. Its log: {ill[0].identity.log}"
        elif others:
            advice = "That of another version is not used; `oci-lsp engine stop` frees its memory."
        return Finding("engine", not ill, "; ".join(map(_told, engines)), advice)

    async def _server(self) -> str:
        client = await lifecycle.connect(self._settings)
        async with client:
            models = await client.models()
        wanted = self._settings.model
        if wanted not in ("", "auto", *models):
            raise EngineError(
                f"The server at {self._settings.url} does not list {wanted}",
                f"Set engine.model to one that it has: {', '.join(models) or 'none'}.",
            )
        return f"{self._settings.url} has {', '.join(models)}"

    def _device(self) -> Device:
        return devices.detect(self._settings)

    async def _found_device(self) -> Device:
        """The device.

        Raises:
            BlockedError: there is none such, which the GPU's check tells.
        """
        try:
            return await asyncio.to_thread(self._device)
        except EngineError as error:
            raise BlockedError("the device of engine.device cannot be used") from error

    async def _ref(self) -> ModelRef:
        device = await self._found_device()
        return await asyncio.to_thread(catalogue.resolve, self._settings.model, device)


_CUDA_BUILD = (
    "Install a build of torch for the driver's CUDA (pytorch.org/get-started), or set "
    "engine.device to cpu."
)
_FULL = "Close what else uses the GPU's memory; `oci-lsp engine stop` frees what an engine holds."
_KERNEL_ADVICE = {
    "cuda": f"{_CUDA_BUILD} Then `pip install --upgrade bitsandbytes`.",
    "cpu": "Install them anew: pip install --force-reinstall torch bitsandbytes",
}


async def _selftest(device: str) -> dict[str, Any]:
    """What oci_lsp.engine.process.selftest says; `failed` where it did not get that far."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "oci_lsp.engine.process.selftest", device),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd="/",
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), _SELFTEST_SECONDS)
    except TimeoutError:
        return {"failed": f"no NF4 product within {_SELFTEST_SECONDS:.0f} s"}
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        # Libraries print to stdout too, before.
        return dict(json.loads(out.decode().strip().rpartition("\n")[2]))
    except (ValueError, TypeError):
        last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return {"failed": f"the NF4 product ended with status {process.returncode}: {last}"}


def _still_to_write(ref: ModelRef) -> int:
    """Bytes that the download and the NF4 weights of a model will take."""
    if catalogue.has_nf4(ref) or ref.entry is None:
        return 0
    if catalogue.local_source(ref) is not None:
        return ref.entry.nf4_bytes
    return ref.entry.nf4_bytes + ref.entry.parameters * catalogue.BF16_BYTES


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(
        Path(folder, name).stat().st_size for folder, _, names in os.walk(path) for name in names
    )


def _told(engine: EngineStatus) -> str:
    same = engine.identity.version == identity.version()
    version = "this version" if same else f"version {engine.identity.version}"
    state = "does not answer" if engine.health is None else engine.health.status
    return (
        f"{engine.identity.model} on {engine.identity.device}: {state} "
        f"({version}, process {engine.pid})"
    )
