"""What the model should know around a function, nearest first, within a budget.

Static throughout: files are read, nothing of the project is executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tree_sitter import Node

from oci_lsp.source.definitions import Found, dotted_names, hinted_names, lookup
from oci_lsp.source.functions import CommentBlock, Function, Module
from oci_lsp.source.lines import normalise
from oci_lsp.source.outline import brief, members, shown
from oci_lsp.source.parts import definition_of, text_of
from oci_lsp.source.project import Project, SourceFile
from oci_lsp.source.syntax import Syntax
from oci_lsp.source.testuses import uses_of_tests

# What code tokenizers make of such outlines, roughly; no tokenizer is loaded in a light process.
CHARACTERS_PER_TOKEN = 4
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Location:
    """A definition that type inference led to: `qualname` (dotted) in the file at `path`."""

    path: Path
    qualname: str
    in_test: bool = False
    """It is a test that leans on it, not the function."""


@dataclass(frozen=True)
class Context:
    """Bounded Python text around a target; lines end in `\\n`, no part ends in one."""

    text: str
    files: tuple[str, ...] = ()
    """Whose parts are shown, relative to the root, the target's own last."""
    left_out: int = 0
    """Definitions that did not fit."""


@dataclass
class _Wanted:
    """Definitions to show, each under the nearest of the reasons for it."""

    found: dict[tuple[str, int], tuple[int, Found]] = field(default_factory=dict)

    def add(self, rank: int, item: Found) -> None:
        if item.key not in self.found or rank < self.found[item.key][0]:
            self.found[item.key] = rank, item


# Nearest first. From _UNUSED_IMPORT on only signatures are shown.
_USED, _INFERRED, _TESTED, _HINTED, _UNUSED_IMPORT, _UNUSED_SIBLING = range(6)


def context(
    project: Project,
    path: Path,
    target: Function | CommentBlock,
    *,
    tokens: int,
    tests: Sequence[str] = (),
    snippets: Sequence[str] = (),
    inferred: Sequence[Location] = (),
    across: bool = True,
) -> Context:
    """The surroundings of `target`, a part of the file at `path`.

    In this order, until the budget is spent: the module's imports; the target's class with its
    attributes and the other methods' signatures; definitions that the target uses, of its module
    and of others (a base class counts as used); what inference found; what the tests lean on in
    other files than theirs; types in the annotations of all these; signatures of what the module
    imports or defines and the target does not use. A definition is whole where short, else its
    signature and the first line of its docstring. The last line counts what was left out.

    Args:
        tokens: the budget, estimated as four characters each.
        tests: pytest node ids of the target's tests, relative to the project's root.
        snippets: example code that tests the target.
        across: look beyond the target's module at all.
    """
    file = project.file(path)
    if file is None or tokens <= 0:
        return Context("")
    return _Gatherer(project, file, target, tokens * CHARACTERS_PER_TOKEN).gather(
        tests, snippets, inferred, across=across
    )


