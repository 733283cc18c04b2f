"""textDocument/codeLens: links above functions whose test is known or failed last."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp

from oci_lsp.lsp.documents import Document
from oci_lsp.lsp.targets import key_of

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server
    from oci_lsp.source.functions import Function

# By the name that they give in `initialize`: they show tests in a view of their own.
_HAVE_A_TEST_VIEW = ("visual studio code", "vscodium", "code - oss", "cursor", "windsurf")


async def code_lenses(server: Server, uri: str) -> list[lsp.CodeLens] | None:
    """The links of a buffer, complete: nothing is left to be resolved."""
    document = server.documents.get(uri)
    if document is None or not document.is_python or document.path is None:
        return None
    path = document.path.resolve()
    folder, folder_uri = server.configuration.folder_of(path)
    from oci_lsp.source.target import find_root

    root = await asyncio.to_thread(find_root, path, folder)
    settings = await server.configuration.settings(root, folder_uri)
    if not _wanted(settings.code_lens, server):
        return []
    tested = await asyncio.to_thread(_tested, document, root, path, tuple(server.documents))
    return [
        lens
        for function in document.module.functions
        if function.span.start in tested or server.failures.on(key_of(uri, function))
        for lens in _links(server, document, function)
    ]


def _wanted(setting: str, server: Server) -> bool:
    if setting != "auto":
        return setting == "on"
    return not server.client_name.lower().startswith(_HAVE_A_TEST_VIEW)


def _tested(document: Document, root: Path, path: Path, others: tuple[Document, ...]) -> set[int]:
    """Where the functions begin that seem to have a test."""
    from oci_lsp.settings import read_pyproject
    from oci_lsp.source.tested import seem_tested

    pins = read_pyproject(root)[0].get("tests", {})
    buffers = {other.path.resolve(): other.text for other in others if other.path is not None}
    known = pins if isinstance(pins, Mapping) else {}
    found = seem_tested(root, path, document.module, known, buffers)
    return {function.span.start for function in found}


def _links(server: Server, document: Document, function: Function) -> list[lsp.CodeLens]:
    place = document.range(function.definition)
    line = lsp.Range(place.start, place.start)
    argument: dict[str, Any] = {
        "uri": document.uri,
        "qualifiedName": function.qualname,
        "position": {"line": place.start.line, "character": place.start.character},
        "version": document.version,
    }
    stub = document.module.is_stub(function)
    mend = "oci_lsp.generateFunction" if stub else "oci_lsp.fixFunction"
    titles = {"Write until green" if stub else "Fix until green": mend}
    if not stub:
        failed = server.failures.on(key_of(document.uri, function))
        titles["Run its test again" if failed else "Run its test"] = "oci_lsp.runTest"
    return [
        lsp.CodeLens(line, command=lsp.Command(title, command, arguments=[argument]))
        for title, command in titles.items()
    ]
