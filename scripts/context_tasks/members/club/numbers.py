"""Membership numbers: seven digits, the last one checks the others."""

_WEIGHTS = (3, 7, 9, 5, 8, 4)


def is_sound(number: str) -> bool:
    """Seven digits whose check digit fits."""
    if len(number) != 7 or not number.isdigit():
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, number))
    return total % 11 % 10 == int(number[-1])
