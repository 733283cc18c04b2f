"""Splicing a model's reply into a module by the reply rules, with nothing else changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from oci_lsp.errors import RejectedReplyError
from oci_lsp.source.edits import Edit, apply_edits, minimal_edits
from oci_lsp.source.feedback import cuts
from oci_lsp.source.functions import CommentBlock, Function, Module, Span
from oci_lsp.source.generated import choose_generated
from oci_lsp.source.imports import import_edits
from oci_lsp.source.layout import Indentation, body_indentation, module_unit, reindent
from oci_lsp.source.lines import newline_of, split_lines
from oci_lsp.source.parts import Parts, comparable, sort_reply
from oci_lsp.source.reply import extract_code, read_replies
from oci_lsp.source.signature import has_annotations, parameters
from oci_lsp.source.syntax import parse_python

__all__ = ["Edit", "Spliced", "apply_edits", "extract_code", "minimal_edits", "splice"]


@dataclass(frozen=True)
class Spliced:
    """A candidate: the whole new text and where its function stands in it."""

    text: str
    function: Span
    """In `text`, code points, 0-based, half-open: first decorator to the end of the body."""
    qualname: str
    name: str
    code: str
    """The function's own text as spliced."""


def splice(
    module: Module,
    target: Function | CommentBlock,
    reply: str,
    *,
    keep_signature: bool = True,
) -> Spliced:
    """The text of `module` with `target` replaced by the reply's function (put below a comment).

    Kept from the user: decorators, signature (unless `keep_signature` is false), docstring,
    comments around, line ends. Comments `# oci: ...` of the target are gone from the result.

    Raises:
        RejectedReplyError: the reply cannot be used; the message tells the model why.
    """
    if isinstance(target, Function):
        parts = _best(module, target, reply)
        new = _replaced(module, target, parts, keep_signature=keep_signature)
        edits, at = _around(module, target, parts, Edit(target.span, new))
    else:
        parts = choose_generated(module, target, reply)
        edits, at = _below_comment(module, target, parts)
    return _finished(module, target, edits, at, parts.wanted.name)


def _best(module: Module, target: Function, reply: str) -> Parts:
    """Of several blocks the last whose function differs from the present one."""
    present = comparable(module, target)
    usable: list[Parts] = []
    problem: RejectedReplyError | None = None
    for candidate in read_replies(reply, target.name):
        try:
            parts = sort_reply(module, candidate, target)
        except RejectedReplyError as error:
            problem = problem or error
            continue
        if comparable(candidate.module, parts.wanted) != present:
            return parts
        usable.append(parts)
    if problem and not usable:
        raise problem
    return usable[0]


def _replaced(module: Module, target: Function, parts: Parts, *, keep_signature: bool) -> str:
    """The target's new text: the user's head and docstring, the reply's body."""
    wanted, theirs = parts.wanted, parts.reply.module
    own_colon = target.definition.start + len(target.signature)
    kept = parameters(target.signature) is not None
    if kept and keep_signature:
        _check_signature(target, wanted)
    elif kept:
        # A reply that only left the annotations out has no other signature in mind.
        kept = _same_parameters(target, wanted) and not has_annotations(wanted.signature)
    newline = newline_of(target.span.of(module.text), newline_of(module.text))
    if kept:
        head = module.text[target.span.start : own_colon]
    else:
        lead = module.text[target.span.start : target.definition.start]
        head = lead + _signature(parts, target, newline)
    own_docstring = target.docstring_span if not target.broken else None
    body = _Body.of(theirs, wanted, skip_docstring=own_docstring is not None)
    style = body_indentation(module, target)
    source = body_indentation(theirs, wanted)
    row = module.lines.row(own_colon)
    if own_docstring is None:
        remark = _remark(module.text[own_colon : module.lines.end(row)])
        if body.inline and not remark and module.lines.row(target.body.start) == row:
            return head + body.inline
        first = [head + remark]
    elif module.lines.row(own_docstring.start) == row:
        first = [head, style.body + own_docstring.of(module.text)]
        if not body.inline and not body.rows:
            return head + module.text[own_colon : target.span.end]
    else:
        row = module.lines.row(own_docstring.end)
        remark = _remark(module.text[own_docstring.end : module.lines.end(row)])
        first = [head + module.text[own_colon : own_docstring.end] + remark]
    if body.inline:
        first.append(style.body + body.inline.strip())
    rest = reindent(theirs.syntax, body.rows, source, style)
    if own_docstring is None and not body.inline and not any(rest):
        raise RejectedReplyError(f"the reply's `{target.name}` has no body", "write the whole body")
    return _keep_lines(target.span.of(module.text), newline.join([*first, *rest]), newline)


