"""People by name."""

from store.base import Store


class People(Store):
    """A store of people."""

    def find(self, name: str) -> object:
        """The person of that name, however it is written; None where there is none."""
        return self.items.get(name)
