import unicodedata

_SMALL = {"the", "a", "an", "and", "&"}


def folded(title: str) -> str:
    """A title as it is compared: no accents, no case, no small words, no punctuation."""
    plain = unicodedata.normalize("NFKD", title.casefold())
    kept = "".join(c for c in plain if c.isalnum() or c in " &")
    return " ".join(word for word in kept.split() if word not in _SMALL)
