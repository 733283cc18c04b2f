"""Which files hold tests by their name: pytest's patterns and the project's own."""

from __future__ import annotations

import configparser
import fnmatch
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oci_lsp.source.elements import Function

_PATTERNS = ("test_*.py", "*_test.py", "test.py", "tests.py")


def is_test(path: Path, function: Function) -> bool:
    """Whether a function is a test, or a fixture of one, as far as pytest's own names tell.

    What judges must not be rewritten by what is judged.
    """
    if path.name != "conftest.py" and not any(fnmatch.fnmatch(path.name, p) for p in _PATTERNS):
        return False
    names = function.qualname.split(".")
    return (
        names[-1].startswith("test")
        or names[0].startswith("Test")
        or any("fixture" in decorator for decorator in function.decorators)
    )


def test_names(root: Path) -> Callable[[Path], bool]:
    """Tells of an absolute path below `root` whether its name is a test file's."""
    options = _options(root)
    own = [word for word in _words(options.get("python_files")) if not word.startswith("/")]
    named = {root / word for word in _words(options.get("testpaths")) if word.endswith(".py")}
    # A pattern for everything (doctests, say) tells nothing.
    patterns = (*_PATTERNS, *(p for p in own if p not in ("*", "*.py")))

    def is_test(path: Path) -> bool:
        if path.suffix != ".py":
            return False
        relative = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        return path in named or any(
            fnmatch.fnmatch(relative if "/" in pattern else path.name, pattern)
            for pattern in patterns
        )

    return is_test


test_names.__test__ = False  # type: ignore[attr-defined]


def test_folders(root: Path) -> tuple[Path, ...]:
    """The folders below `root` that the project's own pytest option `testpaths` names."""
    words = _words(_options(root).get("testpaths"))
    found = ((root / word).resolve() for word in words if not set(word) & set("*?["))
    return tuple(path for path in found if path.is_relative_to(root) and path.suffix != ".py")


test_folders.__test__ = False  # type: ignore[attr-defined]


def _options(root: Path) -> dict[str, Any]:
    """pytest's options of the project: from the file that pytest would take."""
    for name, section in (("pytest.ini", "pytest"), (".pytest.ini", "pytest")):
        if (found := _ini(root / name, section)) is not None:
            return found
    if found := _toml(root / "pyproject.toml"):
        return found
    for name, section in (("tox.ini", "pytest"), ("setup.cfg", "tool:pytest")):
        if (found := _ini(root / name, section)) is not None:
            return found
    return {}


def _toml(path: Path) -> dict[str, Any]:
    try:
        tool = tomllib.loads(path.read_text("utf-8")).get("tool", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}
    table = tool.get("pytest", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        return {}
    options = table.get("ini_options", table)
    return options if isinstance(options, dict) else {}


def _ini(path: Path, section: str) -> dict[str, Any] | None:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return None
    return dict(parser[section]) if parser.has_section(section) else None


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        try:
            return shlex.split(value)
        except ValueError:
            return []
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
