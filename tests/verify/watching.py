"""What a run must leave alone: files, and the list of our processes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import psutil


def snapshot(folder: Path) -> dict[str, tuple[str, int]]:
    """Content and modification time of everything below the folder."""
    return {
        str(path): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.lstat().st_mtime_ns,
        )
        for path in [folder, *folder.rglob("*")]
    }


def ours() -> set[int]:
    """Our living descendants."""
    return {child.pid for child in psutil.Process().children(recursive=True) if _lives(child)}


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two looks
        return False
