"""Tests that may fit a function though none references it, for the user to pick from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oci_lsp.source.imports import Binding
from oci_lsp.source.reach import absolute, module_names
from oci_lsp.source.testfiles import find_test_paths, read_test_file

# Test files that are read; in a project with more, those whose paths are nearest.
_FILES = 100
# Letters or digits up to an underscore or a change to upper case.
_WORD = re.compile(r"[^\W\d_]+?(?=[A-Z][a-z]|[\W\d_]|$)|\d+")


@dataclass(frozen=True)
class Nearby:
    """A test that may fit; `why` says in a few words what speaks for it, "" where nothing does."""

    node_id: str
    why: str


def nearby_tests(
    root: Path, path: Path, name: str, buffers: Mapping[Path, str] | None = None, *, most: int = 20
) -> tuple[Nearby, ...]:
    """Tests under `root`, nearest first: by names, by imports, by where they lie.

    Args:
        path: the function's file.
        name: the function's qualified name; "" where it has none yet.
    """
    buffers = buffers or {}
    words = _words(name)
    paths = sorted(find_test_paths(root, buffers), key=lambda test: _distance(root, path, test))
    names = module_names(root, path)
    ranked: list[tuple[tuple[int, int, int, int], Nearby]] = []
    for order, place in enumerate(paths[:_FILES]):
        file = read_test_file(place, buffers)
        if file is None:
            continue
        relative = place.relative_to(root)
        imports = any(_of(b, names, relative.parts[:-1]) for b in file.bindings)
        own = _words(path.stem) & _words(place.stem)
        for index, test in enumerate(file.tests):
            shared = words & _words(test.suffix)
            whys = [
                f"names {', '.join(sorted(shared))}" if shared else "",
                f"imports {path.stem}" if imports else "",
            ]
            node_id = f"{relative.as_posix()}::{test.suffix}"
            rank = (-len(shared), not (imports or own), order, index)
            ranked.append((rank, Nearby(node_id, ", ".join(why for why in whys if why))))
    return tuple(test for _, test in sorted(ranked, key=lambda item: item[0])[:most])


def _words(name: str) -> frozenset[str]:
    """The words of a name in any style, those left out that every test has."""
    words = (word.lower() for word in _WORD.findall(name))
    return frozenset(words) - {"test", "tests", "it", "the", "a", "is", "init"}


def _of(binding: Binding, names: frozenset[str], package: tuple[str, ...]) -> bool:
    """Whether an import binds a module of these names, or something of it."""
    module = absolute(binding.module, package)
    return module in names or f"{module}.{binding.attribute}" in names


def _distance(root: Path, path: Path, test: Path) -> tuple[bool, int, str]:
    """Smaller is nearer: the file is named after the other one, then folders between them."""
    alike = path.stem in re.split(r"^test_|_test$", test.stem)
    home, there = (p.relative_to(root).parts[:-1] for p in (path, test))
    shared = 0
    while shared < min(len(home), len(there)) and home[shared] == there[shared]:
        shared += 1
    return not alike, len(home) + len(there) - 2 * shared, str(test)
