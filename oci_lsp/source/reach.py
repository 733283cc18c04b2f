"""What a file's imports make of its words: which of them mean a wanted function."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from oci_lsp.paths import exists
from oci_lsp.source.imports import Binding


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
        return self.owner.rpartition(".")[2] if self.is_special else self.name

    @property
    def is_special(self) -> bool:
        """A method that Python calls: `__len__`."""
        return bool(self.owner) and self.name.startswith("__") and self.name.endswith("__")


@dataclass(frozen=True)
class Reach:
    """What a file's imports make of its words."""

    words: frozenset[str] = frozenset()
    """Those that mean the function."""
    owners: frozenset[str] = frozenset()
    """Those that mean its class, or the module or package that holds it."""

    @classmethod
    def own(cls, wanted: Wanted) -> Reach:
        """That of the function's own file."""
        return cls(frozenset({wanted.word}), frozenset({wanted.exported}))


def reach(
    bindings: Iterable[Binding], wanted: Wanted, names: frozenset[str], package: tuple[str, ...]
) -> Reach:
    """What imports in a file of `package` make of its words.

    `names` are the dotted names of the wanted function's module.
    """
    words: set[str] = set()
    owners: set[str] = set()
    for binding in bindings:
        more_words, more_owners = _reached(binding, wanted, names, package)
        words |= more_words
        owners |= more_owners
    return Reach(frozenset(words), frozenset(owners))


def _reached(
    binding: Binding, wanted: Wanted, names: frozenset[str], package: tuple[str, ...]
) -> tuple[set[str], set[str]]:
    """(words that then mean the function, names that then mean its class)."""
    module = absolute(binding.module, package)
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


def absolute(module: str, package: tuple[str, ...]) -> str:
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
    while exists(outermost / "__init__.py") and outermost != outermost.parent:
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
