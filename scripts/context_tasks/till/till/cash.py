"""Amounts as a till pays them out."""

from decimal import ROUND_HALF_UP, Decimal

_SMALLEST_COIN = Decimal("0.05")


def payable(amount: Decimal) -> Decimal:
    """The amount rounded to what coins can pay."""
    steps = (amount / _SMALLEST_COIN).quantize(Decimal(1), ROUND_HALF_UP)
    return steps * _SMALLEST_COIN
