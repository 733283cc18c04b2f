"""Figures for the monthly report."""


def median(numbers: list[float]) -> float:
    """The middle number; of an even count, the mean of the two in the middle."""
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    return ordered[middle]
