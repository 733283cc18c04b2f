"""What this machine can run a model on, found out without importing torch."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from oci_lsp.errors import EngineError, ModelError
from oci_lsp.settings import EngineSettings

GIB = 1024**3
Kind = Literal["cuda", "cpu"]
# The user's other programs need their part of the memory too.
CPU_SHARE = 0.6
CUDA_SHARE = 0.92
# WSL keeps it out of PATH.
_NVIDIA_SMI = ("nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi")


@dataclass(frozen=True)
class Device:
    """A device for the engine.

    `name` is for people, `memory_bytes` all of its memory, `limit_bytes` what the user allows of it
    (0: the usual share).
    """

    kind: Kind
    name: str
    memory_bytes: int
    limit_bytes: int = 0

    @property
    def most_bytes(self) -> int:
        """All of its memory, or what the user allows of it."""
        return min(self.limit_bytes or self.memory_bytes, self.memory_bytes)

    @property
    def usable_bytes(self) -> int:
        """What a model may take."""
        share = int(self.memory_bytes * (CUDA_SHARE if self.kind == "cuda" else CPU_SHARE))
        return self.most_bytes if self.limit_bytes else share


def detect(settings: EngineSettings) -> Device:
    """The device that `engine.device` stands for here, with what `engine.maxMemory` leaves of it.

    Raises:
        EngineError: "cuda" is wanted and there is none, or torch was built without it.
    """
    limit = int(settings.max_memory * 1e9)
    return dataclasses.replace(_detect(settings.device), limit_bytes=limit)


def _detect(wanted: Literal["auto", "cuda", "cpu"]) -> Device:
    """The device that the setting `engine.device` stands for here.

    Raises:
        EngineError: "cuda" is wanted and there is none, or torch was built without it.
    """
    if wanted == "cpu":
        return _cpu()
    found = gpu()
    if found is not None and torch_has_cuda():
        return found
    if wanted == "auto":
        return _cpu()
    if found is None:
        raise EngineError(
            "engine.device is cuda, but no NVIDIA GPU is visible",
            "Check that `nvidia-smi` works here, or set engine.device to cpu.",
        )
    raise EngineError(
        f"engine.device is cuda, but the installed torch cannot use the {found.name}",
        "Install a CUDA build of torch (pytorch.org/get-started), or set engine.device to cpu.",
    )


def require_local() -> None:
    """Check that the `local` extra is installed.

    Raises:
        ModelError: it is not.
    """
    needed = ("torch", "transformers", "bitsandbytes", "uvicorn", "starlette", "gguf")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            f"Models cannot run on this machine yet: {', '.join(missing)} not installed",
            "Install them with: pip install 'oci-lsp[local]' - or set engine.url to a server.",
        )


def torch_has_cuda() -> bool:
    """Whether the installed torch is a CUDA build, by what its version file says."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        text = (Path(spec.origin).parent / "version.py").read_text("utf-8")
    except OSError:
        return False
    return re.search(r"^cuda\b[^=\n]*=\s*['\"]", text, re.MULTILINE) is not None


def _cpu() -> Device:
    import psutil

    return Device("cpu", f"CPU with {os.cpu_count() or 1} cores", psutil.virtual_memory().total)


@functools.cache
def gpu() -> Device | None:
    """The first visible NVIDIA GPU."""
    if not _is_gpu_visible():
        return None
    try:
        name, _, mebibytes = _smi("name,memory.total").rpartition(",")
        return Device("cuda", name.strip(), int(mebibytes) * 1024**2)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def driver() -> str:
    """What NVIDIA's driver says of itself: its version; empty: no GPU to be used is here.

    Raises:
        EngineError: a GPU is here, and its driver does not answer.
    """
    if not _is_gpu_visible():
        return ""
    try:
        return _smi("driver_version")
    except FileNotFoundError:
        if not _has_nvidia_hardware():
            return ""
        reason = "there is no nvidia-smi"
    except subprocess.CalledProcessError as error:
        reason = error.stdout.strip() or f"nvidia-smi ends with {error.returncode}"
    except (OSError, subprocess.SubprocessError) as error:
        reason = str(error)
    raise EngineError(
        f"The driver of the NVIDIA GPU does not answer: {reason}",
        "Install NVIDIA's driver, or restart after an update of it; or set engine.device to cpu.",
    )


def _is_gpu_visible() -> bool:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible is None or visible.strip() not in ("", "-1")


def _smi(fields: str) -> str:
    """What nvidia-smi says of the first visible GPU, with commas between the fields.

    Raises:
        OSError, subprocess.SubprocessError: there is no such program, or it failed.
    """
    program = next((found for name in _NVIDIA_SMI if (found := shutil.which(name))), None)
    if program is None:
        raise FileNotFoundError(_NVIDIA_SMI[0])
    query = [program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    if first:
        query.append(f"--id={first}")
    result = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    return result.stdout.strip().partition("\n")[0]


def _has_nvidia_hardware() -> bool:
    """Whether the PCI bus has a display controller of NVIDIA's."""
    for folder in Path("/sys/bus/pci/devices").glob("*"):
        try:
            vendor, kind = ((folder / name).read_text().strip() for name in ("vendor", "class"))
        except OSError:
            continue
        if vendor == "0x10de" and kind.startswith("0x03"):
            return True
    return False
