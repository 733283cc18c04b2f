"""Names for web addresses."""


def slugify(title: str) -> str:
    """The title in lower case, each run of other characters than letters and digits
    (`[^a-z0-9]+`) replaced by one dash, without dashes at the ends.
    """
    raise NotImplementedError
