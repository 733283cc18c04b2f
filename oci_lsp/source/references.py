"""Which tests reference a function: they import its module and mention it, directly or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from oci_lsp.source.reach import Reach, Wanted, module_names, reach
from oci_lsp.source.routes import Routes
from oci_lsp.source.testfiles import (
    Definition,
    Test,
    TestFile,
    find_test_paths,
    read_test_file,
    read_text,
    says,
)

__all__ = ["Wanted", "referencing"]

# So many tests that name the function can tell; below, those of its users help.
_FEW = 5
# ... up to this many in all.
_INDIRECT = 15


@dataclass(frozen=True)
class _Hit:
    """A test that mentions the function, with what it is ranked by (smaller is nearer)."""

    node_id: str
    rank: tuple[bool, int, bool, int, str]
    names_owner: bool


def referencing(root: Path, wanted: Wanted, buffers: Mapping[Path, str]) -> tuple[str, ...]:
    """Node ids of the tests under `root` that reference the function, the nearest first.

    Where they are few, those follow that reference its users in the project, or the users of these.
    """
    search = _Search(root, wanted.path, buffers)
    found: dict[str, None] = {}
    for group in Routes(root, buffers).hops(wanted):
        best: dict[str, _Hit] = {}
        for one in group:
            for hit in search.hits(one):
                known = best.get(hit.node_id)
                if known is None or hit.rank < known.rank:
                    best[hit.node_id] = hit
        nearest = sorted(best.values(), key=lambda hit: hit.rank)
        room = None if not found else max(0, _INDIRECT - len(found))
        found.update(dict.fromkeys(hit.node_id for hit in nearest[:room]))
        if len(found) >= _FEW:
            break
    return tuple(found)


@dataclass(frozen=True)
class _Read:
    """A test file with the conftest files whose fixtures it sees, and what its tests lean on."""

    file: TestFile
    fixtures: tuple[TestFile, ...]
    leaning: tuple[tuple[Test, tuple[Definition, ...]], ...]


class _Search:
    """The project's tests, read as far as they are needed."""

    def __init__(self, root: Path, home: Path, buffers: Mapping[Path, str]) -> None:
        """`home` is the function's own file, which may hold its tests whatever it is called."""
        self._root = root
        self._buffers = buffers
        self._paths = (home, *(path for path in find_test_paths(root, buffers) if path != home))
        self._conftests: dict[Path, TestFile | None] = {}
        self._texts: dict[Path, str] = {}
        self._read: dict[Path, _Read | None] = {}

    def hits(self, wanted: Wanted) -> list[_Hit]:
        """Tests that mention the function."""
        names = module_names(self._root, wanted.path)
        hits: list[_Hit] = []
        for path in self._paths:
            # Most files do not say the word: reading costs a hundredth of parsing.
            texts = (self._text(path), *(f.module.text for f in self._fixtures(path)))
            if any(says(text, wanted.word) for text in texts):
                hits += self._in_file(path, wanted, names)
        # A method's name alone is weak (`get`); where some tests make an instance, only they count.
        if wanted.owner and any(hit.names_owner for hit in hits):
            return [hit for hit in hits if hit.names_owner]
        return hits

    def _text(self, path: Path) -> str:
        if path not in self._texts:
            text = self._buffers[path] if path in self._buffers else read_text(path)
            self._texts[path] = text or ""
        return self._texts[path]

    def _fixtures(self, path: Path) -> Iterator[TestFile]:
        """conftest.py files whose fixtures a test file sees, the nearest first."""
        for folder in path.parents:
            place = folder / "conftest.py"
            if place not in self._conftests:
                self._conftests[place] = read_test_file(place, self._buffers)
            if (file := self._conftests[place]) is not None:
                yield file
            if folder == self._root:
                break

    def _tests(self, path: Path) -> _Read | None:
        if path not in self._read:
            file = read_test_file(path, self._buffers)
            self._read[path] = None
            if file is not None and file.tests:
                fixtures = tuple(self._fixtures(path))
                scopes = [one.definitions for one in fixtures]
                leaning = tuple((test, tuple(file.needed(test, scopes))) for test in file.tests)
                self._read[path] = _Read(file, fixtures, leaning)
        return self._read[path]

    def _in_file(self, path: Path, wanted: Wanted, names: frozenset[str]) -> Iterator[_Hit]:
        read = self._tests(path)
        if read is None:
            return
        relative = path.relative_to(self._root)
        own = path == wanted.path
        files = (read.file, *read.fixtures)
        reaches = [reach(one.bindings, wanted, names, relative.parts[:-1]) for one in files]
        if own:
            reaches[0] = Reach.own(wanted)
        if not any(one.words for one in reaches):
            return
        origin = {
            id(d): at for at, one in enumerate(read.fixtures, 1) for d in one.definitions.values()
        }
        for test, needed in read.leaning:
            used = [(d.mentions, reaches[origin.get(id(d), 0)]) for d in needed]
            itself = own and test.name == wanted.name
            if wanted.owner is None:
                is_hit = any(one.words & mentions for mentions, one in used)
            else:
                # A method's name is said on an instance, which another file may have made.
                words = reaches[0].words.union(*(one.words for _, one in used))
                is_hit = any(words & mentions for mentions, _ in used)
            if itself or is_hit:
                direct = bool(reaches[0].words & test.definition.mentions)
                yield _Hit(
                    node_id=f"{relative.as_posix()}::{test.suffix}",
                    rank=_rank(relative, test, wanted, self._root, direct=direct),
                    names_owner=itself or any(one.owners & mentions for mentions, one in used),
                )


def _rank(
    relative: Path, test: Test, wanted: Wanted, root: Path, *, direct: bool
) -> tuple[bool, int, bool, int, str]:
    stem, module = relative.stem, wanted.path.stem
    if wanted.path == root / relative:
        near = 0
    elif stem in (f"test_{module}", f"{module}_test"):
        near = 1
    else:
        near = 2 if module in stem else 3
    named = wanted.name.strip("_") in test.name
    home = wanted.path.relative_to(root).parts[:-1]
    there = relative.parts[:-1]
    shared = 0
    while shared < min(len(home), len(there)) and home[shared] == there[shared]:
        shared += 1
    distance = len(home) + len(there) - 2 * shared
    return (not direct, near, not named, distance, f"{relative}::{test.definition.span.start:09}")
