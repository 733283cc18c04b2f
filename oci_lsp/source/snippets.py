"""Tests written in comments and docstrings: `>>>` examples, asserts, `# test: NODEID` lines."""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from oci_lsp.errors import TestsError
from oci_lsp.source.functions import CommentBlock, Function, Module, feedback_spans
from oci_lsp.source.syntax import parse_python

# The id must look like a file: "test: check the empty list" is a remark.
_NODE_ID = re.compile(
    r"[ \t]*(?P<hash>#[ \t]*)?tests?:[ \t]*(?P<id>\S*\.py\b.*?)[ \t]*$", re.MULTILINE
)
_ASSERT = re.compile(r"[ \t]*assert\b")
# An assert may go over this many lines of a comment.
_MAX_ASSERT_LINES = 20


@dataclass(frozen=True)
class Snippet:
    """A test that is no pytest item: statements with asserts, or `>>>` examples."""

    kind: Literal["asserts", "doctest"]
    text: str
    """Plain Python for asserts; prompts with expected output for doctest. Lines end in `\\n`."""
    line: int
    """Row of the first line in the module, 0-based; 0 for a given one."""
    given: bool = False
    """It comes from a request, a pin or the user's words, and stands in no module."""


@dataclass(frozen=True)
class OwnTests:
    """Tests that a target carries itself."""

    node_ids: tuple[str, ...] = ()
    """As written, not checked."""
    snippets: tuple[Snippet, ...] = ()
    in_comment: bool = False

    def __bool__(self) -> bool:
        return bool(self.node_ids or self.snippets)


@dataclass(frozen=True)
class _Passage:
    """Consecutive lines of comment or docstring, without `#`."""

    lines: tuple[str, ...]
    row: int
    is_comment: bool


def own_tests(module: Module, target: Function | CommentBlock) -> OwnTests:
    """Tests in the target's comments (inside it and above it) and its docstring.

    Asserts count where they name the function: others are code that was commented out.

    Raises:
        TestsError: an example is malformed.
    """
    names = _names(target) if isinstance(target, Function) else ()
    node_ids: list[str] = []
    snippets: list[Snippet] = []
    in_comment = False
    for passage in _passages(module, target):
        ids = [
            match["id"]
            for match in _NODE_ID.finditer("\n".join(passage.lines))
            if passage.is_comment or match["hash"]
        ]
        found = [*_examples(passage), *_asserts(passage, names)]
        node_ids += ids
        snippets += found
        in_comment = in_comment or (passage.is_comment and bool(ids or found))
    return OwnTests(tuple(dict.fromkeys(node_ids)), tuple(snippets), in_comment)


def _names(function: Function) -> tuple[str, ...]:
    """A test of `__init__` and its like names the class."""
    dunder = function.name.startswith("__") and function.name.endswith("__")
    if dunder and function.owner:
        return (function.name, function.owner.rpartition(".")[2])
    return (function.name,)


def _passages(module: Module, target: Function | CommentBlock) -> Iterator[_Passage]:
    if isinstance(target, CommentBlock):
        yield _Passage(tuple(target.text.split("\n")), target.line, is_comment=True)
        return
    lines = module.lines
    # Tests in the user's words to the model are the job's, and are taken from there.
    words = feedback_spans(module, target)
    rows = [
        lines.row(span.start)
        for span in module.comments(target)
        if lines.is_comment(lines.row(span.start)) and span not in words
    ]
    for run in _runs(rows):
        block = _uncommented(module, run)
        yield _Passage(block, run[0], is_comment=True)
    if target.docstring is not None and target.docstring_span is not None:
        row = lines.row(target.docstring_span.start)
        yield _Passage(tuple(target.docstring.split("\n")), row, is_comment=False)


