"""What was measured of a machine, kept for a day: measuring anew would make each start longer."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import psutil
import torch

from oci_lsp.engine.process.keeping import keep

FILE = "measured.json"
"""Beside a model's weights: the figures."""
_SECONDS = 24 * 3600.0
# Share of the processors that others may use meanwhile, so that a figure is worth keeping.
_OTHERS = 0.2
# Of the machine's times: what nobody uses, and what is counted among others already.
_NO_WORK = ("idle", "iowait", "guest", "guest_nice")

T = TypeVar("T", int, list[float])


class Measured:
    """Figures by name, in a file of a model's folder; only of this machine and this torch.

    Args:
        folder: where they are kept; None, or where there is no such folder: they are not.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = folder / FILE if folder is not None and folder.is_dir() else None
        self._here = f"{platform.node()}, {torch.get_num_threads()} threads, {torch.__version__}"
        self._figures: dict[str, int | list[float]] = {}
        self._since = time.time()
        # What was measured beside others' work is good enough for this run only.
        self._quiet = True
        if self._file is not None:
            self._read(self._file)

    def get(self, name: str, measure: Callable[[], T]) -> T:
        """The figure of that name; measured if it is not known, and kept if all was quiet."""
        if name not in self._figures:
            before = _used_by_others()
            start = time.perf_counter()
            self._figures[name] = measure()
            seconds = (time.perf_counter() - start) * (psutil.cpu_count() or 1)
            if _used_by_others() - before > _OTHERS * seconds:
                self._quiet = False
            if self._file is not None and self._quiet:
                self._write(self._file)
        return cast("T", self._figures[name])

    def _read(self, file: Path) -> None:
        try:
            kept = json.loads(file.read_text("utf-8"))
            if kept["of"] == self._here and 0 <= self._since - kept["since"] < _SECONDS:
                self._since = float(kept["since"])
                self._figures = dict(kept["figures"])
        except (OSError, ValueError, LookupError, TypeError):
            return

    def _write(self, file: Path) -> None:
        text = json.dumps({"of": self._here, "since": self._since, "figures": self._figures})
        keep(file, lambda partial: partial.write_text(text, "utf-8"))


def _used_by_others() -> float:
    """Processor seconds that the machine has spent so far on anything but this process."""
    machine = psutil.cpu_times()._asdict()
    own = psutil.Process().cpu_times()
    spent = sum(seconds for name, seconds in machine.items() if name not in _NO_WORK)
    return float(spent) - own.user - own.system
