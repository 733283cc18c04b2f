"""Events of a probe."""

from typing import TypedDict


class Event(TypedDict):
    """One event as the probe sends it."""

    at_ms: int
    origin: str
    payload_kib: float
    retries_kib: float
