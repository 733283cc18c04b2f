"""The layout is a promise: imports point downward, and torch lives in one process."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import oci_lsp

PACKAGE = Path(oci_lsp.__file__).parent
BASE = {"errors", "settings", "schema", "paths"}
# What a layer may import of ours, besides the base and itself.
ALLOWED = {
    "source": set(),
    "verify": set(),
    "engine": set(),
    "history": set(),
    "trust": set(),
    "refine": {"source", "verify", "engine", "history"},
    "terminal": {"source", "verify", "engine", "history", "refine", "trust"},
    "lsp": {"source", "verify", "engine", "history", "refine", "trust"},
    "demo": {"engine", "terminal"},
    "cli": {"terminal", "lsp", "demo"},
}
HEAVY = {"torch", "transformers", "bitsandbytes", "accelerate", "safetensors"}


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _modules() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if "demo/project" not in path.as_posix()]


@pytest.mark.parametrize("path", _modules(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_point_downward(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    layer = parts[0]
    if layer in ("__init__", "__main__"):
        return
    ours = {name.split(".")[1] for name in _imports(path) if name.startswith("oci_lsp.")}
    ours -= BASE | {layer, "__version__"}
    forbidden = ours - ALLOWED.get(layer, set())
    assert not forbidden, f"{layer} must not import {forbidden}"


@pytest.mark.parametrize("path", _modules(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_heavy_libraries_are_imported_in_the_engine_process_only(path):
    if path.parent == PACKAGE / "engine" / "process":
        return
    heavy = {name.split(".")[0] for name in _imports(path)} & HEAVY
    assert not heavy


def test_the_engine_process_is_imported_by_nobody_else():
    for path in _modules():
        if path.parent != PACKAGE / "engine" / "process":
            assert not any(n.startswith("oci_lsp.engine.process") for n in _imports(path)), path


@pytest.mark.parametrize("module", ["oci_lsp.cli", "oci_lsp.lsp.server", "oci_lsp.refine.session"])
def test_no_front_end_loads_torch(module):
    code = f"import sys, {module}; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_driver_needs_the_standard_library_and_pytest_only():
    driver = PACKAGE / "verify" / "inside" / "driver.py"
    names = {name.split(".")[0] for name in _imports(driver)}
    beside = {path.stem for path in driver.parent.glob("*.py")}
    assert names - {"pytest", "_pytest"} - beside <= set(sys.stdlib_module_names)
