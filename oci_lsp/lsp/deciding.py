"""The setting `apply`: whether a passed candidate needs the user's yes, and how it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from oci_lsp.refine.task import Result
from oci_lsp.settings import Settings

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server

_APPLY, _SHOW, _DISCARD = "Apply", "Show the edit", "Discard"


def previews(server: Server, settings: Settings) -> bool:
    """Whether the client shows the edit by itself and asks before it makes it."""
    return settings.apply == "preview" and server.client.takes_annotated_edits


async def wanted(
    server: Server, settings: Settings, name: str, result: Result, waiting: Callable[[str], None]
) -> bool:
    """Whether a passed candidate may go to the editor.

    A client without a preview asks instead: `preview` promises that nothing is changed unseen.

    Args:
        name: of the page on which the user can look at the edit.
        waiting: told, before the user is asked, what is waited for.
    """
    if settings.apply == "auto" or previews(server, settings):
        return True
    waiting("waiting for your answer")
    question = f"oci-lsp: {result.message} Put it into the editor?"
    while True:
        answer = await server.messages.choose(question, (_APPLY, _SHOW, _DISCARD))
        if answer != _SHOW:
            return answer == _APPLY
        await server.pages.show(f"{name}.diff", result.diff)
