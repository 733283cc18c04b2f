"""A small virtual environment with packages made for a test, and no pip."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


class Installed:
    """A project's own virtual environment; it finds our pytest through a .pth file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        base = Path(os.path.realpath(sys.executable))
        name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        self.site = folder / "lib" / name / "site-packages"
        self.site.mkdir(parents=True)
        self.add_path("pytest", Path(pytest.__file__).parents[1])
        (folder / "bin").mkdir()
        (folder / "bin/python").symlink_to(base)
        (folder / "bin/python3").symlink_to("python")
        (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\n")

    def add_path(self, name: str, path: Path) -> None:
        """What an editable install does."""
        (self.site / f"{name}.pth").write_text(f"{path}\n")

    def install(self, name: str, text: str) -> Path:
        """A package with enough files to count as slow to import."""
        return package(self.site / name, text)


def package(folder: Path, text: str) -> Path:
    """A package of many modules, all but the first empty."""
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(text)
    for number in range(20):
        (folder / f"part{number}.py").write_text("")
    return folder
