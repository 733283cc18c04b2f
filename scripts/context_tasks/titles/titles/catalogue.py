"""The catalogue of a library."""

from titles.text import folded


class Catalogue:
    """Titles and where they stand."""

    def __init__(self) -> None:
        self.shelves: dict[str, str] = {}

    def add(self, title: str, shelf: str) -> None:
        self.shelves[folded(title)] = shelf

    def shelf(self, title: str) -> str | None:
        """Where a title stands; None where the library has not got it."""
        return self.shelves.get(title.lower())
