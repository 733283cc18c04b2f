"""Writes what is made from the settings' tree: the JSON schema and the README's table.

    python scripts/settings_docs.py [--check]

With `--check` nothing is written; the exit status is 1 where a file is not as it would be written.
"""

from __future__ import annotations

import argparse
import json
import sys
import typing
from pathlib import Path
from typing import Literal

from oci_lsp.schema import GUARDED_NOTE, json_schema
from oci_lsp.settings import GUARDED, Key, keys, show

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "oci_lsp" / "settings.schema.json"
README = ROOT / "README.md"
BEGIN = "<!-- settings: written by scripts/settings_docs.py -->\n"
END = "<!-- settings: end -->\n"


def table() -> str:
    """The settings as a Markdown table, in the order of the tree."""
    rows = ["| Key | Default | Meaning |", "|---|---|---|"]
    rows += [f"| {_name(key)} | {_default(key)} | {_meaning(key)} |" for key in keys().values()]
    return "\n".join([*rows, "", f"\\* {GUARDED_NOTE}", ""])


def _name(key: Key) -> str:
    return f"`{key.name}`" + (" \\*" if key.name in GUARDED else "")


def _default(key: Key) -> str:
    if key.default in ("", ()):
        return ""
    if isinstance(key.default, float):
        return f"`{key.default:g}`"
    return f"`{key.default if isinstance(key.default, str) else show(key.default)}`"


def _meaning(key: Key) -> str:
    text = key.doc
    if typing.get_origin(key.type) is Literal:
        text += " (" + ", ".join(f"`{choice}`" for choice in typing.get_args(key.type)) + ")"
    return text.replace("|", "\\|")


def with_table(readme: str) -> str:
    """The README with its table written anew.

    Raises:
        ValueError: a marker is missing.
    """
    start, end = readme.index(BEGIN) + len(BEGIN), readme.index(END)
    return readme[:start] + table() + readme[end:]


def main() -> int:
    """Write the files, or check them; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing, tell what is stale")
    check = parser.parse_args().check
    wanted = {
        SCHEMA: json.dumps(json_schema(), indent=2) + "\n",
        README: with_table(README.read_text("utf-8")),
    }
    stale = [
        path
        for path, text in wanted.items()
        if not path.exists() or path.read_text("utf-8") != text
    ]
    for path in stale:
        if check:
            print(f"{path.relative_to(ROOT)} is stale: run `make format`", file=sys.stderr)
        else:
            path.write_text(wanted[path], "utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
