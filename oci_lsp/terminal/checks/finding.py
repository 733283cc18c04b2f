"""What a check says: well or not, what was found, what to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from oci_lsp.errors import OciError


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it is well, what was found, what to do."""

    what: str
    ok: bool
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Check:
    """A look at one thing; `look` gives what was found, or raises an OciError with the advice."""

    what: str
    look: Callable[[], Awaitable[Finding | str]]

    async def finding(self) -> Finding:
        """The finding; a check that finds nothing wrong may give its words alone."""
        try:
            found = await self.look()
        except OciError as error:
            return Finding(self.what, False, error.message, error.advice)
        except Exception as error:  # noqa: BLE001 - on an odd machine the other checks still tell
            fault = f"the check itself failed: {type(error).__name__}: {error}"
            return Finding(self.what, False, fault, "Please report it.")
        return found if isinstance(found, Finding) else Finding(self.what, True, found)


class BlockedError(OciError):
    """A check that cannot be made: what it needs is at fault, and that is told by its own check."""

    def __init__(self, why: str) -> None:
        super().__init__(f"not looked at: {why}")
