"""The project's modules as text: found by their dotted names, read without running anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from tree_sitter import Node

from oci_lsp.paths import exists
from oci_lsp.source.functions import Module
from oci_lsp.source.imports import Binding, module_bindings
from oci_lsp.source.outline import bound_names, top_level
from oci_lsp.source.testfiles import read_text, skipped_folder

# Bytes. A larger file is a table or generated; parsing it would be felt.
_LARGEST = 500_000


class SourceFile:
    """One file of the project, parsed; what it defines and imports is computed when asked for."""

    def __init__(self, path: Path, name: str, module: Module) -> None:
        self.path = path
        self.name = name
        """Relative to the project's root, forward slashes."""
        self.module = module

    @cached_property
    def definitions(self) -> Mapping[str, Node]:
        """Module-level statements by the names that they define; of several the last."""
        syntax = self.module.syntax
        return {
            name: node
            for node in top_level(syntax.root.named_children)
            for name in sorted(bound_names(syntax, node))
        }

    @cached_property
    def bindings(self) -> tuple[Binding, ...]:
        """What the imports at module level bind."""
        return module_bindings(self.module.syntax)


class Project:
    """Files under one root, unsaved buffers first; parsed once, for as long as this lives.

    Only real files within the root count: no environment that lies in it, no hidden folder, and
    nothing that a link takes out of it.

    Args:
        root: the project's folder, a real path.
        buffers: unsaved texts by real path.
        parsed: modules that are parsed already.
    """

    def __init__(
        self,
        root: Path,
        buffers: Mapping[Path, str] | None = None,
        parsed: Mapping[Path, Module] | None = None,
    ) -> None:
        self.root = root
        self._buffers = buffers or {}
        self._parsed = parsed or {}
        self._files: dict[Path, SourceFile | None] = {}
        self._skipped: dict[Path, bool] = {}

    def file(self, path: Path) -> SourceFile | None:
        """The file at a path; None where there is none that may be shown."""
        if path not in self._files:
            self._files[path] = self._read(path)
        return self._files[path]

    def _read(self, path: Path) -> SourceFile | None:
        if path.suffix != ".py":
            return None
        known = path in self._buffers or path in self._parsed
        try:
            real = path.resolve(strict=not known)
            if not real.is_relative_to(self.root) or self._is_skipped(real.parent):
                return None
            if not known and real.stat().st_size > _LARGEST:
                return None
        except (OSError, RuntimeError):  # a loop of links is a RuntimeError before Python 3.13
            return None
        name = real.relative_to(self.root).as_posix()
        if real in self._parsed:
            return SourceFile(real, name, self._parsed[real])
        text = self._buffers.get(real)
        if text is None:
            text = read_text(real)
        return None if text is None else SourceFile(real, name, Module(text))

    def _is_skipped(self, folder: Path) -> bool:
        if folder == self.root:
            return False
        if folder not in self._skipped:
            self._skipped[folder] = skipped_folder(folder) or self._is_skipped(folder.parent)
        return self._skipped[folder]

    def imported(self, dotted: str, importer: Path) -> SourceFile | None:
        """The module that `dotted` (relative where it starts with dots) means in a file."""
        dots = len(dotted) - len(dotted.lstrip("."))
        parts = [part for part in dotted[dots:].split(".") if part]
        if dots:
            folders = [importer.parent, *importer.parent.parents]
            return self._at(folders[dots - 1], parts) if dots <= len(folders) else None
        for folder in self.import_folders(importer):
            if found := self._at(folder, parts):
                return found
        return None

    def _at(self, folder: Path, parts: list[str]) -> SourceFile | None:
        base = folder.joinpath(*parts)
        found = self.file(base.with_name(f"{base.name}.py")) if parts else None
        return found or self.file(base / "__init__.py")

    def import_folders(self, importer: Path) -> Iterator[Path]:
        """Where absolute imports of a file may start: around its package, then src layouts."""
        folder = importer.parent
        while exists(folder / "__init__.py") and folder != self.root:
            folder = folder.parent
        seen: set[Path] = set()
        while folder.is_relative_to(self.root):
            for place in (folder, folder / "src", folder / "lib"):
                if place not in seen:
                    seen.add(place)
                    yield place
            folder = folder.parent
