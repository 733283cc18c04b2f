"""Finding the user's test for a function: the request, the code itself, a pin, references."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from oci_lsp.errors import TestsError
from oci_lsp.paths import exists
from oci_lsp.source.functions import CommentBlock, Function, Module
from oci_lsp.source.generated import wanted_name
from oci_lsp.source.references import Wanted, referencing
from oci_lsp.source.snippets import Snippet, own_tests, requested_snippet
from oci_lsp.source.testfiles import find_test_paths, read_test_file
from oci_lsp.source.testsource import test_source

__all__ = ["Selection", "Snippet", "find_tests", "referencing_tests", "test_source"]

_HOW = "Name a pytest node id (tests/test_x.py::test_y), `>>>` examples or assert statements."

# Tests that discovery picks at most: each candidate runs them. Those left out run as regressions.
_MOST = 40


@dataclass(frozen=True)
class Selection:
    """The tests that decide, and where they were found."""

    node_ids: tuple[str, ...]
    """Relative to the project's root, forward slashes: `tests/test_a.py::TestX::test_y`."""
    snippets: tuple[Snippet, ...]
    origin: Literal["request", "comment", "docstring", "pin", "reference", "none"]

    @property
    def empty(self) -> bool:
        return not self.node_ids and not self.snippets


def find_tests(
    root: Path,
    path: Path,
    module: Module,
    target: Function | CommentBlock,
    requested: Sequence[str] = (),
    pins: Mapping[str, Any] | None = None,
    buffers: Mapping[Path, str] | None = None,
) -> Selection:
    """The tests for `target`, a part of `module`, which is the text of the file at `path`.

    The first of these that has any: `requested`; lines in the target's comments or docstring; the
    pin `PATH::QUALNAME` (or `QUALNAME`); tests under `root` that reference the function, the
    nearest of them where they are many. Examples in a docstring are joined by tests that reference
    the function, unless the docstring names tests itself.

    Args:
        root: the project's folder; tests outside it cannot be used.
        requested: node ids (relative to `root` or absolute), or texts of `>>>` examples or asserts.
        pins: the table `[tool.oci-lsp.tests]`.
        buffers: unsaved texts by absolute path; they count instead of the file on disk.

    Raises:
        TestsError: a test was named that does not exist, or an example cannot be read.
    """
    root, path = root.resolve(), path.resolve()
    texts = {**{p.resolve(): t for p, t in (buffers or {}).items()}, path: module.text}
    if requested:
        return _named(root, requested, texts, "request")
    if own := own_tests(module, target):
        ids = tuple(_checked_id(root, node_id, texts) for node_id in own.node_ids)
        if own.in_comment or ids or not isinstance(target, Function):
            return Selection(ids, own.snippets, "comment" if own.in_comment else "docstring")
        # Examples explain; what else the function must do, the tests say.
        return Selection(_nearest(root, path, module, target, texts), own.snippets, "docstring")
    name = target.qualname if isinstance(target, Function) else wanted_name(target)
    if name and (pinned := _pinned(pins or {}, root, path, name)):
        return _named(root, pinned, texts, "pin")
    found: tuple[str, ...] = ()
    if isinstance(target, Function):
        found = _nearest(root, path, module, target, texts)
    elif name and not target.indent:
        # The tests may have been written first.
        found = referencing(root, Wanted(path, name, None, name), texts)
    return Selection(found, (), "reference" if found else "none")


def referencing_tests(
    root: Path,
    path: Path,
    module: Module,
    function: Function,
    buffers: Mapping[Path, str] | None = None,
) -> tuple[str, ...]:
    """Node ids of all tests under `root` that reference the function, the nearest first.

    A test references it when its file, or a conftest.py, imports the function's module, and the
    test mentions the function: itself, or through helpers, fixtures, set-up or constants. Where no
    test does, those count that reference a function of the project that uses this one.
    """
    root, path = root.resolve(), path.resolve()
    texts = {**{p.resolve(): t for p, t in (buffers or {}).items()}, path: module.text}
    if not path.is_relative_to(root):
        return ()
    # A function inside another is reached through that one.
    outer = min(
        (f for f in module.functions if _holds(f, function)),
        key=lambda f: f.span.start,
        default=function,
    )
    return referencing(root, Wanted(path, outer.name, outer.owner, outer.qualname), texts)


def _holds(outer: Function, inner: Function) -> bool:
    return outer.span.start < inner.span.start and inner.span.end <= outer.span.end


def _nearest(
    root: Path, path: Path, module: Module, function: Function, buffers: Mapping[Path, str]
) -> tuple[str, ...]:
    return referencing_tests(root, path, module, function, buffers)[:_MOST]


def _named(
    root: Path,
    requested: Sequence[str],
    buffers: Mapping[Path, str],
    origin: Literal["request", "pin"],
) -> Selection:
    node_ids: list[str] = []
    snippets: list[Snippet] = []
    for text in requested:
        snippet = requested_snippet(text)
        if snippet is None:
            node_ids.append(_checked_id(root, text.strip(), buffers))
        else:
            snippets.append(snippet)
    return Selection(tuple(dict.fromkeys(node_ids)), tuple(snippets), origin)


def _pinned(pins: Mapping[str, Any], root: Path, path: Path, qualname: str) -> tuple[str, ...]:
    """The tests pinned for a function.

    Raises:
        TestsError: the pin is neither a string nor a list of strings.
    """
    relative = path.relative_to(root).as_posix() if path.is_relative_to(root) else ""
    table = pins.get(relative)
    nested = table.get(qualname) if isinstance(table, Mapping) else None
    value = next(
        (v for v in (pins.get(f"{relative}::{qualname}"), nested, pins.get(qualname)) if v), None
    )
    if value is None:
        return ()
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(v, str) for v in values):
        raise TestsError(
            f"the pin of {qualname} in [tool.oci-lsp.tests] is no string and no list of strings",
            _HOW,
        )
    return tuple(values)


def _checked_id(root: Path, node_id: str, buffers: Mapping[Path, str]) -> str:
    """The id relative to `root`.

    Raises:
        TestsError: no such file, it lies outside, or the file holds no such test.
    """
    name, separator, suffix = node_id.partition("::")
    given = Path(name).expanduser()
    place = (given if given.is_absolute() else root / given).resolve()
    if not name or "\n" in node_id or not (exists(place) or place in buffers):
        if not separator and not name.endswith(".py"):
            raise TestsError(f"{node_id!r} is no test", _HOW)
        raise TestsError(f"the test file {name!r} does not exist", _similar(root, place, buffers))
    if not place.is_relative_to(root):
        raise TestsError(f"the test {node_id!r} lies outside the project {root}", _HOW)
    relative = place.relative_to(root).as_posix()
    if not separator:
        return relative
    plain = suffix.partition("[")[0]
    file = read_test_file(place, buffers)
    # A doctest that pytest collects is named by module and object, with dots.
    if file is not None and "." not in plain and not file.may_hold(plain):
        known = [test.suffix for test in file.tests]
        near = difflib.get_close_matches(plain, known, n=3) or known[:5]
        advice = f"It has: {', '.join(near)}" if near else "It has no tests."
        raise TestsError(f"{relative} has no test {plain!r}", advice)
    return f"{relative}::{suffix}"


def _similar(root: Path, place: Path, buffers: Mapping[Path, str]) -> str:
    same = [p for p in find_test_paths(root, buffers) if p.name == place.name][:3]
    if same:
        return "Did you mean " + " or ".join(p.relative_to(root).as_posix() for p in same) + "?"
    return f"Paths count from {root}. {_HOW}"
