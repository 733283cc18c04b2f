"""Reports on orders."""

from orders.models import Order


def open_numbers(orders: list[Order]) -> list[int]:
    """Numbers of the orders that somebody still waits for."""
    return [order.number for order in orders if order.handed_over_on is None]
