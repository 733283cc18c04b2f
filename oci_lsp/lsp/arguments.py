"""The one argument of this server's commands: an object of known keys and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcInvalidParams

KEYS = (
    "uri",
    "position",
    "range",
    "qualifiedName",
    "version",
    "tests",
    "feedback",
    "diagnostics",
    "jobId",
)

_LARGEST = 2**31 - 1  # of what the protocol calls an unsigned integer


@dataclass(frozen=True)
class Problem:
    """A diagnostic as the client handed it over; `line` is 0-based."""

    line: int
    message: str
    source: str


@dataclass(frozen=True)
class Arguments:
    """What a command is told; a key that was not given is None or empty."""

    uri: str | None = None
    position: lsp.Position | None = None
    end: lsp.Position | None = None
    """End of a selection that begins at `position`."""
    qualified_name: str | None = None
    version: int | None = None
    """Of the buffer that `position` refers to."""
    tests: tuple[str, ...] = ()
    feedback: str = ""
    diagnostics: tuple[Problem, ...] = ()
    job_id: str | None = None


def parse(command: str, arguments: Sequence[Any], needs: Sequence[str] = ()) -> Arguments:
    """The argument of a command.

    Args:
        needs: keys that must be given; `a|b` stands for either.

    Raises:
        JsonRpcInvalidParams: what is wrong and what was expected, as the client's user sees it.
    """
    if len(arguments) > 1 or not all(isinstance(item, Mapping) for item in arguments):
        raise _wrong(command, f"one object is expected, with keys of {', '.join(KEYS)}")
    given = {k: v for k, v in (arguments[0] if arguments else {}).items() if v is not None}
    if unknown := [key for key in given if key not in KEYS]:
        raise _wrong(command, f"{unknown[0]!r} is unknown; the keys are {', '.join(KEYS)}")
    for need in needs:
        if not any(key in given for key in need.split("|")):
            raise _wrong(command, f"{need.replace('|', ' or ')} is missing")
    try:
        return _structured(given)
    except _WrongError as error:
        raise _wrong(command, str(error)) from None


def _wrong(command: str, why: str) -> JsonRpcInvalidParams:
    return JsonRpcInvalidParams(f"{command}: {why}")


class _WrongError(Exception):
    """A key has a value of another type."""


def _structured(given: Mapping[str, Any]) -> Arguments:
    position = _position(given, "position")
    end = None
    if "range" in given:
        selection = _typed(given, "range", Mapping, "{start, end}")
        position, end = _position(selection, "start"), _position(selection, "end")
    return Arguments(
        uri=_typed(given, "uri", str, "a string"),
        position=position,
        end=end,
        qualified_name=_typed(given, "qualifiedName", str, "a string"),
        version=_typed(given, "version", int, "a whole number"),
        tests=tuple(_items(given, "tests", str, "a list of strings")),
        feedback=_typed(given, "feedback", str, "a string") or "",
        diagnostics=tuple(
            _problem(item) for item in _items(given, "diagnostics", Mapping, "a list of objects")
        ),
        job_id=_typed(given, "jobId", str, "a string"),
    )


def _typed(given: Mapping[str, Any], key: str, kind: type, words: str) -> Any:
    value = given.get(key)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise _WrongError(f"{key} must be {words}, and is {value!r}")
    return value


def _items(given: Mapping[str, Any], key: str, kind: type, words: str) -> Sequence[Any]:
    value = given.get(key, ())
    if not isinstance(value, list | tuple) or not all(isinstance(item, kind) for item in value):
        raise _WrongError(f"{key} must be {words}, and is {value!r}")
    return value


def _position(given: Mapping[str, Any], key: str) -> lsp.Position | None:
    value = _typed(given, key, Mapping, "{line, character}")
    if value is None:
        return None
    numbers = [value.get("line"), value.get("character")]
    if not all(type(n) is int and 0 <= n <= _LARGEST for n in numbers):
        raise _WrongError(f"{key} must have a line and a character that count from 0: {value!r}")
    return lsp.Position(*numbers)


def _problem(item: Mapping[str, Any]) -> Problem:
    message = _typed(item, "message", str, "a string")
    place = _typed(item, "range", Mapping, "{start, end}")
    start = _position(place, "start") if place else None
    if message is None or start is None:
        raise _WrongError(f"a diagnostic must have a message and a range: {item!r}")
    source = item.get("source")
    return Problem(start.line, message, source if isinstance(source, str) else "")
