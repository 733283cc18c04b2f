"""The rows as a Markdown page, and the figures over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mutants.projects import Project

Row = dict[str, Any]


def figures(rows: Sequence[Row]) -> str:
    return str(len(rows))


def document(rows: Sequence[Row], projects: Sequence[Project], seed: int) -> str:
    return ""