def _runs(rows: Sequence[int]) -> Iterator[list[int]]:
    run: list[int] = []
    for row in sorted(rows):
        if run and row != run[-1] + 1:
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _uncommented(module: Module, rows: Sequence[int]) -> tuple[str, ...]:
    lines = module.lines
    texts = [lines.text[lines.code_start(row) + 1 : lines.end(row)] for row in rows]
    margin = min((len(t) - len(t.lstrip()) for t in texts if t.strip()), default=0)
    return tuple(text[margin:] for text in texts)


def _examples(passage: _Passage) -> list[Snippet]:
    text = "\n".join(passage.lines) + "\n"
    if ">>>" not in text:
        return []
    snippet = doctest_snippet(text, passage.row)
    return [snippet] if snippet else []


def doctest_snippet(text: str, row: int) -> Snippet | None:
    """The `>>>` examples of a text that starts in `row`; they share their names. None: no example.

    Raises:
        TestsError: doctest cannot read them.
    """
    try:
        examples = doctest.DocTestParser().get_examples(text.expandtabs())
    except ValueError as error:
        raise TestsError(
            f"the `>>>` examples cannot be read: {error}",
            "Write `>>> ` with a space, and indent the lines of an example alike.",
        ) from error
    if not examples:
        return None
    pieces = []
    for example in examples:
        first, *more = example.source.rstrip("\n").split("\n")
        pieces.append("\n".join([f">>> {first}", *(f"... {line}" for line in more)]) + "\n")
        # Without a blank line the next example would be taken for expected output of this one.
        pieces.append(example.want + "\n" if example.want else "")
    return Snippet("doctest", "".join(pieces).rstrip("\n") + "\n", row + examples[0].lineno)


def in_words(text: str) -> tuple[str, ...]:
    """The asserts and `>>>` examples that stand as lines in a text, each kind as one text.

    Raises:
        TestsError: an example is malformed.
    """
    passage = _Passage(tuple(text.splitlines()), 0, is_comment=False)
    return tuple(snippet.text for snippet in (*_examples(passage), *_asserts(passage, ())))


def _asserts(passage: _Passage, names: Sequence[str]) -> list[Snippet]:
    found: list[str] = []
    first = -1
    row = 0
    while row < len(passage.lines):
        size = _assert_length(passage.lines, row) if _ASSERT.match(passage.lines[row]) else 0
        if not size:
            row += 1
            continue
        statement = _dedented(passage.lines[row : row + size])
        if not names or any(re.search(rf"\b{re.escape(name)}\b", statement) for name in names):
            first = row if first < 0 else first
            found.append(statement)
        row += size
    if not found:
        return []
    return [Snippet("asserts", "\n".join(found) + "\n", passage.row + first)]


def _assert_length(lines: Sequence[str], row: int) -> int:
    """Lines of the assert statement that starts in `row`; 0 where it is prose."""
    for size in range(1, min(_MAX_ASSERT_LINES, len(lines) - row) + 1):
        try:
            tree = parse_python(_dedented(lines[row : row + size]))
        except SyntaxError:
            continue
        return size if isinstance(tree, ast.Module) and tree.body else 0
    return 0


def _dedented(lines: Sequence[str]) -> str:
    margin = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[margin:] if not line[:margin].strip() else line for line in lines)


def requested_snippet(text: str) -> Snippet | None:
    """The snippet that a request holds, or None where it is none.

    Raises:
        TestsError: its examples or asserts are malformed.
    """
    if re.search(r"^[ \t]*>>>", text, re.MULTILINE):
        found = doctest_snippet(text, 0)
        return found and replace(found, given=True)
    try:
        tree = parse_python(text.strip("\n"))
    except SyntaxError as error:
        if _ASSERT.match(text.lstrip("\n")):
            raise TestsError(
                f"the test `{text.strip()}` is not Python: {error.msg}",
                "Write whole assert statements, one a line.",
            ) from error
        return None
    if any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        return Snippet("asserts", text.strip("\n") + "\n", 0, given=True)
    return None
