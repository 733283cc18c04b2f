"""Lengths in the units of old maps."""

_METRES = {"m": 1.0, "chain": 20.1168, "rod": 5.0292, "verst": 1066.8, "li": 500.0}


def metres(value: float, unit: str) -> float:
    """A length in metres; KeyError for a unit that no map uses."""
    return value * _METRES[unit]
