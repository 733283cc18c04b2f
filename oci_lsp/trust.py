"""The folders whose code the user lets run: a list in the user's state directory.

What lies in a trusted folder is trusted too.
"""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from oci_lsp.paths import state_dir


def _file() -> Path:
    return state_dir() / "trusted.json"


def folders() -> tuple[Path, ...]:
    """The trusted folders, real paths; a list that cannot be read is an empty one."""
    try:
        found = json.loads(_file().read_text("utf-8"))
    except (OSError, ValueError):
        return ()
    names = found if isinstance(found, list) else ()
    return tuple(Path(name) for name in names if isinstance(name, str))


def is_trusted(path: Path) -> bool:
    """Whether the user trusts the folder that a path is, or lies in."""
    real = path.resolve()
    return any(real.is_relative_to(folder) for folder in folders())


def may_be_remembered(folder: Path) -> bool:
    """Not where the user's home lies in it: whatever is ever downloaded would be trusted."""
    return not Path.home().resolve().is_relative_to(folder.resolve())


def trust(folder: Path) -> None:
    """Remember a folder.

    Raises:
        OSError: the disk is full or the state directory cannot be written.
    """
    with _locked():
        _write({*folders(), folder.resolve()})


def revoke(folder: Path) -> tuple[Path, ...]:
    """Forget a folder, those in it, and those that it lies in; says which.

    Raises:
        OSError: as for `trust`.
    """
    real = folder.resolve()
    with _locked():
        known = folders()
        gone = tuple(f for f in known if f.is_relative_to(real) or real.is_relative_to(f))
        if gone:
            _write(set(known) - set(gone))
    return gone


def _locked() -> AbstractContextManager[Any]:
    """Two windows may be answered at the same time."""
    import filelock

    return filelock.FileLock(_file().with_suffix(".lock"), mode=0o600)


def _write(trusted: set[Path]) -> None:
    """The list appears whole or not at all."""
    partial = _file().with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(sorted(map(str, trusted)), file, indent=1)
    partial.replace(_file())
