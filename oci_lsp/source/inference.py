"""Type inference beside the job: what attributes and untyped names of a function lead to.

tree-sitter and the imports tell what a plain name means; what `order.customer.level` means, only
inference does. jedi makes it, in a process of its own (jedi_worker.py): it takes 60 MB and holds
the interpreter for seconds, both too much for the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tree_sitter import Node

from oci_lsp.source.context import Location, class_around
from oci_lsp.source.functions import Function, Span
from oci_lsp.source.project import Project, SourceFile
from oci_lsp.source.syntax import Syntax
from oci_lsp.source.testuses import used_definitions

# Places asked about in one text; each takes some 10 to 100 ms.
_MOST = 40
# Tests whose places are asked about.
_TESTS = 3


@dataclass(frozen=True)
class Asked:
    """One text and the places in it: (line from 1, column from 0 in code points, how)."""

    file: SourceFile
    places: tuple[tuple[int, int, str], ...]
    in_test: bool

    def as_json(self) -> dict[str, Any]:
        """What the worker reads."""
        return {
            "code": self.file.module.text,
            "path": str(self.file.path),
            "places": self.places,
            "in_test": self.in_test,
        }


def questions(
    project: Project, path: Path, function: Function, tests: Sequence[str] = ()
) -> tuple[Asked, ...]:
    """What to ask about a function and its tests, pytest node ids; nothing where nothing helps."""
    file = project.file(path)
    if file is None:
        return ()
    places = [*_places(file, function.span), *_attributes(file, function)]
    asked = [Asked(file, tuple(places[:_MOST]), False)]
    for test, span in list(used_definitions(project, tests))[:_TESTS]:
        asked.append(Asked(test, tuple(_places(test, span))[:_MOST], True))
    return tuple(item for item in asked if item.places)


def _places(file: SourceFile, span: Span) -> Iterator[tuple[int, int, str]]:
    """Attributes, parameters without annotation and assigned names, each text once."""
    syntax = file.module.syntax
    node = syntax.root.descendant_for_byte_range(syntax.byte(span.start), syntax.byte(span.end))
    if node is None:
        return
    seen: set[str] = set()
    pattern = (
        "[(attribute) (parameters (identifier)) (assignment left: (identifier)) (for_statement)] @n"
    )
    for item in sorted(syntax.captures(pattern, "n", node), key=lambda n: n.start_byte):
        for place, how in _inside(item):
            text = "".join(syntax.tokens(item if how == "goto" else place))
            start = syntax.start(place)
            # A node may be larger than the span where the text is broken.
            if text in seen or text in ("self", "cls") or not span.start <= start < span.end:
                continue
            seen.add(text)
            yield _place(syntax, place, how)


def _attributes(file: SourceFile, function: Function) -> Iterator[tuple[int, int, str]]:
    """The attributes that the function's class sets on `self`: a fix may need their types."""
    owner, syntax = class_around(file.module, function), file.module.syntax
    if owner is None:
        return
    pattern = "(assignment left: (attribute object: (identifier) @self attribute: (_) @a)) @n"
    seen: set[str] = set()
    for item in sorted(syntax.captures(pattern, "a", owner), key=lambda n: n.start_byte):
        if syntax.string(item) not in seen:
            seen.add(syntax.string(item))
            yield _place(syntax, item, "type")


def _place(syntax: Syntax, node: Node, how: str) -> tuple[int, int, str]:
    start = syntax.start(node)
    row = syntax.lines.row(start)
    return row + 1, start - syntax.lines.start(row), how


def _inside(node: Node) -> Iterator[tuple[Node, str]]:
    if node.type == "attribute":
        if name := node.child_by_field_name("attribute"):
            yield name, "goto"
    elif node.type == "parameters":
        for child in node.named_children:
            if child.type == "identifier":
                yield child, "type"
    else:
        left = node.child_by_field_name("left")
        if left is not None and left.type == "identifier":
            yield left, "type"


class Inference:
    """One worker for one job; its answers are used as far as they have come.

    Never raises for what the worker does: without answers the context is what imports tell.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._found: list[Location] = []

    async def run(self, project: Project, asked: Sequence[Asked], importer: Path) -> None:
        """Ask, and collect answers until the worker has ended; to be cancelled by `close`."""
        if not asked:
            return
        request = {
            "root": str(project.root),
            "folders": [str(f) for f in project.import_folders(importer) if f.is_dir()],
            "texts": [item.as_json() for item in asked],
        }
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-m",
                "oci_lsp.source.jedi_worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                # No place of the project: Python must find nothing to import there.
                cwd="/",
            )
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            await self._process.stdin.drain()
            async for line in self._process.stdout:
                self._keep(line)
            await self._process.wait()
        except (OSError, ValueError):
            return
        finally:
            await self._end()

    def _keep(self, line: bytes) -> None:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            answer = json.loads(line)
            found = Location(Path(answer["path"]), answer["qualname"], bool(answer["in_test"]))
            if found not in self._found:
                self._found.append(found)

    @property
    def found(self) -> tuple[Location, ...]:
        """What has come so far."""
        return tuple(self._found)

    async def _end(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
