"""Invoices."""

from decimal import Decimal

from bill import vat


def gross(net: Decimal, category: str) -> Decimal:
    """The price with tax."""
    return net * (1 + vat.STANDARD)
