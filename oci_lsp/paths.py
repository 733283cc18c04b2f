"""Where oci-lsp keeps its files; every folder is private to the user (mode 0700)."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from oci_lsp.errors import OciError

APP = "oci-lsp"
_ADVICE = "Set OCI_LSP_CACHE_DIR, OCI_LSP_STATE_DIR or OCI_LSP_RUNTIME_DIR to a folder of yours."


def exists(path: Path) -> bool:
    """Whether there is something at a path; not, where that may not be known."""
    # Path's own methods raise PermissionError for what lies in a folder that is closed to us.
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: Path) -> bool:
    """As `exists`, for files."""
    return os.path.isfile(path)  # noqa: PTH113


def is_dir(path: Path) -> bool:
    """As `exists`, for folders."""
    return os.path.isdir(path)  # noqa: PTH112


def _private(path: Path) -> Path:
    """The folder, made if need be, open to its owner only.

    Raises:
        OciError: it cannot be made, or it is another user's.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
        if status.st_uid != os.getuid():
            raise OciError(f"{path} belongs to another user", _ADVICE)
        if status.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise OciError(f"{path} cannot be used: {error.strerror}", _ADVICE) from error
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


def history_dir() -> Path:
    """Transcripts of jobs."""
    return _private(state_dir() / "history")


def pages_dir() -> Path:
    """Texts of ours that an editor shows."""
    return _private(state_dir() / "transcripts")


def runtime_dir() -> Path:
    """Sockets and locks, kept short: a unix socket's path holds 107 bytes at most.

    `OCI_LSP_RUNTIME_DIR` overrides; else `$XDG_RUNTIME_DIR`, else a folder of this user's in /tmp.
    """
    if override := os.environ.get("OCI_LSP_RUNTIME_DIR"):
        return _private(Path(override).expanduser())
    xdg = os.environ.get("XDG_RUNTIME_DIR", "")
    if xdg and os.access(xdg, os.W_OK):
        return _private(Path(xdg) / APP)
    path = Path(f"/tmp/{APP}-{os.getuid()}")  # noqa: S108 - its owner is checked
    if path.is_symlink():
        raise OciError(f"{path} is a link, which anybody could have put there", _ADVICE)
    return _private(path)
