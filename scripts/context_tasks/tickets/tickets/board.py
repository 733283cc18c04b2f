"""The board of tickets."""

from tickets.status import Status


class Board:
    """Tickets by their number."""

    def __init__(self) -> None:
        self.tickets: dict[int, Status] = {}

    def put(self, number: int, status: str) -> None:
        self.tickets[number] = Status[status]

    def pending(self) -> list[int]:
        """Numbers of tickets on which somebody must still work."""
        return [number for number, status in self.tickets.items() if status is Status.FRESH]
