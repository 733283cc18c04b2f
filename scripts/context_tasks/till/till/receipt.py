"""Receipts of a shop."""

from decimal import Decimal

from till.cash import payable


class Receipt:
    """Lines of (quantity, price)."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, Decimal]] = []

    def add(self, quantity: int, price: str) -> None:
        self.lines.append((quantity, Decimal(price)))

    def change(self, given: str) -> Decimal:
        """What the customer gets back."""
        return payable(Decimal(given) - self.due())

    def due(self) -> Decimal:
        """What the customer pays in cash."""
        return sum(quantity * price for quantity, price in self.lines)
