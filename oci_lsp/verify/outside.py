"""Where tools keep a project's Python outside of the project, read without running anything."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from oci_lsp.paths import is_dir

_VERSION = re.compile(r"\d+(\.\d+)*")


def environments(root: Path) -> Iterator[Path]:
    """Environments of Poetry, Pipenv and Hatch that belong to the root, those with pytest first."""
    found = [*_poetry(root), *_pipenv(root), *_hatch(root)]
    yield from sorted(found, key=lambda prefix: (not has_pytest(prefix), -_age(prefix)))


def has_pytest(prefix: Path) -> bool:
    """Whether pytest lies in the environment's own packages."""
    return any(prefix.glob("lib/python3*/site-packages/pytest/__init__.py"))


def _age(prefix: Path) -> float:
    try:
        return (prefix / "pyvenv.cfg").stat().st_mtime
    except OSError:
        return 0.0


def _digest(path: Path) -> str:
    """How Poetry and Hatch tell projects of one name apart."""
    return base64.urlsafe_b64encode(hashlib.sha256(os.fsencode(path)).digest()).decode()[:8]


def _poetry(root: Path) -> Iterator[Path]:
    named = os.environ.get("POETRY_VIRTUALENVS_PATH")
    cache = os.environ.get("POETRY_CACHE_DIR") or _xdg("XDG_CACHE_HOME", ".cache") / "pypoetry"
    yield from Path(named or Path(cache, "virtualenvs")).glob(f"*-{_digest(root)}-py*")


def _pipenv(root: Path) -> Iterator[Path]:
    home = os.environ.get("WORKON_HOME") or _xdg("XDG_DATA_HOME", ".local/share") / "virtualenvs"
    for note in Path(home).expanduser().glob(f"{glob_safe(root.name)}-*/.project"):
        try:
            if Path(note.read_text("utf-8").strip()) == root:
                yield note.parent
        except (OSError, UnicodeDecodeError):
            continue


def _hatch(root: Path) -> Iterator[Path]:
    home = os.environ.get("HATCH_DATA_DIR") or _xdg("XDG_DATA_HOME", ".local/share") / "hatch"
    yield from Path(home, "env/virtual").glob(f"*/{_digest(root)}/*")


def glob_safe(name: str) -> str:
    """The name as a pattern that matches it alone."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _xdg(variable: str, below_home: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / below_home)


def pyenv_versions(root: Path) -> Iterator[Path]:
    """The prefixes that the nearest `.python-version` at or above the root names."""
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    if not is_dir(versions):
        return
    for folder in (root, *root.parents):
        try:
            names = (folder / ".python-version").read_text("utf-8").split()
        except (OSError, UnicodeDecodeError):
            continue
        for name in names:
            if "/" not in name and not name.startswith("."):
                yield from _version(versions, name)
        return


def _version(versions: Path, name: str) -> Iterator[Path]:
    """The version or environment of that name; of `3.12` the newest 3.12.x."""
    if is_dir(versions / name):
        yield versions / name
    elif _VERSION.fullmatch(name):
        found = [path for path in versions.glob(f"{name}.*") if _VERSION.fullmatch(path.name)]
        yield from sorted(found, key=lambda path: [int(n) for n in path.name.split(".")])[-1:]
