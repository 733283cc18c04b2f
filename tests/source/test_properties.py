"""What holds for every text: nothing raises, offsets are right, own text changes nothing."""

from __future__ import annotations

import ast
import itertools
import textwrap

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from oci_lsp.errors import RejectedReplyError
from oci_lsp.source.edits import apply_edits, minimal_edits
from oci_lsp.source.functions import Function, Module, feedback_lines, parse
from oci_lsp.source.layout import dedented
from oci_lsp.source.lines import split_lines
from oci_lsp.source.reply import extract_code
from oci_lsp.source.snippets import own_tests
from oci_lsp.source.splice import splice
from oci_lsp.source.testfiles import TestFile

RELAXED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

# Pieces from which broken Python is made more often than from random characters.
PIECES = (
    *("def f(", "def g(x):", "async def h():", "class A:", "@dec", "@dec(", "    ", "\t", "\n"),
    *("\r\n", "\r", '"""', "'''", "'", '"', "(", ")", "[", "]", "{", "}", ":", ",", "#"),
    *("# oci: é", "\n\n"),
    *("return x", "pass", "x = 1", "\\", "é", "🎉", "\ufeff", "\x00", "\x0c", "\u2028", "\ud800"),
    *("if x:", "else:", "lambda", "import a", "from a import b", ">>> f(1)", "assert f(1)", "```"),
)  # fmt: skip
scraps = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=30).map("".join)


def look_at_everything(text: str) -> None:
    module = Module(text)
    for function in module.functions:
        assert 0 <= function.span.start <= function.definition.start
        assert function.definition.start <= function.body.start <= function.body.end
        assert function.body.end == function.span.end <= len(text)
        assert text.startswith(function.signature, function.definition.start)
        assert function.definition.of(text).startswith(("async", "def"))
        assert module.lines.row(function.span.start) == function.lines[0]
        module.is_stub(function)
        feedback_lines(module, function)
        module.named(function.qualname)
    for offset in range(0, len(text) + 1, 5):
        module.at(offset)
        module.comment_at(offset)
        module.comment_at(offset, offset + 20)
    assert module.imports is not None


@RELAXED
@given(scraps)
def test_reading_never_raises(text):
    look_at_everything(text)
    TestFile(Module(text))


@RELAXED
@given(scraps)
def test_a_reply_is_code_or_rejected(text):
    try:
        extract_code(text)
    except RejectedReplyError as error:
        assert error.message


@RELAXED
@given(scraps, scraps)
def test_edits_lead_from_old_to_new(old, new):
    edits = minimal_edits(old, new)
    assert apply_edits(old, edits) == new
    ends = [(edit.span.start, edit.span.end) for edit in edits]
    assert ends == sorted(ends)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(ends))


@RELAXED
@given(scraps, st.integers(0, 200), scraps)
def test_a_reparse_finds_what_a_fresh_parse_finds(text, at, more):
    old = Module(text)
    changed = text[:at] + more + text[at:]
    fresh = [(f.qualname, f.span) for f in Module(changed).functions]
    assert [(f.qualname, f.span) for f in Module(changed, old).functions] == fresh


@st.composite
def bodies(draw: st.DrawFn, depth: int = 0) -> list[str]:
    """Lines of a function's body at the margin."""
    lines: list[str] = []
    if draw(st.booleans()):
        lines += draw(
            st.sampled_from(
                [['"""One line é."""'], ['"""Many', "", "  lines 🎉", '"""  # remark'], ["'one'"]]
            )
        )
    for _ in range(draw(st.integers(0, 3))):
        lines += draw(
            st.sampled_from(
                [
                    ["x = 1  # é"],
                    ["# a comment 🎉"],
                    [""],
                    ["y = (1,", "     2,", ")"],
                    ["z = [", "  3", "  ]  # end"],
                    ['s = """a', "b", '  c"""'],
                    ["t = 1 + \\", "  2"],
                    ["x = 1; y = 2"],
                ]
            )
        )
        if depth < 2 and draw(st.integers(0, 2)) == 0:
            inner = draw(bodies(depth + 1))
            head = draw(
                st.sampled_from(["if x:", "for i in y:", "def inner(a, b=1):", "with x as z:"])
            )
            lines += [head, *("\0" + line for line in inner)]
    lines.append(draw(st.sampled_from(["return x", "pass;", "return 'é🎉'  # done", "..."])))
    if draw(st.integers(0, 3)) == 0:
        lines += ["", "# below"]
    return lines


