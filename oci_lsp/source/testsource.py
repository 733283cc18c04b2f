"""The source of the selected tests for a prompt: imports, what the tests lean on, the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from oci_lsp.source.lines import normalise
from oci_lsp.source.snippets import Snippet
from oci_lsp.source.testfiles import Definition, Test, TestFile, read_test_file

# Characters; some 1,000 tokens.
_LIMIT = 4000


class Selected(Protocol):
    """The part of a selection that has a source."""

    @property
    def node_ids(self) -> tuple[str, ...]: ...

    @property
    def snippets(self) -> tuple[Snippet, ...]: ...


def test_source(
    root: Path,
    selection: Selected,
    buffers: Mapping[Path, str] | None = None,
    limit: int = _LIMIT,
) -> str:
    """The text of the selected tests, at most `limit` characters; a cut says what was left out.

    Tests come in the selection's order, each file with its imports and the helpers, fixtures and
    set-up that its tests mention. A file that is a link out of the project is left out.
    """
    root = root.resolve()
    texts = {p.resolve(): t for p, t in (buffers or {}).items()}
    pieces = [snippet.text.rstrip("\n") for snippet in selection.snippets]
    by_file: dict[str, list[str]] = {}
    for node_id in selection.node_ids:
        name, _, suffix = node_id.partition("::")
        by_file.setdefault(name, []).append(suffix.partition("[")[0])
    room = limit - sum(len(piece) + 2 for piece in pieces)
    for name, suffixes in by_file.items():
        path = root / name
        file = read_test_file(path, texts) if path.resolve().is_relative_to(root) else None
        if file is not None:
            piece = _of_file(file, name, suffixes, room)
            pieces.append(piece)
            room -= len(piece) + 2
    return _cut("\n\n".join(piece for piece in pieces if piece), limit)


test_source.__test__ = False  # type: ignore[attr-defined]


def _of_file(file: TestFile, name: str, suffixes: Sequence[str], room: int) -> str:
    """One file's tests; those that do not fit are counted."""
    tests: list[Test] = []
    for suffix in suffixes:
        tests += [t for t in (file.named(suffix) if suffix else file.tests) if t not in tests]
    shown: list[Test] = []
    text = ""
    for test in tests:
        longer = _rendered(file, name, [*shown, test], len(tests) - len(shown) - 1)
        if shown and len(longer) > room:
            break
        shown.append(test)
        text = longer
    return text


def _rendered(file: TestFile, name: str, tests: Sequence[Test], left: int) -> str:
    needed: list[Definition] = []
    for test in tests:
        needed += [d for d in file.needed(test)[1:] if d not in needed]
    own = {id(test.definition) for test in tests}
    mentioned = frozenset[str]().union(
        *(d.mentions for d in needed), *(t.definition.mentions for t in tests)
    )
    imports = []
    for span in file.module.imports:
        statement = file.text(span)
        bound = {
            word.strip("(),") for word in statement.replace("*", " ").replace(".", " ").split()
        }
        if bound & mentioned or "*" in statement:
            imports.append(statement)
    top = [d for d in needed if file.definitions.get(d.name) is d and id(d) not in own]
    lines = [f"# {name}", *imports]
    blocks = ["\n".join(lines)]
    blocks += [file.lines_of(d.span) for d in sorted(top, key=lambda d: d.span)]
    blocks += _methods(file, tests, needed)
    if left:
        blocks.append(f"# ... {left} more tests of {name} not shown")
    return normalise("\n\n".join(blocks))


def _methods(file: TestFile, tests: Sequence[Test], needed: Sequence[Definition]) -> list[str]:
    """Tests in order; those of one class under its header, after the members they mention."""
    blocks: list[str] = []
    opened: set[tuple[str, ...]] = set()
    for test in tests:
        if test.owners and test.owners not in opened:
            opened.add(test.owners)
            for depth in range(1, len(test.owners) + 1):
                own = file.classes["::".join(test.owners[:depth])]
                blocks.append(file.lines_of(own.header).rstrip())
            members = own.members.values()
            blocks += [file.lines_of(d.span) for d in members if d in needed]
        blocks.append(file.lines_of(test.definition.span))
    return blocks


def _cut(text: str, limit: int) -> str:
    """Head and tail of a text that is too long, with what is missing between them."""
    if len(text) <= limit:
        return text
    lines = text.split("\n")
    head: list[str] = []
    room = limit - 40
    while lines and room - len(lines[0]) - 1 > limit // 3:
        room -= len(lines[0]) + 1
        head.append(lines.pop(0))
    tail: list[str] = []
    while lines and room - len(lines[-1]) - 1 >= 0:
        room -= len(lines[-1]) + 1
        tail.insert(0, lines.pop())
    return "\n".join([*head, f"# ... {len(lines)} lines not shown", *tail])[:limit]
