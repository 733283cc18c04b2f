"""Names for web addresses."""


def slugify(title: str) -> str:
    """The title in lower case, every run of other characters than a-z and 0-9 as one dash.

    There is no dash at either end.
    """
    raise NotImplementedError
