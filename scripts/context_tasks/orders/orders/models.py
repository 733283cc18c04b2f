"""What an order is."""

from dataclasses import dataclass
from datetime import date


@dataclass
class Order:
    """One order; dates are None until it happened."""

    number: int
    placed_on: date
    handed_over_on: date | None = None
    withdrawn_on: date | None = None
