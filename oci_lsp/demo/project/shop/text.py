"""Names for web addresses."""


def slugify(title: str) -> str:
    """Lower-case words of a title, joined by dashes; punctuation is dropped."""
    raise NotImplementedError
