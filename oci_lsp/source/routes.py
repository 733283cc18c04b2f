"""Ways to a function that no test names: who uses it in the project, and who uses those."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from oci_lsp.source.reach import Reach, Wanted, module_names, reach
from oci_lsp.source.testfiles import TestFile, find_source_paths, read_test_file, read_text, says

# Users of users of the function; further away a test says little about it.
HOPS = 3
# Functions that are looked for in tests at one hop: one that half the project uses is tested by
# whatever is near.
_MOST = 24
# Source files parsed at most, the nearest first: a common word stands in all files of a project.
_MOST_FILES = 100


class Routes:
    """The project's sources, read as far as they are needed."""

    def __init__(self, root: Path, buffers: Mapping[Path, str]) -> None:
        self._root = root
        self._buffers = buffers
        self._texts: dict[Path, str] | None = None
        self._files: dict[Path, TestFile | None] = {}
        self._near: dict[Path, tuple[Path, ...]] = {}

    def hops(self, wanted: Wanted) -> Iterator[tuple[Wanted, ...]]:
        """The function with its like in subclasses, then those that use it, then their users."""
        known: set[Wanted] = set()
        here = [wanted]
        for _ in range(HOPS + 1):
            family = [*here, *(heir for one in here for heir in self._inheriting(one))]
            here = [one for one in dict.fromkeys(family) if one not in known][: 2 * _MOST]
            if not here:
                return
            known.update(here)
            yield tuple(here)
            users = dict.fromkeys(user for one in here for user in self._users(one))
            here = [user for user in users if user not in known][:_MOST]

    def _users(self, wanted: Wanted) -> Iterator[Wanted]:
        """Functions, methods and names of the project's modules that mention the function."""
        for path, file in self._mentioning(wanted.path, wanted.word):
            package = path.relative_to(self._root).parts[:-1]
            if path == wanted.path:
                seen = Reach.own(wanted)
            else:
                names = module_names(self._root, wanted.path)
                seen = reach(file.bindings, wanted, names, package)
            if seen.words:
                yield from _users_in(path, file, wanted, seen)

    def _inheriting(self, wanted: Wanted) -> Iterator[Wanted]:
        """The method as classes below its own have it, those that don't define it themselves."""
        if wanted.owner is None:
            return
        waiting = [wanted.owner.rpartition(".")[2]]
        seen = set(waiting)
        while waiting:
            base = waiting.pop()
            for path, file in self._mentioning(wanted.path, base):
                for label, one in file.classes.items():
                    name = label.rpartition("::")[2]
                    if base in one.bases and name not in seen and wanted.name not in one.members:
                        seen.add(name)
                        waiting.append(name)
                        owner = label.replace("::", ".")
                        yield Wanted(path, wanted.name, owner, f"{owner}.{wanted.name}")

    def _mentioning(self, home: Path, word: str) -> Iterator[tuple[Path, TestFile]]:
        """Source files that may import the module at `home` and say the word, itself first."""
        for path in self._importing(home):
            if says(self._sources()[path], word):
                if path not in self._files and len(self._files) < _MOST_FILES:
                    self._files[path] = read_test_file(path, self._buffers)
                if (file := self._files.get(path)) is not None:
                    yield path, file

    def _importing(self, home: Path) -> tuple[Path, ...]:
        """The nearest first; files that name neither the module nor a package of it are not."""
        if home not in self._near:
            names = {home.stem, *home.relative_to(self._root).parts[:-1]} - {"__init__"}
            found = (
                path
                for path, text in self._sources().items()
                if path == home or "from ." in text or any(name in text for name in names)
            )
            self._near[home] = tuple(
                sorted(found, key=lambda p: (p != home, p.parent != home.parent, p))
            )
        return self._near[home]

    def _sources(self) -> Mapping[Path, str]:
        if self._texts is None:
            self._texts = {}
            for path in find_source_paths(self._root, self._buffers):
                text = self._buffers[path] if path in self._buffers else read_text(path)
                if text is not None:
                    self._texts[path] = text
        return self._texts


def _users_in(path: Path, file: TestFile, wanted: Wanted, seen: Reach) -> Iterator[Wanted]:
    """Of one file: what mentions the function at module level, in functions, in methods."""
    own = path == wanted.path
    for name, definition in file.definitions.items():
        if name in file.classes or (own and name == wanted.qualname):
            continue
        if seen.words & definition.mentions and _means(wanted, definition.mentions, seen):
            yield Wanted(path, name, None, name)
    family = wanted.owner.replace(".", "::") if own and wanted.owner else ""
    for label, one in file.classes.items():
        above = label in file.lineage(family)
        # What a base class does with the method, it does for the classes below it.
        owner = (family if above else label).replace("::", ".")
        related = above or (family and family in file.lineage(label))
        for name, member in one.members.items():
            user = Wanted(path, name, owner, f"{owner}.{name}")
            if user == wanted or not seen.words & member.mentions:
                continue
            if related or _means(wanted, member.mentions, seen):
                yield user
        if wanted.owner is None and seen.words & set(one.bases):
            yield Wanted(path, "__init__", owner, f"{owner}.__init__")


def _means(wanted: Wanted, mentions: Iterable[str], seen: Reach) -> bool:
    """Whether the word stands for this function: a method's may be another class's too."""
    if wanted.owner is None or wanted.is_special or wanted.name.startswith("_"):
        return True
    return bool(seen.owners & set(mentions))
