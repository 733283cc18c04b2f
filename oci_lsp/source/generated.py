"""Which function of a reply a comment asked for, when no name is given beforehand."""

from __future__ import annotations

import re

from oci_lsp.errors import RejectedReplyError
from oci_lsp.source.functions import CommentBlock, Function, Module
from oci_lsp.source.parts import Parts, sort_generated
from oci_lsp.source.reply import Reply, read_replies

_ILLUSTRATION = re.compile(r"test|main$|example|demo")
_NAMED = re.compile(
    r"\b(?:function|method|def|write|define|create|implement)\b[:\s]+`?(\w+)`?\s*\("
)
_CALLED = re.compile(r"\b(\w+)\s*\(")


def wanted_name(comment: CommentBlock) -> str | None:
    """The function that the comment names: `function: slugify(text)`, `def slugify(text)`."""
    match = _NAMED.search(comment.text)
    return match[1] if match else None


def choose_generated(module: Module, comment: CommentBlock, reply: str) -> Parts:
    """The parts of the reply that go below the comment.

    Raises:
        RejectedReplyError: there is no such function, or the module has one of that name.
    """
    name = wanted_name(comment)
    problem: RejectedReplyError | None = None
    for candidate in read_replies(reply, name or ""):
        function = _chosen(candidate, comment, name)
        if function is None:
            problem = problem or RejectedReplyError(
                f"the reply does not define {f'`{name}`' if name else 'the function'} at the top "
                "level",
                "answer with that function",
            )
            continue
        try:
            return sort_generated(module, candidate, function, comment.indent)
        except RejectedReplyError as error:
            problem = problem or error
    raise problem or RejectedReplyError("the reply defines no function")


def _chosen(reply: Reply, comment: CommentBlock, name: str | None) -> Function | None:
    """The one named; else the one the comment's examples call; else the one no other calls."""
    functions = [f for f in reply.module.functions if "." not in f.qualname]
    if not functions and comment.indent:
        functions = [f for f in reply.module.functions if f.owner == f.qualname.partition(".")[0]]
    if name is not None:
        return next((f for f in reversed(functions) if f.name == name), None)
    candidates = [f for f in functions if not _ILLUSTRATION.match(f.name)] or functions
    called = set(_CALLED.findall(comment.text))
    exemplary = [f for f in candidates if f.name in called]
    if exemplary:
        return exemplary[-1]
    code = reply.module.text
    free = [
        f
        for f in candidates
        if not any(
            re.search(rf"\b{re.escape(f.name)}\b", other.span.of(code))
            for other in candidates
            if other is not f
        )
    ]
    return next(reversed(free or candidates), None)
