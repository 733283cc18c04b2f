"""What all stores share."""


class Store:
    """Items by key."""

    def __init__(self) -> None:
        self.items: dict[str, object] = {}

    def key_of(self, name: str) -> str:
        """The key under which a name is kept."""
        words = sorted(name.casefold().replace(",", " ").split())
        return "/".join(words)

    def put(self, name: str, item: object) -> None:
        self.items[self.key_of(name)] = item
