"""Which slow third-party modules a test run will import, found without running anything."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

# Slow to import, and not configured by what a conftest does before the import.
_HEAVY = frozenset(
    (
        *("aiohttp", "bs4", "cv2", "fastapi", "httpx", "jax", "jinja2", "lxml", "matplotlib"),
        *("networkx", "numpy", "pandas", "PIL", "polars", "pyarrow", "pydantic", "requests"),
        *("scipy", "shapely", "skimage", "sklearn", "sqlalchemy", "starlette", "sympy"),
        *("tensorflow", "torch", "torchvision", "transformers", "xarray", "yaml"),
    )
)


def heavy_imports(texts: Iterable[str]) -> frozenset[str]:
    """Top-level names of the slow modules that the sources import anywhere."""
    found: set[str] = set()
    for text in texts:
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            continue  # an unfinished buffer, or newer syntax than ours: only speed is lost
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return frozenset(found & _HEAVY)


def read(paths: Iterable[Path]) -> list[str]:
    """The texts of those paths that can be read."""
    texts = []
    for path in paths:
        try:
            texts.append(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
    return texts
