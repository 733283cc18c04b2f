"""The commands that mend a project's Python: a pytest for it, or the environment made anew."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from oci_lsp.paths import is_dir, is_file


def install_command(python: Path, root: Path, *, upgrade: bool = False) -> str:
    """The command that gives the interpreter a pytest, by the tool that made its environment.

    With `upgrade` it has one that is too old.
    """
    prefix = python.parent.parent
    program = shlex.quote(str(python))
    if is_dir(prefix / "conda-meta"):
        verb = "update" if upgrade else "install"
        return f"conda {verb} --prefix {shlex.quote(str(prefix))} pytest"
    if is_file(root / "poetry.lock") or prefix.parent.parent.name == "pypoetry":
        return (
            "poetry add --group dev pytest@latest" if upgrade else "poetry add --group dev pytest"
        )
    if is_file(root / "Pipfile") and is_file(prefix / ".project"):
        return "pipenv upgrade --dev pytest" if upgrade else "pipenv install --dev pytest"
    flag = " --upgrade" if upgrade else ""
    if "uv" in configuration(prefix):
        return f"uv pip install --python {program}{flag} pytest"
    if _has(prefix, "EXTERNALLY-MANAGED"):  # the system's: pip refuses
        folder = shlex.quote(str(root / ".venv"))
        return f"{program} -m venv {folder} && {folder}/bin/python -m pip install pytest"
    if _has(prefix, "site-packages/pip"):
        return f"{program} -m pip install{flag} pytest"
    if _has(_base(prefix), "ensurepip"):
        return f"{program} -m ensurepip && {program} -m pip install{flag} pytest"
    if shutil.which("uv"):
        return f"uv pip install --python {program}{flag} pytest"
    return f"pip --python {program} install{flag} pytest"


def recreate(prefix: Path) -> str:
    """Advice with the command that makes a broken environment anew."""
    folder = shlex.quote(str(prefix))
    settings = configuration(prefix)
    found = re.match(r"\d+\.\d+", settings.get("version_info", settings.get("version", "")))
    version = found[0] if found else ""
    if is_dir(prefix / "conda-meta"):
        command = f"conda create --prefix {folder} python={version or 3} pytest"
    elif "uv" in settings:
        wanted = f" --python {version}" if version else ""
        command = f"uv venv --clear{wanted} {folder}"
    elif not settings:  # no environment: nothing that may be written over
        return (
            "Set verify.interpreter to a Python that starts, or leave it empty to have one found."
        )
    else:
        command = f"python{version or 3} -m venv --clear {folder}"
    return f"Make it anew with `{command}`, and install the project and pytest into it."


def configuration(prefix: Path) -> dict[str, str]:
    """What pyvenv.cfg says; empty: there is none."""
    try:
        lines = (prefix / "pyvenv.cfg").read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition("=") for line in lines)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _base(prefix: Path) -> Path:
    """The installation that a virtual environment was made from."""
    home = configuration(prefix).get("home")
    return Path(home).parent if home else prefix


def _has(prefix: Path, name: str) -> bool:
    return any(prefix.glob(f"lib/python3*/{name}")) or any(prefix.glob(f"lib64/python3*/{name}"))
