"""Transcripts of jobs on disk: one JSON-lines file each, private to the user, bounded in number."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oci_lsp.paths import state_dir
from oci_lsp.settings import HistorySettings


def folder() -> Path:
    """Where transcripts lie."""
    path = state_dir() / "history"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def save(job_id: str, records: Iterator[dict[str, Any]], settings: HistorySettings) -> Path | None:
    """Write one job's records, and delete the oldest transcripts beyond the limit.

    The name sorts by time. The file appears whole or not at all; None where history is off.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    if not settings.enabled:
        return None
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = folder() / f"{stamp}-{job_id}.jsonl"
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    partial.replace(path)
    for old in sorted(folder().glob("*.jsonl"))[: -settings.keep]:
        old.unlink(missing_ok=True)
    return path


def load(path: Path) -> list[dict[str, Any]]:
    """The records of one transcript, the job's own first."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
