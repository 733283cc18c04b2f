"""The register of members."""

from club.numbers import is_sound


class Register:
    """Members by number."""

    def __init__(self) -> None:
        self.members: dict[str, str] = {}

    def enter(self, number: str, name: str) -> None:
        """Add a member; ValueError where the number is none."""
        if not number.isdigit():
            raise ValueError(number)
        self.members[number] = name
