"""A new test file for a function: where the project would put it, and what it begins with."""

from __future__ import annotations

import keyword
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from oci_lsp.source.functions import Function
from oci_lsp.source.reach import module_names
from oci_lsp.source.signature import parameters
from oci_lsp.source.testfiles import find_source_paths, find_test_paths, read_test_file
from oci_lsp.source.testnames import test_folders

# What an unfilled skeleton holds, so that it is told from a test.
_TO_DO = 'raise NotImplementedError("say here what {name} must do")'
# Folders that sources start in, which no import names.
_SOURCE_FOLDERS = ("src", "lib")


@dataclass(frozen=True)
class Skeleton:
    """A file that may be made; `path` is absolute and nothing is there, unless it `exists`."""

    path: Path
    text: str
    line: int
    """Row to fill in, 0-based."""
    packages: tuple[Path, ...] = ()
    """Empty `__init__.py` files that must be made with it."""
    exists: bool = False
    """Made before, and not filled in yet."""


def skeleton(
    root: Path,
    path: Path,
    name: str,
    function: Function | None = None,
    buffers: Mapping[Path, str] | None = None,
) -> Skeleton | None:
    """A file with one failing test of a function; None where no import can reach the function.

    The test does not mention the function until the user fills it in, so it is never taken for one.

    Args:
        path: the function's file.
        name: the function's qualified name.
        function: None for one that is yet to be written.
    """
    buffers = buffers or {}
    layout = _Layout(root, buffers)
    module = layout.module_name(path)
    exported = name.partition(".")[0]
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in module.split(".")):
        return None
    to_do = _TO_DO.format(name=name)
    lines = [
        f"from {module} import {exported}",
        "",
        "",
        f"def test_{name.rpartition('.')[2].strip('_').lower()}():",
        f"    # For example: assert {_call(name, function)} == ...",
        f"    {to_do}",
    ]
    text = "\n".join([*lines, ""])
    for place in layout.places(path, name):
        known = buffers.get(place)
        if place.exists() or known is not None:
            if to_do in (_read(place) if known is None else known):
                return Skeleton(place, text, len(lines) - 1, exists=True)
            continue
        return Skeleton(place, text, len(lines) - 1, layout.packages(place))
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _call(name: str, function: Function | None) -> str:
    """A call as the user may write it, with the parameters' names for values."""
    known = parameters(function.signature) if function else None
    names = [item for item, default in known or () if not default and item.strip("*/")]
    if function and function.owner:
        static = any("staticmethod" in line for line in function.decorators)
        names = names if static else names[1:]
        owner = function.owner
        name = f"{owner}.{function.name}" if static else f"{owner}(...).{function.name}"
    call = f"{name}({', '.join(item for item in names if not item.startswith('*'))})"
    return f"asyncio.run({call})" if function and function.is_async else call


@dataclass(frozen=True)
class _Pair:
    """A source file and the test file named after it."""

    home: tuple[str, ...]
    """Folders of the source, from the root."""
    there: tuple[str, ...]
    """Folders of the test."""
    before: str
    """What the test's stem has before the source's: `test_`."""
    after: str


# How a project places its tests: a kind, with folders or a count of folders.
_Rule = tuple[str, tuple[str, ...], int]


