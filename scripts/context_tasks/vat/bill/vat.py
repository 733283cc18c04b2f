"""Tax rates by category."""

from decimal import Decimal

STANDARD = Decimal("0.19")
_REDUCED = {
    "book": Decimal("0.07"),
    "food": Decimal("0.07"),
    "train": Decimal("0.07"),
    "stamp": Decimal(0),
    "solar": Decimal(0),
    "hotel": Decimal("0.095"),
}


def rate_for(category: str) -> Decimal:
    """The rate of a category; the standard one where no other is set."""
    return _REDUCED.get(category, STANDARD)
