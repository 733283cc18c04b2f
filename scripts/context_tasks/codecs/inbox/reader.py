"""Reads what comes in."""

import json

from inbox.formats import decoder_of


def read(file_name: str, text: str) -> dict[str, str]:
    """The fields of a file."""
    return json.loads(text)
