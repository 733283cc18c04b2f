"""Reduced isolation tests a copy: what an installed project's imports lead to is led there."""

import os
import sys
from typing import Any, Dict, List


def follow(moved: Dict[str, str]) -> None:
    """Let sys.path and the finders of editable installs lead to the copy, here and in children.

    `moved` maps the real folder to its copy.
    """
    entries: List[str] = []
    for index, entry in enumerate(sys.path):
        there = _moved(entry, moved)
        if there != entry:
            sys.path[index] = there
            entries.append(there)
    if entries:
        inherited = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(entries + ([inherited] if inherited else []))
    for name, module in list(sys.modules.items()):
        if name.startswith("__editable__"):  # setuptools'
            _rewrite(getattr(module, "MAPPING", None), moved)
            _rewrite(getattr(module, "NAMESPACES", None), moved)
    redirector: Any = sys.modules.get("editables.redirector")  # hatchling's and pdm's
    _rewrite(getattr(getattr(redirector, "RedirectingFinder", None), "_redirections", None), moved)


def _rewrite(places: Any, moved: Dict[str, str]) -> None:
    if not isinstance(places, dict):
        return
    for name, place in places.items():
        if isinstance(place, str):
            places[name] = _moved(place, moved)
        elif isinstance(place, list):
            places[name] = [_moved(str(entry), moved) for entry in place]


def _moved(entry: str, moved: Dict[str, str]) -> str:
    """A path in the real project, as it is in the copy that is tested."""
    for real, copy in moved.items():
        if entry == real or entry.startswith(real + os.sep):
            inside = copy + entry[len(real) :]
            if os.path.exists(inside):
                return inside
    return entry