@st.composite
def modules(draw: st.DrawFn) -> str:
    """Sound modules of functions and classes in any style."""
    unit = draw(st.sampled_from(["    ", "  ", "\t", " "]))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    lines: list[str] = draw(
        st.sampled_from([[], ['"""Doc é."""'], ["import a", ""], ["# -*- x", ""]])
    )
    lines = list(lines)
    for number in range(draw(st.integers(1, 3))):
        base = draw(st.sampled_from([0, 1]))
        if base:
            lines += [f"class C{number}:"]
        for method in range(draw(st.integers(1, 2))):
            piece = draw(
                st.sampled_from([[], ["# leads"], ["@dec"], ["@dec(", "  1,", ")", "@other"]])
            )
            signature = draw(
                st.sampled_from(
                    ["(x, y=1):", "(x: int, *, y: str = ':') -> None:", "(", "(x):  # é"]
                )
            )
            if signature == "(":
                signature = "(x,\n  y,\n):"
            prefix = draw(st.sampled_from(["", "async "]))
            header = f"{prefix}def f{number}_{method}{signature}".split("\n")
            body = ["\0" + line for line in draw(bodies())]
            lines += ["\0" * base + line for line in [*piece, *header, *body]]
            lines += [""] * draw(st.integers(0, 2))
    text = newline.join(line.replace("\0", unit) for line in lines)
    return text + newline * draw(st.integers(0, 2))


def sound(text: str) -> Module:
    try:
        ast.parse(text)
    except SyntaxError:
        assume(False)
    return parse(text)


def own_lines(module: Module, function: Function) -> list[str]:
    first, last = function.lines
    return [module.lines.content(row) for row in range(first, last + 1)]


def fenced(lines: list[str]) -> str:
    code = "\n".join(lines)
    return f"Here is the function:\n\n```python\n{code}\n```\n\nIt works."


@RELAXED
@given(modules())
def test_a_functions_own_text_changes_nothing(text):
    module = sound(text)
    for function in module.functions:
        for lines in (own_lines(module, function), dedented(module, function).split("\n")):
            spliced = splice(module, function, fenced(lines))
            assert spliced.text == text
            assert (spliced.function, spliced.qualname) == (function.span, function.qualname)


@RELAXED
@given(
    modules(), st.sampled_from(["return 7", "if x:\n    y = 1\n\n    # note\n    x = y\nreturn x"])
)
def test_a_new_body_changes_nothing_else(text, body):
    module = sound(text)
    for function in module.functions:
        lines = [*" ".join(function.signature.split()).split("\n"), textwrap.indent(body, "    ")]
        spliced = splice(module, function, fenced(lines))
        start, end = function.span.start, function.span.end
        assert spliced.text.startswith(text[:start])
        assert spliced.text.endswith(text[end:])
        assert spliced.function.start == start
        expected = {f.qualname for f in module.functions if not inside(f, function)}
        assert {f.qualname for f in parse(spliced.text).functions} == expected
        kinds = {end for _, end in split_lines(text)} - {""}
        assert {end for _, end in split_lines(spliced.text)} - {""} <= (kinds or {"\n"})
        again = next(f for f in parse(spliced.text).functions if f.span == spliced.function)
        assert (again.docstring, again.signature) == (function.docstring, function.signature)


def inside(inner: Function, outer: Function) -> bool:
    return outer.span.start < inner.span.start and inner.span.end <= outer.span.end


@RELAXED
@given(modules(), st.integers(0, 400), st.sampled_from(["(", '"', '"""', "def", ":", "}", "\n"]))
def test_one_error_leaves_most_functions_in_place(text, at, error):
    """Functions that end well before the error are found as before."""
    whole = sound(text)
    module = Module(text[:at] + error + text[at:])
    names = {(f.qualname, f.span.start) for f in module.functions}
    before = [f for f in whole.functions if f.span.end < at - 80 and f.owner is None]
    tops = [f for f in before if "." not in f.qualname]
    assert {(f.qualname, f.span.start) for f in tops} <= names


@RELAXED
@given(modules())
def test_own_tests_of_a_sound_module_can_be_read(text):
    module = sound(text)
    for function in module.functions:
        assert not own_tests(module, function).node_ids


@pytest.mark.parametrize(
    "text", ["\ufeff", "\r", "\x00def f(): pass", "def", "# \ud800\ndef f(): pass"]
)
def test_odd_texts(text):
    look_at_everything(text)
