"""What this machine can run a model on, found out without importing torch."""

from __future__ import annotations

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

GIB = 1024**3
# The user's other programs need their part of the memory too.
CPU_SHARE = 0.6
CUDA_SHARE = 0.92
# WSL keeps it out of PATH.
_NVIDIA_SMI = ("nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi")


@dataclass(frozen=True)
class Device:
    """A device for the engine; `memory_bytes` is all of its memory, `name` is for people."""

    kind: Literal["cuda", "cpu"]
    name: str
    memory_bytes: int

    @property
    def usable_bytes(self) -> int:
        """What a model may take."""
        return int(self.memory_bytes * (CUDA_SHARE if self.kind == "cuda" else CPU_SHARE))


def detect(wanted: Literal["auto", "cuda", "cpu"] = "auto") -> Device:
    """The device that the setting `engine.device` stands for here.

    Raises:
        EngineError: "cuda" is wanted and there is none, or torch was built without it.
    """
    if wanted == "cpu":
        return _cpu()
    gpu = _gpu()
    if gpu is not None and torch_has_cuda():
        return gpu
    if wanted == "auto":
        return _cpu()
    if gpu is None:
        raise EngineError(
            "engine.device is cuda, but no NVIDIA GPU is visible",
            "Check that `nvidia-smi` works here, or set engine.device to cpu.",
        )
    raise EngineError(
        f"engine.device is cuda, but the installed torch cannot use the {gpu.name}",
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
def _gpu() -> Device | None:
    """The first visible NVIDIA GPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return None
    program = next((found for name in _NVIDIA_SMI if (found := shutil.which(name))), None)
    if program is None:
        return None
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    first = (visible or "").split(",")[0].strip()
    if first:
        query.append(f"--id={first}")
    try:
        result = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
        name, _, mebibytes = result.stdout.strip().splitlines()[0].rpartition(",")
        return Device("cuda", name.strip(), int(mebibytes) * 1024**2)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
