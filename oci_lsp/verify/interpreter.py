"""Which Python runs the project's tests, and what a sandbox must show for it to work."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from oci_lsp.errors import InterpreterError
from oci_lsp.settings import VerifySettings

_VENVS = (".venv", "venv", ".env", "env")
_PARTS = ("bin", "lib", "lib64", "include", "share", "ssl", "pyvenv.cfg")
_LIBRARY = re.compile(r"(python|pypy)3").match


def find_interpreter(root: Path, settings: VerifySettings) -> Path:
    """The setting, VIRTUAL_ENV, a virtual environment in the root, conda's, else our own.

    The path is absolute with its symlinks kept: they tell a virtual environment from its base.

    Raises:
        InterpreterError: the one that the setting names does not exist or is no program.
    """
    if settings.interpreter:
        return _from_setting(root, settings.interpreter)
    for prefix in _prefixes(root):
        python = prefix / "bin" / "python"
        if os.access(python, os.X_OK):
            return python
    return Path(sys.executable)


def _prefixes(root: Path) -> Iterator[Path]:
    if active := os.environ.get("VIRTUAL_ENV"):
        yield Path(active).absolute()
    for name in _VENVS:
        if (root / name / "pyvenv.cfg").is_file():
            yield root / name
    if conda := os.environ.get("CONDA_PREFIX"):
        yield Path(conda).absolute()


def _from_setting(root: Path, setting: str) -> Path:
    path = Path(os.path.normpath(root / Path(setting).expanduser()))
    if path.is_dir():
        path = path / "bin" / "python"
    if not os.access(path, os.X_OK):
        raise InterpreterError(
            f"verify.interpreter: {path} is not a Python interpreter",
            "Set it to the path of the project's python, or leave it empty to have it found.",
        )
    return path


def needed_paths(python: Path) -> list[Path]:
    """What the interpreter reads, found without running it: the parts of its prefixes.

    A hostile project names prefixes in its pyvenv.cfg and its links. A folder counts only if it
    holds a Python, and of it only what a Python reads: a project can point at an installation,
    not at any folder it likes.
    """
    real = python.resolve()
    found = [python.parent.parent, real.parent.parent]
    # A link to a link: each step's folder is looked through when Python searches its home.
    step = python
    while step.is_symlink() and len(found) < 16:
        step = Path(os.path.normpath(step.parent / step.readlink()))
        found.append(step.parent.parent)
    try:
        lines = (python.parent.parent / "pyvenv.cfg").read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    for line in lines:
        key, _, value = line.partition("=")
        if key.strip() == "home" and value.strip():
            found.append(Path(value.strip()).parent)
    parts = [part for prefix in dict.fromkeys(found) for part in _parts(prefix)]
    return parts if python.parent in parts else [python, *parts]


def _parts(prefix: Path) -> list[Path]:
    if not prefix.is_absolute() or prefix == Path("/") or not _holds_python(prefix):
        return []
    real = prefix.resolve()
    paths = [prefix / name for name in _PARTS]
    # A part that is a link must not lead out: `lib64` to `lib` is usual.
    return [path for path in paths if path.exists() and real in path.resolve().parents]


def _holds_python(prefix: Path) -> bool:
    return any(
        os.access(program, os.X_OK) and program.is_file() for program in prefix.glob("bin/python3*")
    ) and any(folder.is_dir() for folder in prefix.glob("lib*/*") if _LIBRARY(folder.name))


def install_command(python: Path) -> str:
    """The command that gives the interpreter a pytest."""
    if (python.parent.parent / "conda-meta").is_dir():
        return f"conda install --prefix {python.parent.parent} pytest"
    return f"{python} -m pip install pytest"
