"""What a request points at: the function or the comment in the client's buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from oci_lsp.errors import OciError, TargetError
from oci_lsp.lsp.arguments import Arguments
from oci_lsp.lsp.documents import Document

if TYPE_CHECKING:
    from oci_lsp.source.functions import CommentBlock, Function

Key = tuple[str, str]
"""Names a target across versions of its buffer."""


class StaleError(OciError):
    """The buffer is not the one that the request speaks of."""


def locate(document: Document, arguments: Arguments) -> Function | CommentBlock:
    """The target of a request; where both are given, a position tells like-named functions apart.

    Raises:
        TargetError: nothing is there.
        StaleError: the position is one in another version of the buffer.
    """
    from oci_lsp.source.target import target_at, target_named

    module, name, position = document.module, arguments.qualified_name, arguments.position
    current = arguments.version in (None, document.version)
    if name is not None:
        here = module.at(document.offset(position)) if position and current else None
        return here if here and here.qualname == name else target_named(module, name)
    if position is None:
        raise TargetError("Neither a position nor a function's name was given")
    if not current:
        raise StaleError(f"{document.name} has changed since it was pointed at", "Try it again.")
    end = document.offset(arguments.end) if arguments.end else None
    return target_at(module, document.offset(position), end)


def key_of(uri: str, target: Function | CommentBlock) -> Key:
    """One job at a time runs on what has the same key."""
    name = getattr(target, "qualname", None)
    return unquote(uri), name if isinstance(name, str) else f"# {getattr(target, 'text', '')}"
