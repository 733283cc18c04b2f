"""textDocument/codeAction: offers to fix or to write what the cursor is on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp

from oci_lsp.lsp.documents import Document

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server
    from oci_lsp.source.functions import Function

FIX = "refactor.rewrite.fix"
GENERATE = "refactor.rewrite.generate"
KINDS = (lsp.CodeActionKind.QuickFix.value, FIX, GENERATE)


def code_actions(
    server: Server, params: lsp.CodeActionParams
) -> list[lsp.CodeAction | lsp.Command] | None:
    """The actions for a place in a buffer, complete: nothing is left to be resolved."""
    document = server.documents.get(params.text_document.uri)
    wanted = [kind for kind in KINDS if _asked_for(kind, params.context.only)]
    if document is None or not document.is_python or not wanted:
        return None
    start, end = document.offset(params.range.start), document.offset(params.range.end)
    module = document.module
    found: list[lsp.CodeAction] = []
    if module.comment_at(start, end if end > start else None):
        if GENERATE in wanted:
            arguments = {"range": _plain_range(params.range), "version": document.version}
            found.append(
                _action(
                    "Write the function that this comment describes",
                    GENERATE,
                    "oci_lsp.generateFunction",
                    document,
                    arguments,
                )
            )
    elif function := module.at(start):
        found = _for_function(document, function, params, wanted)
    literals = server.client_capabilities.text_document
    if literals and literals.code_action and literals.code_action.code_action_literal_support:
        return [*found]
    return [action.command for action in found if action.command]


def _for_function(
    document: Document, function: Function, params: lsp.CodeActionParams, wanted: Sequence[str]
) -> list[lsp.CodeAction]:
    arguments: dict[str, Any] = {
        "qualifiedName": function.qualname,
        "position": _plain(document.position(function.definition.start)),
        "version": document.version,
    }
    name = function.qualname
    if document.module.is_stub(function):
        title = f"Write {name} until its tests pass"
        command = "oci_lsp.generateFunction"
        return (
            [_action(title, GENERATE, command, document, arguments)] if GENERATE in wanted else []
        )
    found = []
    problems = [d for d in params.context.diagnostics if _inside(d, function)]
    if problems and KINDS[0] in wanted:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        title = f"Fix {name}: {_short(problems[0].message)}{more}"
        with_problems = {**arguments, "diagnostics": [_plain_diagnostic(d) for d in problems]}
        action = _action(title, KINDS[0], "oci_lsp.fixFunction", document, with_problems)
        action.diagnostics = problems
        found.append(action)
    if FIX in wanted:
        title = f"Fix {name} until its tests pass"
        found.append(_action(title, FIX, "oci_lsp.fixFunction", document, arguments))
    return found


def _asked_for(kind: str, only: Sequence[str] | None) -> bool:
    """Whether a kind is one of those asked for, or a sub-kind of one (`refactor` asks for ours)."""
    if not only:
        return True
    return any(not asked or kind == asked or kind.startswith(f"{asked}.") for asked in only)


def _inside(diagnostic: lsp.Diagnostic, function: Function) -> bool:
    first, last = function.lines
    return diagnostic.range.start.line <= last and diagnostic.range.end.line >= first


def _action(
    title: str, kind: str, command: str, document: Document, arguments: dict[str, Any]
) -> lsp.CodeAction:
    argument = {"uri": document.uri, **arguments}
    return lsp.CodeAction(
        title, kind=kind, command=lsp.Command(title, command, arguments=[argument])
    )


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
