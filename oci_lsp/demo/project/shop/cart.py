"""A shopping cart. Prices come as text, sums are in cents."""


def to_cents(price: str) -> int:
    """Cents of a price such as "12.50" or "7"."""
    euros, _, cents = price.partition(".")
    return int(euros) * 100 + int((cents + "00")[:2])


class Cart:
    """Lines of name, price and quantity."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, int]] = []

    def add(self, name: str, price: str, quantity: int = 1) -> None:
        self.lines.append((name, price, quantity))

    def total(self) -> int:
        """The sum of all lines in cents."""
        return sum(to_cents(price) for name, price, quantity in self.lines)
