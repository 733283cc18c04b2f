"""What was measured of a machine, kept for later starts: measuring takes seconds.

A figure that was measured while others used the processors is kept too, since the next start may
come beside them as well; it is measured anew at a quiet start, as all are after a day.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import psutil
import torch

from oci_lsp.engine.process.keeping import keep

FILE = "measured.json"
"""Beside a model's weights: the figures."""
_SECONDS = 24 * 3600.0
# Share of the processors that others may use in a quiet moment.
_OTHERS = 0.2
# Of the machine's times: what nobody uses, and what is counted among others already.
_NO_WORK = ("idle", "iowait", "guest", "guest_nice")

T = TypeVar("T", int, list[float])


class Moment:
    """A point in time from which on it is counted what other processes use."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._used = _used_by_others()

    def is_quiet_since(self) -> bool:
        """Whether others have used hardly anything of the processors since."""
        seconds = (time.monotonic() - self._began) * (psutil.cpu_count() or 1)
        return _used_by_others() - self._used <= _OTHERS * seconds


class Measured:
    """Figures by name, in a file of a model's folder; only of this machine and this torch.

    Args:
        folder: where they are kept; None, or where there is no such folder: they are not.

    Attributes:
        form: of what is measured, part of every name: a figure of one form is none of another.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = folder / FILE if folder is not None and folder.is_dir() else None
        self._here = f"{platform.node()}, {torch.get_num_threads()} threads, {torch.__version__}"
        self.form = ""
        self._kept: dict[str, dict[str, Any]] = {}
        if self._file is not None:
            self._read(self._file)

    def get(self, name: str, measure: Callable[[], T]) -> T:
        """The figure of that name; measured if it is not known, or not well and now is better."""
        name = f"{name}{self.form}"
        kept = self._kept.get(name)
        if kept is None or not (_is_good(kept) or not _START.is_quiet_since()):
            moment, at = Moment(), time.time()
            kept = {"figure": measure(), "at": at, "quiet": moment.is_quiet_since()}
            self._kept[name] = kept
            if self._file is not None:
                self._write(self._file)
        return cast("T", kept["figure"])

    def _read(self, file: Path) -> None:
        try:
            content = json.loads(file.read_text("utf-8"))
            if content["of"] == self._here:
                self._kept = {
                    name: {
                        "figure": _checked(kept["figure"]),
                        "at": float(kept["at"]),
                        "quiet": bool(kept["quiet"]),
                    }
                    for name, kept in content["figures"].items()
                }
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return

    def _write(self, file: Path) -> None:
        text = json.dumps({"of": self._here, "figures": self._kept}, indent=1)
        keep(file, lambda partial: partial.write_text(text, "utf-8"))


def _checked(figure: Any) -> int | list[float]:
    """A count, or seconds.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(figure, int) and figure > 0:
        return figure
    if isinstance(figure, list) and figure:
        seconds = [float(each) for each in figure]
        if min(seconds) > 0:
            return seconds
    raise ValueError(f"{figure} is no figure")


def _is_good(kept: dict[str, Any]) -> bool:
    return bool(kept["quiet"]) and 0 <= time.time() - kept["at"] < _SECONDS


def _used_by_others() -> float:
    """Processor seconds that the machine has spent so far on anything but this process."""
    machine = psutil.cpu_times()._asdict()
    own = psutil.Process().cpu_times()
    spent = sum(seconds for name, seconds in machine.items() if name not in _NO_WORK)
    return float(spent) - own.user - own.system


# The engine imports this some seconds before it measures: that tells whether the start is quiet.
_START = Moment()
