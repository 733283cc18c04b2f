"""Which functions of a file seem to have a test: a quick look, for links in the editor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oci_lsp.source.functions import Function, Module
from oci_lsp.source.reach import Wanted
from oci_lsp.source.snippets import own_tests
from oci_lsp.source.testfiles import find_test_paths, read_text, says


def seem_tested(
    root: Path, path: Path, module: Module, pins: Mapping[str, Any], buffers: Mapping[Path, str]
) -> tuple[Function, ...]:
    """The functions that carry a test, have one pinned, or are named by a test file.

    Names alone decide here: a job looks closer. Functions inside others, and those of test files,
    are left out.

    Args:
        pins: the table `[tool.oci-lsp.tests]`.
        buffers: unsaved texts by absolute path; they count instead of the file on disk.
    """
    tests = list(find_test_paths(root, buffers))
    if path in tests:
        return ()
    module_name = path.parent.name if path.name == "__init__.py" else path.stem
    texts = [buffers.get(test) or read_text(test) or "" for test in tests]
    texts = [text for text in texts if says(text, module_name)]
    pinned = " ".join(_names(pins))
    return tuple(
        function
        for function in _outer(module)
        if says(pinned, function.name)
        or own_tests(module, function)
        or any(says(text, _word(path, function)) for text in texts)
    )


def _word(path: Path, function: Function) -> str:
    return Wanted(path, function.name, function.owner, function.qualname).word


def _names(pins: Mapping[str, Any]) -> list[str]:
    nested = [name for value in pins.values() if isinstance(value, Mapping) for name in value]
    return [*pins, *nested]


def _outer(module: Module) -> Iterator[Function]:
    end = -1
    for function in module.functions:  # an outer one comes before those in it
        if function.span.start >= end:
            end = function.span.end
            yield function
