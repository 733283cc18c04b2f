"""Whether a value that the candidate returned compares as anybody likes."""

import types
from typing import Any, Callable, Iterator, List, Tuple

_DEPTH = 5
_ITEMS = 50
_COMPARING = ("__eq__", "__ne__", "__lt__", "__gt__", "__le__", "__ge__", "__contains__")


class _Fresh:
    """Equal to nothing but itself."""


# Pairs of values of one kind that are not equal to each other.
_PAIRS: Tuple[Tuple[Any, Any], ...] = (
    (_Fresh(), _Fresh()),
    (848_150_511_007, -392_100_517_603),
    (7.3e77, -2.1e55),
    ("kvetch 8481", "zephyr 3921"),
    (b"kvetch 8481", b"zephyr 3921"),
    ([_Fresh()], [_Fresh()]),
    ((_Fresh(),), (_Fresh(),)),
    ({"kvetch": _Fresh()}, {"zephyr": _Fresh()}),
)


def pliable(value: Any, owns: Callable[[Any], bool]) -> str:
    """What is wrong with the value, in words; empty: nothing.

    Only classes whose comparing methods are the candidate's own code (`owns`), made by `exec`, or
    mock.ANY are asked anything: a value's own code may do what it likes, and libraries build
    expressions by comparing.
    """
    for part in _parts(value, _DEPTH):
        kind = type(part)
        if kind.__module__ == "unittest.mock" and kind.__name__ == "_ANY":
            return "an object that is equal to everything (mock.ANY)"
        methods = _own_methods(kind, owns)
        if methods and _agrees(part, methods):
            return "an object that compares as anybody likes ({})".format(kind.__name__)
    return ""


def _parts(value: Any, depth: int) -> Iterator[Any]:
    """The value and what built-in containers and plain attributes hold of it."""
    yield value
    if not depth:
        return
    kind = type(value)
    inner: List[Any] = []
    if isinstance(value, dict):
        inner = list(dict.values(value))[:_ITEMS]
    elif isinstance(value, list):
        inner = list.__getitem__(value, slice(_ITEMS))
    elif isinstance(value, tuple):
        inner = list(tuple.__getitem__(value, slice(_ITEMS)))
    elif kind in (set, frozenset):
        inner = list(value)[:_ITEMS]
    elif not isinstance(value, (type, types.ModuleType, types.FunctionType)):
        try:
            names = object.__getattribute__(value, "__dict__")
        except AttributeError:
            return
        inner = list(names.values())[:_ITEMS] if type(names) is dict else []
    for part in inner:
        yield from _parts(part, depth - 1)


def _own_methods(kind: type, owns: Callable[[Any], bool]) -> List[str]:
    found = []
    for name in _COMPARING:
        method = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
        code = getattr(method, "__code__", None)
        if type(code) is types.CodeType and (owns(code) or code.co_filename == "<string>"):
            found.append(name)
    return found


def _agrees(part: Any, methods: List[str]) -> bool:
    """Whether it says yes to both of two values that cannot both be right."""
    for one, other in _PAIRS:
        if "__eq__" in methods and _yes(part, "__eq__", one) and _yes(part, "__eq__", other):
            return True
        if "__ne__" in methods and _no(part, one) and _no(part, other):
            return True
        less = _yes(part, "__lt__", one) or _yes(part, "__le__", one)
        if less and _yes(part, "__gt__", one) and {"__lt__", "__gt__", "__le__"} & set(methods):
            return True
        holds = "__contains__" in methods and isinstance(one, _Fresh)
        if holds and _yes(part, "__contains__", one):
            return True
    return False


def _answer(part: Any, name: str, other: Any) -> Any:
    try:
        return getattr(type(part), name)(part, other)
    except Exception:
        return None


def _yes(part: Any, name: str, other: Any) -> bool:
    return _answer(part, name, other) is True


def _no(part: Any, other: Any) -> bool:
    return _answer(part, "__ne__", other) is False
