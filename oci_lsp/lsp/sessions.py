"""Sessions, one per project and settings: kept warm between jobs, ended when settings change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from oci_lsp.settings import Settings
from oci_lsp.verify.interpreter import find_interpreter

if TYPE_CHECKING:
    from oci_lsp.refine.session import Session

# Idle sessions hold a started kernel each; beyond this many the one idle for longest goes.
_WARM = 3

_log = logging.getLogger(__name__)


@dataclass
class _Entry:
    session: Session
    users: int = 0
    retired: bool = False


class Sessions:
    """Owns every session of the server, and with them every kernel."""

    def __init__(self, consent: Callable[[str], Awaitable[bool]]) -> None:
        self._consent = consent
        self._entries: dict[tuple[Path, Settings, Path], _Entry] = {}

    @asynccontextmanager
    async def lease(self, root: Path, settings: Settings) -> AsyncIterator[Session]:
        """A session for the length of a job.

        Raises:
            OciError: this machine cannot run the project's tests.
        """
        # Looked for each time: the user may have made a virtual environment meanwhile.
        python = await asyncio.to_thread(find_interpreter, root, settings.verify)
        # The loop's imports take half a second: not on the thread that answers the editor.
        module = await asyncio.to_thread(import_module, "oci_lsp.refine.session")
        key = (root, settings, python)
        entry = self._entries.pop(key, None)
        if entry is None:
            entry = _Entry(module.Session(root, settings, self._consent))
        self._entries[key] = entry  # at the end: the order is that of use
        entry.users += 1
        for (other, *_), old in self._entries.items():
            old.retired = old.retired or (other == root and old is not entry)
        entry.retired = False
        try:
            yield entry.session
        finally:
            entry.users -= 1
            await asyncio.shield(asyncio.ensure_future(self._tidy()))

    async def refresh(self, settings_of: Callable[[Path], Awaitable[Settings]]) -> None:
        """Settings or folders changed: retire the sessions that no job would be given now."""
        for (root, settings, _), entry in tuple(self._entries.items()):
            entry.retired = not root.is_dir() or await settings_of(root) != settings
        await self._tidy()

    async def _tidy(self) -> None:
        """End idle sessions that are out of date or too many."""
        idle = [key for key, entry in self._entries.items() if not entry.users]
        surplus = idle[: max(0, len(idle) - _WARM)]
        ending = [key for key in idle if key in surplus or self._entries[key].retired]
        sessions = [self._entries.pop(key).session for key in ending]
        await asyncio.gather(*map(_end, sessions))

    async def close(self) -> None:
        """End all sessions; their jobs must have ended."""
        entries, self._entries = self._entries, {}
        await asyncio.gather(*(_end(entry.session) for entry in entries.values()))

    def __len__(self) -> int:
        return len(self._entries)


async def _end(session: Session) -> None:
    try:
        await session.aclose()
    except Exception:  # noqa: BLE001 - the other sessions must end too
        _log.exception("A session did not end cleanly")
