"""What tests lean on: the names that they, their helpers and their fixtures use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from oci_lsp.source.definitions import dotted_names
from oci_lsp.source.functions import Span
from oci_lsp.source.project import Project, SourceFile
from oci_lsp.source.testfiles import TestFile


def uses_of_tests(project: Project, node_ids: Sequence[str]) -> Iterator[tuple[SourceFile, str]]:
    """(file, dotted name as that file reads it) of what the tests use, each once.

    Fixtures of conftest.py files come with the names that they use themselves.
    """
    seen: set[tuple[str, str]] = set()
    for file, name in _uses(project, node_ids):
        if (file.name, name) not in seen:
            seen.add((file.name, name))
            yield file, name


def used_definitions(
    project: Project, node_ids: Sequence[str]
) -> Iterator[tuple[SourceFile, Span]]:
    """The tests and what of their own files they lean on."""
    for name, suffixes in _by_file(node_ids).items():
        file = project.file(project.root / name)
        if file is None:
            continue
        tests = TestFile(file.module)
        chosen = [
            t for suffix in suffixes for t in (tests.named(suffix) if suffix else tests.tests)
        ]
        spans = (definition.span for test in chosen for definition in tests.needed(test))
        for span in dict.fromkeys(spans):
            yield file, span


def _uses(project: Project, node_ids: Sequence[str]) -> Iterator[tuple[SourceFile, str]]:
    for file, span in used_definitions(project, node_ids):
        for name in names_in(file, span):
            yield file, name
            yield from _fixture(project, file, name)


def _fixture(project: Project, file: SourceFile, name: str) -> Iterator[tuple[SourceFile, str]]:
    if "." in name or name in file.definitions or any(b.name == name for b in file.bindings):
        return
    for folder in _upwards(project.root, file.path.parent):
        conftest = project.file(folder / "conftest.py")
        if conftest is not None and name in conftest.definitions:
            yield conftest, name
            node, syntax = conftest.definitions[name], conftest.module.syntax
            for inner in dotted_names(syntax, node):
                yield conftest, inner
            return


def _upwards(root: Path, folder: Path) -> Iterator[Path]:
    while folder.is_relative_to(root):
        yield folder
        folder = folder.parent


def names_in(file: SourceFile, span: Span) -> Iterator[str]:
    """The dotted names read in a stretch of a file."""
    syntax = file.module.syntax
    node = syntax.root.descendant_for_byte_range(syntax.byte(span.start), syntax.byte(span.end))
    return dotted_names(syntax, node) if node is not None else iter(())


def _by_file(node_ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node_id in node_ids:
        name, _, suffix = node_id.partition("::")
        found.setdefault(name, []).append(suffix.partition("[")[0])
    return found
