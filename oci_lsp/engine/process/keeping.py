"""Files that spare the next start some seconds: whole or not there, and no error where not."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

log = logging.getLogger(__name__)

# What is still being written is younger.
_STALE_SECONDS = 3600


def weights_id(folder: Path) -> str:
    """What tells a folder's weights from others that were put in their place; empty: none there."""
    try:
        status = (folder / "model.safetensors").stat()
    except OSError:
        return ""
    return f"{status.st_size} bytes of {status.st_mtime_ns}"


def keep(file: Path, write: Callable[[Path], object]) -> None:
    """Write a file that appears whole or not at all, where its folder exists and has the room."""
    partial = None
    try:
        _sweep(file)
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        os.close(descriptor)
        partial = Path(name)
        write(partial)
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())
        partial.replace(file)
    except (OSError, RuntimeError, SafetensorError) as error:
        log.info("%s is not kept: %s", file, error)
        if partial is not None:
            partial.unlink(missing_ok=True)


def _sweep(file: Path) -> None:
    """Remove what an engine that was killed while it wrote has left."""
    for left in file.parent.glob(f".{file.name}.*"):
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            left.unlink(missing_ok=True)
