"""Settings: the project's, the editor's, the command line's, in this order of growing weight."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException

from oci_lsp.lsp.documents import path_of
from oci_lsp.settings import Settings, from_command_line, from_pyproject, merge
from oci_lsp.trust import is_trusted

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server

SECTION = "oci_lsp"
# An editor that never answers must not keep a job from starting.
_ANSWER_SECONDS = 3.0

_log = logging.getLogger(__name__)


class Configuration:
    """What every source of settings said last.

    A workspace is trusted where the client says so, `"trusted": true` beside the settings in
    `initializationOptions`, or where the user told us. Nowhere else: what a client reads from a
    folder's own settings could be the work of whoever wrote the folder. In any other workspace the
    keys by which a repository could weaken its reader's safety are ignored in its pyproject.toml,
    with a message.

    Attributes:
        trusted: what the client says of its workspace; None where it says nothing.
    """

    def __init__(self, server: Server, assignments: Sequence[str]) -> None:
        self._server = server
        self._assignments = tuple(assignments)
        self._initial: Any = None
        self._pushed: Any = None
        self._pulled: dict[str, Any] = {}
        self._pulling: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        self.trusted: bool | None = None

    def initialise(self, options: Any) -> None:
        """Take over `initializationOptions`: the settings, bare or below `oci_lsp`."""
        self._initial = _section(options)
        if isinstance(options, Mapping):
            own = self._initial if isinstance(self._initial, Mapping) else {}
            told = options.get("trusted", own.get("trusted"))
            self.trusted = told if isinstance(told, bool) else None
            if isinstance(self._initial, Mapping):
                self._initial = {k: v for k, v in self._initial.items() if k != "trusted"}

    def begin(self) -> None:
        """Ask the client for its settings, and to be told when they change."""
        if self._server.client.registers_configuration_changes:
            self._server.client_register_capability(
                lsp.RegistrationParams(
                    [
                        lsp.Registration(
                            "oci-lsp-configuration",
                            lsp.WORKSPACE_DID_CHANGE_CONFIGURATION,
                            {"section": SECTION},
                        )
                    ]
                )
            )
        self._pull_soon()

    def changed(self, settings: Any) -> None:
        """Take over `didChangeConfiguration`; a client that can be asked is asked again."""
        if isinstance(settings, Mapping) and SECTION in settings:
            self._pushed = settings[SECTION]
        self.folders_changed()

    def folders_changed(self) -> None:
        """Ask again for what each folder is set to, and end the kernels that no longer fit."""
        self._pull_soon()
        self._settling = asyncio.create_task(self._settle(), name="oci-lsp settings changed")

    async def _settle(self) -> None:
        await self._server.jobs.sessions.refresh(self._settings_of)
        self._server.lenses_changed()

    async def _settings_of(self, root: Path) -> Settings:
        return await self.settings(root, self.folder_of(root)[1])

    def _pull_soon(self) -> None:
        """Ask the client for the settings of every folder, where it can answer."""
        if self._server.client.tells_configuration:
            self._pulling = asyncio.create_task(self._pull(), name="oci-lsp configuration")

    async def _pull(self) -> None:
        folders = self.folders
        items = [lsp.ConfigurationItem(scope_uri=uri, section=SECTION) for uri in folders]
        items.append(lsp.ConfigurationItem(section=SECTION))
        try:
            answers = await self._server.workspace_configuration_async(
                lsp.ConfigurationParams(items)
            )
        except JsonRpcException as error:
            _log.warning("The client does not tell its settings: %s", error)
            return
        if asyncio.current_task() is not self._pulling:
            return  # a newer question is on its way
        self._pulled = dict(zip([*folders, ""], answers or (), strict=False))

    @property
    def folders(self) -> list[str]:
        """URIs of the client's folders; older clients tell of one root only."""
        workspace = self._server.workspace
        known = [folder.uri for folder in workspace.folders.values()]
        return known or ([workspace.root_uri] if workspace.root_uri else [])

    def folder_of(self, path: Path) -> tuple[Path | None, str]:
        """The innermost workspace folder that holds a path, and its URI; `(None, "")` if none."""
        found: tuple[Path | None, str] = (None, "")
        for uri in self.folders:
            place = path_of(uri)
            if place is None:
                continue
            place = place.resolve()
            deeper = found[0] is None or len(place.parts) > len(found[0].parts)
            if path.is_relative_to(place) and deeper:
                found = (place, uri)
        return found

    async def settings(self, root: Path, folder_uri: str) -> Settings:
        """What is in force for a project; messages about wrong values are shown once."""
        if self._pulling:
            await asyncio.wait({self._pulling}, timeout=_ANSWER_SECONDS)
        told = self.trusted if folder_uri else None
        settings, messages = await asyncio.to_thread(_from_project, root, told)
        pulled = self._pulled.get(folder_uri, self._pulled.get(""))
        for tree in (self._initial, self._pushed, pulled):
            settings, more = merge(settings, tree)
            messages += more
        for message in messages:
            self._server.messages.warn_once(f"oci-lsp: {message}")
        return from_command_line(settings, self._assignments)


def _from_project(root: Path, told: bool | None) -> tuple[Settings, list[str]]:
    """A client's word on its workspace, where it has one for this project, goes first."""
    return from_pyproject(Settings(), root, trusted=is_trusted(root) if told is None else told)


def _section(tree: Any) -> Any:
    return tree[SECTION] if isinstance(tree, Mapping) and SECTION in tree else tree
