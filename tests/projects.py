"""Small projects and tasks that several test folders share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from oci_lsp.refine.task import Kind, Task
from oci_lsp.settings import Settings, merge
from oci_lsp.source.functions import parse
from oci_lsp.source.target import target_at, target_named

BUGGY = "def add(a, b):\n    return a - b\n"
RIGHT = "def add(a, b):\n    return a + b\n"
TEST = "from calc import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n"
CALLS_NOTHING = TEST.replace("add(2, 3) == 5", "callable(add)")


def fenced(code: str, *, prose: str = "Here it is:") -> str:
    """Code as a model writes it."""
    return f"{prose}\n```python\n{code}```\n"


def write(root: Path, files: Mapping[str, str]) -> Path:
    """Files in a new project; gives its real path."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    if "pyproject.toml" not in files:
        (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    return root.resolve()


def calc(root: Path, code: str = BUGGY) -> Path:
    """One function, `add` in calc.py, and its test."""
    return write(root, {"calc.py": code, "test_calc.py": TEST})


def task(root: Path, name: str, target: str | int, kind: Kind = "fix", **more: object) -> Task:
    """A task on a file of the project; `target` is a qualified name or an offset."""
    path = root / name
    module = parse(path.read_bytes().decode())
    found = target_named(module, target) if isinstance(target, str) else target_at(module, target)
    return Task(root, path, module, found, kind, **more)  # type: ignore[arg-type]


def settings(url: str, **sections: Mapping[str, object]) -> Settings:
    """Settings that use an engine at `url`; few candidates, so that scripts stay short."""
    tree: dict[str, Mapping[str, object]] = {
        "engine": {"url": url, "model": "scripted"},
        "refine": {"candidates": 1, "turns": 2, **sections.pop("refine", {})},
        **sections,
    }
    merged, messages = merge(Settings(), tree)
    assert not messages, messages
    return merged
