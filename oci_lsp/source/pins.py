"""Pins: which tests decide about a function, written into `[tool.oci-lsp.tests]`."""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array, InlineTable

from oci_lsp.errors import OciError

_TABLE = ("tool", "oci-lsp", "tests")
# Characters; longer lists get a line for each test.
_LINE = 80


def pin_key(root: Path, path: Path, qualname: str) -> str:
    """The key of a function's pin, in the form that outweighs all others: `src/calc.py::add`."""
    return f"{path.relative_to(root).as_posix()}::{qualname}"


def write_pin(root: Path, path: Path, qualname: str, tests: Sequence[str]) -> Path:
    """Pin tests for a function of the file at `path`; the pyproject.toml, made where none was.

    The file changes as a whole or not at all.

    Raises:
        OciError: it cannot be read, changed or written; the message says what to do.
    """
    place = (root / "pyproject.toml").resolve()
    try:
        text = place.read_bytes().decode() if place.exists() else ""
        made = pinned_text(text, pin_key(root, path, qualname), tests)
        mode = place.stat().st_mode & 0o7777 if place.exists() else 0o666 & ~_umask()
        descriptor, temporary = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(made.encode())
            Path(temporary).chmod(mode)
            Path(temporary).replace(place)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except (OSError, UnicodeDecodeError) as error:
        raise _refusal(str(error)) from error
    return place


def _umask() -> int:
    """The process's mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def pinned_text(text: str, key: str, tests: Sequence[str]) -> str:
    """A pyproject.toml with a pin set; all else, comments and layout too, is as it was.

    Args:
        text: the file as it is; "" for a new one.
        tests: pytest node ids, or texts of asserts.

    Raises:
        OciError: the text is no TOML, or something stands where the pin belongs.
    """
    try:
        before = tomllib.loads(text)
        made = _edited(text, key, tests)
        after = tomllib.loads(made)
    except (tomllib.TOMLDecodeError, TOMLKitError) as error:
        raise _refusal(str(error)) from error
    # Whatever the layout was: only the pin may differ in what the file says.
    wanted = _set(before, key, tests)
    if after != wanted:
        raise _refusal(f"a pin does not fit into its layout of {'.'.join(_TABLE)}")
    return made


def _refusal(why: str) -> OciError:
    return OciError(f"pyproject.toml could not be changed: {why}", "Write the pin by hand.")


def _edited(text: str, key: str, tests: Sequence[str]) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    document = tomlkit.parse(text)
    table: Any = document
    made = False
    for name in _TABLE:
        if name not in table:
            made = True
            if isinstance(table, InlineTable):
                table[name] = tomlkit.inline_table()
            else:
                # A header for the pins alone, none for the tables above.
                table[name] = tomlkit.table(is_super_table=name != _TABLE[-1])
        table = table[name]
        if not isinstance(table, dict):
            raise _refusal(f"{name} is no table in it")
    table[key] = _array(tests, inline=isinstance(table, InlineTable))
    if made and not isinstance(table, InlineTable):
        table.add(tomlkit.nl())
    changed = tomlkit.dumps(document)
    if made:
        changed = changed.rstrip("\r\n") + "\n"
    return changed if newline == "\n" else changed.replace("\r\n", "\n").replace("\n", newline)


def _array(tests: Sequence[str], *, inline: bool) -> Array:
    array = tomlkit.array()
    for test in tests:
        array.append(tomlkit.string(test))
    if not inline and len(tests) > 1 and sum(map(len, tests)) > _LINE:
        array.multiline(True)
    return array


def _set(tree: dict[str, Any], key: str, tests: Sequence[str]) -> dict[str, Any]:
    table = tree
    for name in _TABLE:
        table = table.setdefault(name, {})
    table[key] = list(tests)
    return tree
