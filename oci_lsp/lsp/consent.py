"""Trust in a folder: asked for before anything of it is run, once, and remembered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from oci_lsp import trust
from oci_lsp.errors import ConsentError

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server

_YES = "Trust this folder"
_log = logging.getLogger(__name__)


async def require_trust(
    server: Server, workspace: Path | None, root: Path, waiting: Callable[[str], None]
) -> None:
    """Return if the user trusts a project's code; ask where nobody has said so yet.

    A client that tells whether its workspace is trusted has asked by itself; what it says is of
    its own folders only. Until this returns no process may be started for a job: the project's
    interpreter is the project's code, too.

    Args:
        workspace: the client's folder that the project lies in.
        root: the project's folder.
        waiting: told, before the user is asked, what is waited for.

    Raises:
        ConsentError: the user does not trust it, or cannot be asked.
    """
    told = server.configuration.trusted if workspace else None
    folder = workspace or root
    if told or (told is None and await asyncio.to_thread(trust.is_trusted, folder)):
        return
    if told is None:
        waiting("waiting for your answer: is the folder trusted?")
        if await _agreed(server, folder):
            return
    raise ConsentError(
        f"{folder} is not trusted, so none of its code was run",
        "Trust the workspace in your editor, or answer yes when oci-lsp asks; "
        f"`oci-lsp trust {folder}` does it for every editor.",
    )


async def _agreed(server: Server, folder: Path) -> bool:
    """Ask, and remember a yes where that may be."""
    agreed = await server.messages.ask(
        f"oci-lsp runs the code of {folder} and all that lies in it (the tests, in a sandbox), "
        "and follows its pyproject.toml. Do you trust its authors?",
        yes=_YES,
    )
    if agreed and trust.may_be_remembered(folder):
        try:
            await asyncio.to_thread(trust.trust, folder)
        except OSError as error:
            # Then it is asked again in the next session.
            _log.warning("The trust in %s could not be remembered: %s", folder, error)
    return agreed
