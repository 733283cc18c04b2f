from probe.events import Event


def sample(origin: str, first: float, again: float = 0.0) -> Event:
    return Event(at_ms=0, origin=origin, payload_kib=first, retries_kib=again)
