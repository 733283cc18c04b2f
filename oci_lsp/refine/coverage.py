"""From the places that a suite's run tells to functions that can be repaired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from oci_lsp.refine.suspects import Named, Spectrum
from oci_lsp.source.project import Project
from oci_lsp.source.testnames import test_names
from oci_lsp.verify.verdict import Place, Report

# What lies in such a folder helps to test, and is read-only to the model as the tests are.
_TEST_FOLDERS = frozenset({"test", "tests"})


def spectra(
    root: Path, report: Report, buffers: Mapping[Path, str], scope: Path | None = None
) -> dict[str, Spectrum]:
    """What each test of a suite's run entered; reads the files of the project.

    A function inside another counts as the outer one. Left out are those of test files and of their
    helpers, and what lies outside of the project.

    Args:
        report: on the texts in `buffers`, and for other files on those of the disk.
        scope: a file or a folder; functions elsewhere are left out too.
    """
    functions = _Functions(root, buffers, report)
    found = {}
    for test in report.tests:
        raising = functions.at(test.places, scope)
        entered = functions.at(test.entered, scope)
        # A test that was cut short could not tell what it had entered.
        found[test.id] = Spectrum(tuple(dict.fromkeys((*entered, *raising))), raising)
    return found


class _Functions:
    def __init__(self, root: Path, buffers: Mapping[Path, str], report: Report) -> None:
        self._root = root
        self._project = Project(root, buffers)
        self._is_test = test_names(root)
        self._tests = {_named_by(root, test.id) for test in report.tests}
        self._known: dict[Place, Named | None] = {}

    def at(self, places: Iterable[Place], scope: Path | None) -> tuple[Named, ...]:
        found = []
        for place in places:
            if place not in self._known:
                self._known[place] = self._named(place)
            function = self._known[place]
            if function and (scope is None or function.path.is_relative_to(scope)):
                found.append(function)
        return tuple(found)

    def _named(self, place: Place) -> Named | None:
        path = place.path
        if not path.is_relative_to(self._root) or self._helps_to_test(path):
            return None
        file = self._project.file(path)
        if file is None:
            return None
        # In order of their start, an outer one before its inner ones.
        for function in file.module.functions:
            if function.lines[0] <= place.line <= function.lines[1]:
                found = Named(path, function.qualname)
                return None if found in self._tests else found
        return None

    def _helps_to_test(self, path: Path) -> bool:
        folders = path.relative_to(self._root).parts[:-1]
        in_tests = not _TEST_FOLDERS.isdisjoint(folders)
        return in_tests or path.name == "conftest.py" or self._is_test(path)


def _named_by(root: Path, node_id: str) -> Named:
    """The function that a node id names: a test may stand in any file."""
    name, _, suffix = node_id.partition("[")[0].partition("::")
    return Named(root / name, suffix.replace("::", "."))
