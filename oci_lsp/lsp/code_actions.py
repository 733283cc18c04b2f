"""textDocument/codeAction: offers to fix or to write what the cursor is on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp

from oci_lsp.errors import OciError
from oci_lsp.lsp.client import Client
from oci_lsp.lsp.documents import Document
from oci_lsp.lsp.failures import SOURCE

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server
    from oci_lsp.source.functions import CommentBlock, Function

FIX = "refactor.rewrite.fix"
GENERATE = "refactor.rewrite.generate"
FIX_FAILING = "source.fixFailing"
QUICK_FIX = lsp.CodeActionKind.QuickFix.value
KINDS = (QUICK_FIX, FIX, GENERATE, FIX_FAILING)


def code_actions(
    server: Server, params: lsp.CodeActionParams
) -> list[lsp.CodeAction | lsp.Command] | None:
    """The actions for a place in a buffer, complete: nothing is left to be resolved.

    One that cannot be taken just now says why, where the client shows such actions; elsewhere it
    is offered all the same, and the job's own message says why.
    """
    document = server.documents.get(params.text_document.uri)
    wanted = [kind for kind in KINDS if _asked_for(kind, params.context.only)]
    if document is None or not document.is_python or not wanted:
        return None
    start, end = document.offset(params.range.start), document.offset(params.range.end)
    module = document.module
    target: Function | CommentBlock | None
    target = module.comment_at(start, end if end > start else None) or module.at(start)
    offers = [*_for_failures(server, params)]
    if target is not None and not _is_test(document, target):
        offers += _offers(document, target, params)
    # On a function the list is about the function, unless the file's actions are asked for.
    whole = target is None or bool(params.context.only)
    # A look at the text: listing the functions of a long file takes longer than an answer may.
    if whole and "def " in module.text and document.path is not None:
        title = "Fix all failing functions of this file"
        offers.append(_Offer(document, title, FIX_FAILING, "oci_lsp.fixFailing", {}))
    offers = [offer for offer in offers if offer.kind in wanted]
    client = server.client
    if not client.takes_code_actions:
        return [offer.command() for offer in offers]
    told = bool(offers) and client.takes_disabled_actions
    reason = _refusal(server, document, target) if told and target is not None else ""
    on_target = [offer.document is document and offer.kind != FIX_FAILING for offer in offers]
    return [
        _action(offer, client, reason if here else "")
        for offer, here in zip(offers, on_target, strict=True)
    ]


@dataclass(frozen=True)
class _Offer:
    """Something that can be done with a target, before it is put in the client's terms."""

    document: Document
    title: str
    kind: str
    name: str
    arguments: dict[str, Any]
    problems: tuple[lsp.Diagnostic, ...] = ()

    def command(self) -> lsp.Command:
        version = self.document.version
        argument = {"uri": self.document.uri, **self.arguments, "version": version}
        return lsp.Command(self.title, self.name, arguments=[argument])


def _for_failures(server: Server, params: lsp.CodeActionParams) -> Iterator[_Offer]:
    """At the assert of a test that failed: mend the function that it failed for."""
    for problem in params.context.diagnostics:
        if problem.source != SOURCE:
            continue
        key = server.failures.blamed(params.text_document.uri, problem)
        document = server.documents.get(key[0]) if key else None
        function = document.module.named(key[1]) if document and key else None
        here = document is server.documents.get(params.text_document.uri)
        if document is None or function is None or (here and _inside(problem, function)):
            continue
        title = f"Fix {function.qualname} until its tests pass"
        arguments = {"qualifiedName": function.qualname}
        yield _Offer(document, title, QUICK_FIX, "oci_lsp.fixFunction", arguments, (problem,))


def _is_test(document: Document, target: Function | CommentBlock) -> bool:
    from oci_lsp.source.functions import Function
    from oci_lsp.source.testnames import is_test

    path = document.path
    return path is not None and isinstance(target, Function) and is_test(path, target)


def _offers(
    document: Document, target: Function | CommentBlock, params: lsp.CodeActionParams
) -> Iterator[_Offer]:
    from oci_lsp.source.functions import Function

    arguments: dict[str, Any]
    if not isinstance(target, Function):
        title = "Write the function that this comment describes"
        arguments = {"range": _plain_range(params.range)}
        yield _Offer(document, title, GENERATE, "oci_lsp.generateFunction", arguments)
        return
    name = target.qualname
    place = _plain(document.position(target.definition.start))
    arguments = {"qualifiedName": name, "position": place}
    if document.module.is_stub(target):
        title = f"Write {name} until its tests pass"
        yield _Offer(document, title, GENERATE, "oci_lsp.generateFunction", arguments)
        return
    problems = tuple(d for d in params.context.diagnostics if _inside(d, target))
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        title = f"Fix {name}: {_short(problems[0].message)}{more}"
        # What the function's own test says the job finds out by itself.
        plain = [_plain_diagnostic(problem) for problem in problems if problem.source != SOURCE]
        told = {**arguments, **({"diagnostics": plain} if plain else {})}
        yield _Offer(document, title, QUICK_FIX, "oci_lsp.fixFunction", told, problems)
    yield _Offer(
        document, f"Fix {name} until its tests pass", FIX, "oci_lsp.fixFunction", arguments
    )


def _action(offer: _Offer, client: Client, reason: str) -> lsp.CodeAction:
    return lsp.CodeAction(
        offer.title,
        kind=offer.kind,
        diagnostics=list(offer.problems) or None,
        disabled=lsp.CodeActionDisabled(reason) if reason else None,
        command=None if reason else offer.command(),
        tags=[lsp.CodeActionTag.LlmGenerated] if client.takes_llm_tag else None,
    )


def _refusal(server: Server, document: Document, target: Function | CommentBlock) -> str:
    """Why nothing can be done with a target just now; "" where it can."""
    from oci_lsp.lsp.tasks import file_of
    from oci_lsp.source.problems import syntax_error_outside

    if job := server.jobs.running_on(document.uri, target):
        return f"oci-lsp works on it already: {job.stage}"
    try:
        file_of(document)
    except OciError as error:
        return str(error).replace("\n", ". ")
    row = syntax_error_outside(document.module, target)
    if row is not None:
        return f"no test can run: a syntax error in line {row + 1}, outside of the function"
    return ""


def _asked_for(kind: str, only: Sequence[str] | None) -> bool:
    """Whether a kind is one of those asked for, or a sub-kind of one (`refactor` asks for ours)."""
    if not only:
        return True
    return any(not asked or kind == asked or kind.startswith(f"{asked}.") for asked in only)


def _inside(diagnostic: lsp.Diagnostic, function: Function) -> bool:
    first, last = function.lines
    return diagnostic.range.start.line <= last and diagnostic.range.end.line >= first


def _short(message: str) -> str:
    first = message.strip().partition("\n")[0]
    return first if len(first) <= 60 else f"{first[:57]}..."


def _plain(position: lsp.Position) -> dict[str, int]:
    return {"line": position.line, "character": position.character}


def _plain_range(range_: lsp.Range) -> dict[str, Any]:
    return {"start": _plain(range_.start), "end": _plain(range_.end)}


def _plain_diagnostic(diagnostic: lsp.Diagnostic) -> dict[str, Any]:
    return {
        "range": _plain_range(diagnostic.range),
        "message": diagnostic.message,
        "source": diagnostic.source,
    }
