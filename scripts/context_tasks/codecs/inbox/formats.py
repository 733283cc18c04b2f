"""Formats of what comes in, by the suffix of the file."""

from collections.abc import Callable

Decoder = Callable[[str], dict[str, str]]
_decoders: dict[str, Decoder] = {}


def decodes(suffix: str) -> Callable[[Decoder], Decoder]:
    """Register a decoder."""

    def keep(function: Decoder) -> Decoder:
        _decoders[suffix] = function
        return function

    return keep


def decoder_of(file_name: str) -> Decoder:
    """The decoder for a file's suffix; KeyError where there is none."""
    return _decoders[file_name.rpartition(".")[2].lower()]


@decodes("ini")
def _ini(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if line and line[0] not in ";#[")
    return {key.strip(): value.strip() for key, value in pairs}


@decodes("tab")
def _tab(text: str) -> dict[str, str]:
    head, *rows = (line.split("\t") for line in text.splitlines())
    return {name: "|".join(row[index] for row in rows) for index, name in enumerate(head)}