class _Gatherer:
    """Collects what is wanted around one target, then fits it into the room."""

    def __init__(
        self, project: Project, file: SourceFile, target: Function | CommentBlock, room: int
    ) -> None:
        self._project = project
        self._file = file
        self._module = file.module
        self._target = target
        self._room = room
        self._owner = class_around(self._module, target)
        self._wanted = _Wanted()
        self._used: frozenset[str] = frozenset()
        self._left_out = 0

    def gather(
        self,
        tests: Sequence[str],
        snippets: Sequence[str],
        inferred: Sequence[Location],
        *,
        across: bool,
    ) -> Context:
        self._from_target(across=across)
        if across:
            for location in inferred:
                self._from_inference(location)
            self._from_tests(tests, snippets)
            self._from_hints()
            self._from_own_module()
        imports = self._fitted(_imports(self._module), self._room // 4)
        owner = ""
        if self._owner is not None:
            lines = members(self._module, self._owner, self._target.span.start, self._used)
            owner = self._fitted(lines, self._room * 2 // 3)
        pieces = self._fitted_definitions()
        return self._arranged(imports, owner, pieces)

    def _from_target(self, *, across: bool) -> None:
        if isinstance(self._target, Function):
            code = text_of(self._module, self._target)
            syntax = Syntax("if 1:\n" + code if self._target.indent else code)
            names = [*dotted_names(syntax), *hinted_names(syntax, syntax.root)]
            self._used = syntax.names()
        else:
            names = _WORD.findall(self._target.text)
            self._used = frozenset(names)
        if self._owner is not None:
            names += _bases(self._module, self._owner)
        for name in names:
            self._add(_USED, self._file, name, across=across)

    def _add(self, rank: int, file: SourceFile, dotted: str, *, across: bool = True) -> None:
        if not across:
            head = dotted.partition(".")[0]
            node = file.definitions.get(head)
            found = Found(file, head, node) if node is not None else None
        else:
            found = lookup(self._project, file, dotted)
        if found is not None:
            self._add_found(rank, found)

    def _add_found(self, rank: int, found: Found) -> None:
        if found.node is None:
            for name, node in found.file.definitions.items():
                if not name.startswith("_"):
                    self._add_found(max(rank, _UNUSED_IMPORT), Found(found.file, name, node))
        elif not self._is_own(found):
            self._wanted.add(rank, found)

    def _is_own(self, found: Found) -> bool:
        """It is the target itself, its class, or what holds it."""
        if found.file is not self._file or found.node is None:
            return False
        if definition_of(found.node) == self._owner:
            return True
        syntax, start = self._module.syntax, self._target.span.start
        return syntax.start(found.node) <= start < syntax.end(found.node)

    def _from_inference(self, location: Location) -> None:
        file = self._project.file(location.path)
        head, _, member = location.qualname.partition(".")
        node = file.definitions.get(head) if file else None
        if file is None or node is None:
            return
        self._used |= {member.rpartition(".")[2]} - {""}
        self._add_found(_TESTED if location.in_test else _INFERRED, Found(file, head, node))

    def _from_tests(self, tests: Sequence[str], snippets: Sequence[str]) -> None:
        for file, name in uses_of_tests(self._project, tests):
            found = lookup(self._project, file, name)
            # A test file's own definitions stand beside the tests in the prompt.
            if found is not None and (found.file is not file or file.path.name == "conftest.py"):
                self._add_found(_TESTED, found)
        for text in snippets:
            for name in dotted_names(Syntax(text.replace(">>> ", "").replace("... ", ""))):
                self._add(_TESTED, self._file, name)

    def _from_hints(self) -> None:
        """Types in annotations and bases, one hop from what is shown."""
        near = [item for rank, item in self._wanted.found.values() if rank < _HINTED]
        if self._owner is not None:
            near.append(Found(self._file, "", self._owner))
        for item in near:
            if item.node is not None:
                for name in hinted_names(item.file.module.syntax, item.node):
                    self._add(_HINTED, item.file, name)

    def _from_own_module(self) -> None:
        for binding in self._file.bindings:
            if binding.name != "*":
                self._add(_UNUSED_IMPORT, self._file, binding.name)
        for name, node in self._file.definitions.items():
            if definition_of(node).type == "function_definition":
                self._add_found(_UNUSED_SIBLING, Found(self._file, name, node))

    def _fitted(self, lines: Iterable[str], room: int) -> str:
        """As many lines as `room` characters hold, in order; the rest is counted."""
        kept: list[str] = []
        for line in lines:
            if len(line) + 1 > room:
                self._left_out += 1
                continue
            room -= len(line) + 1
            kept.append(line)
        text = "\n".join(kept)
        self._room -= len(text)
        return text

    def _fitted_definitions(self) -> dict[SourceFile, dict[int, str]]:
        """Texts by file and by where they start; nearest first into what room is left."""
        # The line that counts what was left out, and the gaps.
        room = self._room - len("# ... 999 definitions not shown") - 8
        pieces: dict[SourceFile, dict[int, str]] = {self._file: {}}
        ranked = sorted(self._wanted.found.values(), key=lambda pair: pair[0])
        for rank, item in ranked:
            assert item.node is not None  # a module was replaced by its definitions
            module = item.file.module
            texts = [brief(module, item.node)]
            if rank < _UNUSED_IMPORT:
                texts.insert(0, shown(module, item.node, self._used))
            head = 0 if item.file in pieces else len(item.file.name) + 4
            for text in texts:
                if head + len(text) + 2 <= room:
                    pieces.setdefault(item.file, {})[item.node.start_byte] = text
                    room -= head + len(text) + 2
                    break
            else:
                self._left_out += 1
        return pieces

    def _arranged(
        self, imports: str, owner: str, pieces: dict[SourceFile, dict[int, str]]
    ) -> Context:
        """Farthest first, so that the nearest stands beside the function."""
        own = [text for _, text in sorted(pieces.pop(self._file).items())]
        blocks: list[str] = []
        for file, texts in reversed(pieces.items()):
            first, *others = [text for _, text in sorted(texts.items())]
            blocks += [f"# {file.name}\n{first}", *others]
        near = [part for part in (imports, *own, owner) if part]
        files = [file.name for file in reversed(pieces)]
        if near:
            files.append(self._file.name)
            if len(files) > 1:
                near[0] = f"# {self._file.name}\n{near[0]}"
        if self._left_out:
            near.append(f"# ... {self._left_out} definitions not shown")
        return Context("\n\n".join([*blocks, *near]), tuple(files), self._left_out)


def _imports(module: Module) -> Iterator[str]:
    for span in module.imports:
        yield normalise(span.of(module.text))


def _bases(module: Module, owner: Node) -> Iterator[str]:
    bases = owner.child_by_field_name("superclasses")
    return dotted_names(module.syntax, bases) if bases else iter(())


def class_around(module: Module, target: Function | CommentBlock) -> Node | None:
    """The class whose method the target is, or where it would be one."""
    if isinstance(target, Function) and target.owner is None:
        return None
    if isinstance(target, CommentBlock) and not target.indent:
        return None
    start = target.span.start
    best: Node | None = None
    for node in module.syntax.captures("(class_definition) @c", "c"):
        # A comment below the last statement lies outside the class in the tree.
        row = node.start_point.row
        inside = module.syntax.start(node) < start and (
            start <= module.syntax.end(node)
            or (isinstance(target, CommentBlock) and _reaches(module, node, target))
        )
        if inside and len(module.lines.indent(row)) < len(target.indent):
            best = node if best is None or node.start_byte > best.start_byte else best
    return best


def _reaches(module: Module, node: Node, comment: CommentBlock) -> bool:
    """Nothing but comments and blank lines stands between the class and the comment."""
    lines = module.lines
    rows = range(node.end_point.row + 1, comment.line)
    return all(lines.is_blank(row) or lines.is_comment(row) for row in rows)