def _remark(rest: str) -> str:
    """A comment behind the colon or the docstring; code there belongs to the body."""
    return rest.rstrip() if rest.lstrip().startswith("#") else ""


@dataclass(frozen=True)
class _Body:
    """A reply function's body: what stands on the header's line, and the rows below."""

    inline: str
    rows: range

    @classmethod
    def of(cls, module: Module, function: Function, *, skip_docstring: bool) -> _Body:
        start = function.definition.start + len(function.signature)
        if skip_docstring and function.docstring_span:
            start = function.docstring_span.end
        row, last = module.lines.row(start), module.lines.row(function.span.end)
        rest = module.text[start : min(module.lines.end(row), function.span.end)]
        stripped = rest.strip().lstrip(";").strip()
        inline = rest.replace(";", " ", 1) if rest.strip().startswith(";") else rest
        if not stripped or stripped.startswith("#"):
            return cls("", range(row + 1, last + 1))
        if module.lines.row(function.span.end) > row:
            # One statement over several rows (an open bracket): laid out as if it began its line.
            rows = module.text[start : function.span.end].strip()
            return cls(" " + rows, range(0))
        return cls(inline.rstrip(), range(0))


def _signature(parts: Parts, target: Function, newline: str) -> str:
    """The reply's own signature, at the target's depth."""
    lines = parts.wanted.signature.split("\n")
    shift = parts.wanted.indent
    return newline.join(
        [lines[0], *(target.indent + line.removeprefix(shift) for line in lines[1:])]
    )


def _same_parameters(target: Function, wanted: Function) -> bool:
    same = parameters(target.signature) == parameters(wanted.signature)
    return same and target.is_async == wanted.is_async


def _check_signature(target: Function, wanted: Function) -> None:
    if not _same_parameters(target, wanted):
        raise RejectedReplyError(
            f"the reply changes the signature of `{target.name}`",
            f"keep `{target.signature}` with its parameter names and defaults exactly",
        )


def _keep_lines(old: str, new: str, newline: str) -> str:
    """`new` with the user's own line ends and blank lines where a line is otherwise the same."""
    before = split_lines(old)
    contents = [content for content, _ in split_lines(new)]
    kept: list[tuple[str, str]] = [(content, newline) for content in contents]
    matcher = SequenceMatcher(
        None,
        ["" if not content.strip() else content.rstrip() for content, _ in before],
        ["" if not content.strip() else content.rstrip() for content in contents],
        autojunk=False,
    )
    for start, there, size in matcher.get_matching_blocks():
        for step in range(size):
            content, end = before[start + step]
            kept[there + step] = (content, end or newline)
    kept[-1] = (kept[-1][0], "")
    return "".join(content + end for content, end in kept)


def _around(module: Module, target: Function, parts: Parts, own: Edit) -> tuple[list[Edit], int]:
    """(edits, index of the target's) with helpers and imports put where they belong."""
    edits = [own]
    if parts.members:
        edits.append(_insertion(module, target, parts, parts.members))
    outer = _outermost(module, target)
    if parts.helpers:
        edits.append(_insertion(module, outer, parts, parts.helpers))
    before = outer.comment.start if outer.comment else outer.span.start
    imports = import_edits(module, parts.imports, before)
    return _ordered([*imports, *reversed(edits)], own)


def _ordered(edits: Sequence[Edit], own: Edit) -> tuple[list[Edit], int]:
    # Stable: at one place imports come before helpers, helpers before the function.
    ordered = sorted(edits, key=lambda edit: edit.span.start)
    return ordered, next(index for index, edit in enumerate(ordered) if edit is own)


@dataclass(frozen=True)
class _Anchor:
    """What helpers are put before."""

    span: Span
    comment: Span | None
    indent: str


def _outermost(module: Module, target: Function) -> _Anchor:
    """The definition at module level that holds the target, with its leading comment."""
    syntax, lines = module.syntax, module.lines
    node = syntax.root.descendant_for_byte_range(
        syntax.byte(target.definition.start), syntax.byte(target.definition.start)
    )
    found: _Anchor | None = None
    while node:
        if node.type in ("class_definition", "function_definition", "decorated_definition"):
            row = node.start_point.row
            first = row
            while first > 0 and lines.is_comment(first - 1):
                if lines.indent(first - 1) != lines.indent(row):
                    break
                first -= 1
            comment = Span(lines.code_start(first), lines.end(row - 1)) if first < row else None
            found = _Anchor(Span(syntax.start(node), syntax.end(node)), comment, lines.indent(row))
        node = node.parent
    return found or _Anchor(target.span, target.comment, target.indent)


