"""Where oci-lsp keeps its files; every folder is private to the user (mode 0700)."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

APP = "oci-lsp"


def _private(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)
    return path


def cache_dir() -> Path:
    """Model weights and downloads; safe to delete. `OCI_LSP_CACHE_DIR` overrides."""
    return _private(
        Path(os.environ.get("OCI_LSP_CACHE_DIR") or platformdirs.user_cache_path(APP)).expanduser()
    )


def state_dir() -> Path:
    """Transcripts and logs. `OCI_LSP_STATE_DIR` overrides."""
    return _private(
        Path(os.environ.get("OCI_LSP_STATE_DIR") or platformdirs.user_state_path(APP)).expanduser()
    )


def runtime_dir() -> Path:
    """Sockets and locks, kept short: a unix socket's path holds 107 bytes at most.

    `OCI_LSP_RUNTIME_DIR` overrides; else `$XDG_RUNTIME_DIR`, else a folder of this user's in /tmp.
    """
    if override := os.environ.get("OCI_LSP_RUNTIME_DIR"):
        return _private(Path(override).expanduser())
    xdg = os.environ.get("XDG_RUNTIME_DIR", "")
    if xdg and os.access(xdg, os.W_OK):
        return _private(Path(xdg) / APP)
    path = Path(f"/tmp/{APP}-{os.getuid()}")  # noqa: S108 - ownership is checked below
    private = _private(path)
    if path.is_symlink() or private.stat().st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user; set OCI_LSP_RUNTIME_DIR")
    return private
