"""Which tests reference a function: they import its module and mention it, directly or not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from oci_lsp.source.imports import Binding
from oci_lsp.source.testfiles import (
    Test,
    TestFile,
    find_test_paths,
    read_test_file,
    read_text,
)


@dataclass(frozen=True)
class Wanted:
    """What tests are looked for: a function by name, in the module at `path`."""

    path: Path
    name: str
    owner: str | None
    """Qualname of the class whose method it is."""
    qualname: str

    @property
    def exported(self) -> str:
        """The name at module level by which a test can get at it."""
        return self.qualname.partition(".")[0]

    @property
    def word(self) -> str:
        """What a test of it must say: a special method is never called by its name."""
        if self.owner is None:
            return self.exported
        special = self.name.startswith("__") and self.name.endswith("__")
        return self.owner.rpartition(".")[2] if special else self.name


@dataclass(frozen=True)
class _Hit:
    """A test that mentions the function, with what it is ranked by (smaller is nearer)."""

    node_id: str
    rank: tuple[bool, int, bool, int, str]
    names_owner: bool


def referencing(root: Path, wanted: Wanted, buffers: Mapping[Path, str]) -> tuple[str, ...]:
    """Node ids of the tests under `root` that reference the function, the nearest first."""
    names = module_names(root, wanted.path)
    hits: list[_Hit] = []
    paths = [wanted.path, *(p for p in find_test_paths(root, buffers) if p != wanted.path)]
    conftests: dict[Path, TestFile | None] = {}
    says = re.compile(rf"\b{re.escape(wanted.word)}\b").search
    for path in paths:
        fixtures = list(_conftests(root, path, buffers, conftests))
        # Most files do not say the word: reading costs a hundredth of parsing.
        if not any(says(one.module.text) for one in fixtures):
            text = buffers[path] if path in buffers else read_text(path)
            if text is None or not says(text):
                continue
        file = read_test_file(path, buffers)
        if file is not None and file.tests:
            hits += _hits(root, path, file, fixtures, wanted, names)
    # A method's name alone is weak (`get`); where some tests make an instance, only they count.
    if wanted.owner and any(hit.names_owner for hit in hits):
        hits = [hit for hit in hits if hit.names_owner]
    return tuple(hit.node_id for hit in sorted(hits, key=lambda hit: hit.rank))


def _conftests(
    root: Path, path: Path, buffers: Mapping[Path, str], known: dict[Path, TestFile | None]
) -> Iterator[TestFile]:
    """conftest.py files whose fixtures a test file sees, the nearest first."""
    for folder in path.parents:
        place = folder / "conftest.py"
        if place not in known:
            known[place] = read_test_file(place, buffers)
        if (file := known[place]) is not None:
            yield file
        if folder == root:
            break


def _hits(
    root: Path,
    path: Path,
    file: TestFile,
    fixtures: list[TestFile],
    wanted: Wanted,
    names: frozenset[str],
) -> Iterator[_Hit]:
    relative = path.relative_to(root)
    own = path == wanted.path
    package = relative.parts[:-1]
    reach = [_reach(one, wanted, names, package) for one in (file, *fixtures)]
    if own:
        reach[0] = _Reach(frozenset({wanted.word}), frozenset({wanted.exported}))
    if not any(one.words for one in reach):
        return
    origin = {id(d): at for at, one in enumerate(fixtures, 1) for d in one.definitions.values()}
    for test in file.tests:
        needed = file.needed(test, [one.definitions for one in fixtures])
        used = [(d.mentions, reach[origin.get(id(d), 0)]) for d in needed]
        itself = own and test.name == wanted.name
        if wanted.owner is None:
            is_hit = any(one.words & mentions for mentions, one in used)
        else:
            # A method's name is said on an instance, which another file may have made.
            words = reach[0].words.union(*(one.words for _, one in used))
            is_hit = any(words & mentions for mentions, _ in used)
        if itself or is_hit:
            direct = bool(reach[0].words & test.definition.mentions)
            yield _Hit(
                node_id=f"{relative.as_posix()}::{test.suffix}",
                rank=_rank(relative, test, wanted, root, direct=direct),
                names_owner=itself or any(one.owners & mentions for mentions, one in used),
            )


@dataclass(frozen=True)
class _Reach:
    """What a file's imports make of its words."""

    words: frozenset[str] = frozenset()
    """Those that mean the function."""
    owners: frozenset[str] = frozenset()
    """Those that mean its class, or the module or package that holds it."""


def _reach(
    file: TestFile, wanted: Wanted, names: frozenset[str], package: tuple[str, ...]
) -> _Reach:
    words: set[str] = set()
    owners: set[str] = set()
    for binding in file.bindings:
        more_words, more_owners = _reached(binding, wanted, names, package)
        words |= more_words
        owners |= more_owners
    return _Reach(frozenset(words), frozenset(owners))


def _reached(
    binding: Binding, wanted: Wanted, names: frozenset[str], package: tuple[str, ...]
) -> tuple[set[str], set[str]]:
    """(words that then mean the function, names that then mean its class)."""
    module = _absolute(binding.module, package)
    is_method = wanted.owner is not None
    if not binding.attribute:  # import pkg.mod [as m]: pkg.mod.f
        near = module in names or any(name.startswith(f"{module}.") for name in names)
        return ({wanted.word}, {wanted.exported}) if near else (set(), set())
    if f"{module}.{binding.attribute}" in names:  # from pkg import mod
        return {wanted.word}, {wanted.exported}
    inside = module in names
    above = any(name.startswith(f"{module}.") for name in names)
    if not inside and not above:
        return set(), set()
    if binding.attribute == "*":
        return {wanted.word}, {wanted.exported}
    if binding.attribute == wanted.exported:
        if not is_method:
            return {binding.name}, set()
        special = wanted.word == wanted.exported
        return {binding.name if special else wanted.word}, {binding.name}
    # Something else of the module, such as a factory, may hand out an instance.
    return ({wanted.word}, set()) if inside and is_method else (set(), set())


def _absolute(module: str, package: tuple[str, ...]) -> str:
    """A relative import's module, from the root of the project."""
    dots = len(module) - len(module.lstrip("."))
    if not dots:
        return module
    base = package[: len(package) - dots + 1]
    return ".".join([*base, *filter(None, [module[dots:]])])


def module_names(root: Path, path: Path) -> frozenset[str]:
    """Dotted names by which the module at `path` can be imported.

    The shortest starts at the outermost package that holds it; longer ones start further up.
    """
    is_package = path.name == "__init__.py"
    outermost = path.parent
    while (outermost / "__init__.py").exists() and outermost != outermost.parent:
        outermost = outermost.parent
    shortest = path.relative_to(outermost).with_suffix("").parts
    longer = outermost.relative_to(root).parts if outermost.is_relative_to(root) else ()
    if is_package:
        shortest = shortest[:-1]
    return frozenset(
        ".".join((*longer[first:], *shortest))
        for first in range(len(longer) + 1)
        if longer[first:] or shortest
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
