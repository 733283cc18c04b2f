"""Which Python runs the project's tests, and what a sandbox must show for it to work."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from oci_lsp.errors import InterpreterError
from oci_lsp.paths import exists, is_dir, is_file
from oci_lsp.settings import VerifySettings
from oci_lsp.verify import mend, outside

_VENVS = (".venv", "venv", ".env", "env", ".conda")
_PARTS = ("bin", "lib", "lib64", "include", "share", "ssl", "pyvenv.cfg")
_LIBRARY = re.compile(r"(python|pypy)3").match


def find_interpreter(root: Path, settings: VerifySettings) -> Path:
    """The setting, else the first Python that the project or the user's environment names.

    Looked for in this order: VIRTUAL_ENV, an environment in the root, CONDA_PREFIX, the
    environments that Poetry, Pipenv and Hatch keep outside of the project, the version of pyenv
    that `.python-version` names, our own. A VIRTUAL_ENV in another project's folder comes after the
    root's own environment: it is a terminal's that was not left.

    The path is absolute with its symlinks kept: they tell a virtual environment from its base.

    Raises:
        InterpreterError: the one that the setting names does not exist or is no program; or the
            project's environment, or VIRTUAL_ENV with nothing else to be had, is broken.
    """
    if settings.interpreter:
        return _from_setting(root, settings.interpreter)
    active = os.environ.get("VIRTUAL_ENV", "")
    own = [path for path in (_environment(root / name) for name in _VENVS) if path is not None]
    given = [Path(active).absolute()] if active else []
    if own and given and _is_of_another(given[0], root):
        given = []
    for prefix in given:
        if found := _python(prefix):
            return found
    for prefix in own:
        if found := _python(prefix):
            return found
    for prefix in own:
        raise InterpreterError(f"{prefix} is broken: {_fault(prefix)}", mend.recreate(prefix))
    for prefix in _elsewhere(root):
        if found := _python(prefix):
            return found
    for prefix in given:
        raise InterpreterError(
            f"VIRTUAL_ENV names {prefix}: {_fault(prefix)}",
            "Start the editor without VIRTUAL_ENV or with another, or set verify.interpreter.",
        )
    return Path(sys.executable)


def _python(prefix: Path) -> Path | None:
    """The prefix's interpreter, if it has one that can be started."""
    for name in ("python", "python3"):
        path = prefix / "bin" / name
        if is_file(path) and os.access(path, os.X_OK):
            return path
    return None


def _environment(path: Path) -> Path | None:
    """The environment at the path: virtual, conda's, or one that a `.venv` file names."""
    if is_file(path / "pyvenv.cfg") or is_dir(path / "conda-meta"):
        return path
    if is_file(path):  # Pipenv and Poetry know it
        try:
            named = Path(path.read_text("utf-8").strip()).expanduser()
        except (OSError, UnicodeDecodeError, RuntimeError):
            return None
        return named if named.is_absolute() and is_file(named / "pyvenv.cfg") else None
    return None


def _is_of_another(prefix: Path, root: Path) -> bool:
    """Whether an environment lies as a project's own does, but beside no folder of this one."""
    home = prefix.parent.resolve()
    related = home == root or home in root.parents or root in home.parents
    return prefix.name in _VENVS and not related


def _fault(prefix: Path) -> str:
    """Why an environment has no interpreter to start."""
    python = prefix / "bin" / "python"
    if python.is_symlink() and not exists(python):
        return f"its Python was {python.readlink()}, which is gone"
    return f"there is no Python at {python}" if is_dir(prefix) else "there is no such folder"


def _elsewhere(root: Path) -> Iterator[Path]:
    if conda := os.environ.get("CONDA_PREFIX"):
        yield Path(conda).absolute()
    yield from outside.environments(root)
    yield from outside.pyenv_versions(root)


def _from_setting(root: Path, setting: str) -> Path:
    path = Path(os.path.normpath(root / Path(setting).expanduser()))
    if os.sep not in setting and not exists(path):
        path = Path(shutil.which(setting) or path)  # `python3.12`, as in a terminal
    if is_dir(path):
        path = _python(path) or path / "bin" / "python"
    if not (is_file(path) and os.access(path, os.X_OK)):
        prefix = path.parent.parent
        if is_file(prefix / "pyvenv.cfg"):
            raise InterpreterError(
                f"verify.interpreter: {prefix} is broken: {_fault(prefix)}",
                mend.recreate(prefix),
            )
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
    return [path for path in paths if exists(path) and real in path.resolve().parents]


def _holds_python(prefix: Path) -> bool:
    return any(
        os.access(program, os.X_OK) and is_file(program) for program in prefix.glob("bin/python3*")
    ) and any(is_dir(folder) for folder in prefix.glob("lib*/*") if _LIBRARY(folder.name))
