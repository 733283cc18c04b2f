"""What a probe has sent."""

from probe.events import Event


def sent_kib(events: list[Event], origin: str) -> float:
    """All that one origin has sent, in KiB, repeated sending included."""
    return sum(event["size"] for event in events if event["origin"] == origin)
