"""Trails made of legs."""

from trails import units

Leg = tuple[float, str]


def longest(legs: list[Leg]) -> Leg:
    """The longest leg."""
    return max(legs, key=lambda leg: units.metres(*leg))


def total(legs: list[Leg]) -> float:
    """The length of a trail in metres."""
    return sum(value for value, _ in legs)