class _Layout:
    """Where a project's tests lie, learned from those that it has."""

    def __init__(self, root: Path, buffers: Mapping[Path, str]) -> None:
        self._root = root
        self._buffers = buffers
        self._tests = tuple(find_test_paths(root, buffers))
        self._pairs = tuple(self._named_after())

    def _named_after(self) -> Iterator[_Pair]:
        sources: dict[str, list[Path]] = {}
        for path in find_source_paths(self._root, self._buffers):
            sources.setdefault(path.stem, []).append(path)
        for test in self._tests:
            for stem, before, after in _halves(test.stem):
                homes = sources.get(stem, [])
                # Several modules of one name tell nothing.
                if len(homes) == 1:
                    yield _Pair(self._folders(homes[0]), self._folders(test), before, after)

    def _folders(self, path: Path) -> tuple[str, ...]:
        return path.relative_to(self._root).parts[:-1]

    def places(self, path: Path, name: str) -> Iterator[Path]:
        """Paths for a new test file, the best first; something may be there already."""
        folder = self._root.joinpath(*self._folder(self._folders(path)))
        affixes = Counter((pair.before, pair.after) for pair in self._pairs)
        before, after = affixes.most_common(1)[0][0] if affixes else ("test_", "")
        stem = path.parent.name if path.stem == "__init__" else path.stem
        leaf = name.rpartition(".")[2].strip("_").lower()
        stems = (stem, f"{stem}_{leaf}", f"{path.parent.name}_{stem}_{leaf}")
        numbered = (f"{stem}_{leaf}_{number}" for number in range(2, 100))
        for one in (*stems, *numbered):
            place = folder / f"{before}{one}{after}.py"
            # Without packages pytest imports test files by their bare names, which must differ.
            if place.exists() or not self._bare_name_is_taken(place):
                yield place

    def _bare_name_is_taken(self, place: Path) -> bool:
        if any((folder / "__init__.py").exists() for folder in (place.parent, place.parent.parent)):
            return False
        return any(test.name == place.name for test in self._tests)

    def _folder(self, home: tuple[str, ...]) -> tuple[str, ...]:
        """Folders, from the root, of the tests of a source in `home`."""
        votes = Counter(rule for pair in self._pairs for rule in _rules(pair))
        if votes:
            # Of rules that explain as much: one that was seen to follow the source's own folder.
            seen = {rule for pair in self._pairs for rule in _rules(pair) if _follows(rule, pair)}
            rank = {rule: (count, rule in seen, rule[0] == "flat") for rule, count in votes.items()}
            kind, folders, dropped = max(rank, key=lambda rule: (rank[rule], -rule[2]))
            if kind == "beside":
                return (*home, *folders)
            return folders if kind == "flat" else (*folders, *home[dropped:])
        if self._tests:
            return Counter(map(self._folders, self._tests)).most_common(1)[0][0]
        if named := test_folders(self._root):
            return named[0].relative_to(self._root).parts
        if (self._root / "tests").is_dir() or home:
            return ("tests",)
        # A lone module is importable from its own folder, whatever starts the tests.
        return ()

    def packages(self, place: Path) -> tuple[Path, ...]:
        """`__init__.py` files that a new test file needs, where the tests above it are packages."""
        missing: list[Path] = []
        folder = place.parent
        while folder != self._root and not folder.exists():
            missing.append(folder / "__init__.py")
            folder = folder.parent
        return tuple(reversed(missing)) if (folder / "__init__.py").exists() else ()

    def module_name(self, path: Path) -> str:
        """The dotted name by which tests import the module: as they do already, else the likely."""
        names = module_names(self._root, path)
        said = Counter(
            binding.module
            for test in self._tests
            if (file := read_test_file(test, self._buffers)) is not None
            for binding in file.bindings
            if binding.module in names
        )
        if said:
            return said.most_common(1)[0][0]
        folders = self._folders(path)
        if folders and folders[0] in _SOURCE_FOLDERS and not self._is_package(folders[0]):
            folders = folders[1:]
        stem = () if path.stem == "__init__" else (path.stem,)
        whole = ".".join((*folders, *stem))
        shortest = min(names, key=len, default=whole)
        # A package's own name; else, from the root, which pytest's rootdir is.
        return shortest if "." in shortest else whole

    def _is_package(self, folder: str) -> bool:
        return (self._root / folder / "__init__.py").exists()


def _halves(stem: str) -> Iterator[tuple[str, str, str]]:
    """(source's stem, what stands before it, what after it) that a test's name may mean."""
    first, line, rest = stem.partition("_")
    if line and rest:
        yield rest, f"{first}_", ""
    rest, line, last = stem.rpartition("_")
    if line and rest:
        yield rest, "", f"_{last}"


def _rules(pair: _Pair) -> Iterator[_Rule]:
    """Every rule that would have put the pair's test where it lies."""
    yield "flat", pair.there, 0
    if pair.home and pair.there[: len(pair.home)] == pair.home:
        yield "beside", pair.there[len(pair.home) :], 0
    for dropped in range(len(pair.home) + 1):
        tail = pair.home[dropped:]
        base = pair.there[: len(pair.there) - len(tail)]
        if base and (*base, *tail) == pair.there:
            yield "mirror", base, dropped


def _follows(rule: _Rule, pair: _Pair) -> bool:
    """Whether the pair's own folder had a say under the rule."""
    return rule[0] == "beside" or (rule[0] == "mirror" and rule[2] < len(pair.home))


def make(files: Iterable[tuple[Path, str]]) -> None:
    """Write new files, all or none of them; nothing that exists is touched.

    Raises:
        OSError: one exists already (FileExistsError), or cannot be written.
    """
    made: list[Path] = []
    try:
        for path, text in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            made.append(path)
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
    except OSError:
        for path in made:
            path.unlink(missing_ok=True)
        raise