def _insertion(
    module: Module, anchor: Function | _Anchor, parts: Parts, functions: Sequence[Function]
) -> Edit:
    """The helpers' text on lines of their own, directly before the anchor and its comment."""
    newline = newline_of(module.text)
    at = anchor.comment.start if anchor.comment else anchor.span.start
    start = module.lines.start(module.lines.row(at))
    blank = newline * (2 if anchor.indent else 3)
    texts = [_relocated(module, parts, f, anchor.indent, newline) for f in functions]
    above = module.lines.row(at) - 1
    while above >= 0 and module.lines.is_blank(above):
        above -= 1
    missing = (0 if anchor.indent or above < 0 else 2) - (module.lines.row(at) - above - 1)
    lead = newline * max(0, missing)
    return Edit(Span(start, start), lead + "".join(text + blank for text in texts))


def _relocated(module: Module, parts: Parts, function: Function, indent: str, newline: str) -> str:
    """A whole function of the reply, with its comment, at the module's depth and style."""
    theirs = parts.reply.module
    first = function.comment.start if function.comment else function.span.start
    rows = range(theirs.lines.row(first), theirs.lines.row(function.span.end) + 1)
    source = Indentation(function.indent, body_indentation(theirs, function).unit)
    unit = module_unit(module, indent)
    lines = list(reindent(theirs.syntax, rows, source, Indentation(indent, unit)))
    return newline.join(lines)


def _below_comment(module: Module, comment: CommentBlock, parts: Parts) -> tuple[list[Edit], int]:
    """(edits, index of the function's) with the function directly below the comment."""
    newline, lines = newline_of(module.text), module.lines
    row = lines.row(comment.span.end)
    wanted = parts.wanted
    unit = module_unit(module, comment.indent)
    theirs = parts.reply.module
    rows = range(theirs.lines.row(wanted.span.start), theirs.lines.row(wanted.span.end) + 1)
    source = Indentation(wanted.indent, body_indentation(theirs, wanted).unit)
    text = newline.join(reindent(theirs.syntax, rows, source, Indentation(comment.indent, unit)))
    own = Edit(Span(lines.end(row), lines.end(row)), newline + text + _gap(module, row, newline))
    anchor = _Anchor(comment.span, None, comment.indent)
    edits = [own]
    functions = (*parts.helpers, *parts.members)
    if functions:
        edits.insert(0, _insertion(module, anchor, parts, functions))
    imports = import_edits(module, parts.imports, comment.span.start)
    return _ordered([*imports, *edits], own)


def _gap(module: Module, row: int, newline: str) -> str:
    """Blank lines missing between the new function and the code below."""
    lines = module.lines
    following = next((r for r in range(row + 1, len(lines)) if not lines.is_blank(r)), None)
    if following is None:
        return ""
    wanted = 1 if lines.indent(following) else 2
    return newline * max(0, wanted - (following - row - 1))


def _finished(
    module: Module, target: Function | CommentBlock, edits: list[Edit], own: int, name: str
) -> Spliced:
    """The text after all edits, without feedback comments, checked once more as a whole."""
    text = apply_edits(module.text, tuple(edits))
    shift = sum(len(e.replacement) - (e.span.end - e.span.start) for e in edits[:own])
    start = edits[own].span.start + shift
    if isinstance(target, CommentBlock):
        start += len(edits[own].replacement) - len(edits[own].replacement.lstrip())
    result, function = _without_feedback(text, start, target, shift)
    if function is None or function.name != name:
        raise RejectedReplyError(
            f"`{name}` cannot be fitted into the file", "answer with the whole function alone"
        )
    _check_whole(module.text, result.text)
    return Spliced(
        text=result.text,
        function=function.span,
        qualname=function.qualname,
        name=function.name,
        code=function.span.of(result.text),
    )


def _without_feedback(
    text: str, start: int, target: Function | CommentBlock, shift: int
) -> tuple[Module, Function | None]:
    """(module, function that starts at `start`) without the comments `# oci: ...` of the target."""
    module = Module(text)
    function = _starting(module, start)
    if function is None:
        return module, None
    edits = cuts(module, function)
    if not edits:
        return module, function
    start -= sum(edit.span.end - edit.span.start for edit in edits if edit.span.start < start)
    module = Module(apply_edits(text, edits))
    return module, _starting(module, start)


def _starting(module: Module, start: int) -> Function | None:
    return next((f for f in module.functions if f.span.start == start), None)


def _check_whole(old: str, new: str) -> None:
    """A text that parsed must still do so: the last guard against a wrong splice.

    Raises:
        RejectedReplyError: it does not.
    """
    try:
        parse_python(new)
    except SyntaxError as error:
        try:
            parse_python(old)
        except SyntaxError:
            return
        if not Module(new).syntax.has_newer_grammar:
            raise RejectedReplyError(
                f"the file does not parse with this function: {error.msg}"
            ) from error
