"""`oci-lsp settings`: what is in force in the current project, and where each value comes from."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from oci_lsp.schema import json_schema
from oci_lsp.settings import (
    GUARDED,
    Key,
    Settings,
    assigned,
    expected,
    from_command_line,
    from_pyproject,
    keys,
    project_values,
    show,
)
from oci_lsp.source.target import find_root
from oci_lsp.trust import is_trusted

PYPROJECT, SET = "pyproject.toml", "--set"


def in_force(root: Path, options: argparse.Namespace) -> tuple[Settings, list[str]]:
    """What a project and the command line set, and messages about the project's part.

    Raises:
        SettingsError: an unknown key or a wrong value on the command line.
    """
    settings, messages = from_pyproject(Settings(), root, trusted=_trusts(root, options))
    return from_command_line(settings, options.assignments), messages


def _trusts(root: Path, options: argparse.Namespace) -> bool:
    return options.trust or is_trusted(root)


def of_project(options: argparse.Namespace) -> Settings:
    """What the current folder's project and the command line set; messages go to stderr.

    Raises:
        SettingsError: an unknown key or a wrong value on the command line.
    """
    settings, messages = in_force(find_root(Path.cwd()), options)
    tell(messages)
    return settings


def tell(messages: list[str]) -> None:
    """Messages about a project's settings, on stderr."""
    for message in messages:
        print(f"oci-lsp: {message}", file=sys.stderr)


def run(options: argparse.Namespace) -> int:
    """Print the settings, or their schema.

    Raises:
        SettingsError: an unknown key or a wrong value on the command line.
    """
    given = assigned(options.assignments)
    if options.schema:
        print(json.dumps(json_schema(), indent=2))
        return 0
    root = find_root(Path.cwd())
    project, messages = project_values(root, trusted=_trusts(root, options))
    values = {key.name: key.default for key in keys().values()} | project | given
    origins = dict.fromkeys(project, PYPROJECT) | dict.fromkeys(given, SET)
    if options.json:
        _print_json(root, values, origins, messages)
    else:
        tell(messages)
        print(f"# {root}")
        for key in keys().values():
            print(_line(key, values[key.name], origins.get(key.name, "default")))
    return 0


def _line(key: Key, value: Any, origin: str) -> str:
    if origin != "default":
        origin = f"from {origin}; default: {show(key.default)}"
    return f"{key.name} = {show(value)}  ({origin})\n    {key.doc} [{expected(key)}]"


def _print_json(
    root: Path, values: dict[str, Any], origins: dict[str, str], messages: list[str]
) -> None:
    settings = {
        key.name: {
            "value": values[key.name],
            "from": origins.get(key.name, "default"),
            "default": key.default,
            "guarded": key.name in GUARDED,
            "description": key.doc,
        }
        for key in keys().values()
    }
    print(json.dumps({"root": str(root), "settings": settings, "messages": messages}, indent=2))
