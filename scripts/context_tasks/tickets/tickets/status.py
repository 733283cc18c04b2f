"""States of a ticket."""

from enum import Enum


class Status(Enum):
    """Where a ticket stands."""

    FRESH = 1
    TRIAGED = 2
    WITH_VENDOR = 3
    MENDED = 4
    DECLINED = 5
    DUPLICATE = 6

    @property
    def is_settled(self) -> bool:
        """Nobody works on it any more."""
        return self.value >= Status.MENDED.value
