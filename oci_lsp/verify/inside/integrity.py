"""Integrity: whether what the tests judge by is, after the run, what it was after collection."""

import builtins
import unittest
from types import CodeType
from typing import Any, Dict, List, Tuple

# What tests judge by: a candidate that replaced one of these could pass anything.
_WATCHED: Dict[str, Any] = {"builtins": builtins, "unittest.TestCase": unittest.TestCase}


def code_digest(code: CodeType) -> Tuple[Any, ...]:
    """What a function does, comparable; nested functions included."""
    constants = tuple(
        code_digest(item) if isinstance(item, CodeType) else (type(item).__name__, repr(item))
        for item in code.co_consts
    )
    return (code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars)


class Integrity:
    """Remembers the tests' code and what they judge by; tells what was changed since."""

    def __init__(self) -> None:
        self._functions: List[Tuple[str, Any, Any, Tuple[Any, ...]]] = []
        self._replaceable: Dict[str, Dict[str, Any]] = {}

    def remember(self, tests: Dict[str, Any]) -> None:
        """Take stock after collection; `tests` maps ids to pytest items."""
        for node_id, item in tests.items():
            function = getattr(item, "function", None) or getattr(item, "obj", None)
            function = getattr(function, "__func__", function)
            code = getattr(function, "__code__", None)
            if code is not None:
                self._functions.append((node_id, function, code, code_digest(code)))
        self._replaceable = {name: dict(vars(owner)) for name, owner in _WATCHED.items()}

    def changed(self) -> List[str]:
        """Names of tests and of what they judge by that are not what they were."""
        changed = [
            node_id
            for node_id, function, code, digest in self._functions
            if function.__code__ is not code or code_digest(function.__code__) != digest
        ]
        for owner, before in self._replaceable.items():
            now = vars(_WATCHED[owner])
            changed += [
                "{}.{}".format(owner, name)
                for name, value in before.items()
                if now.get(name) is not value and (name == "__eq__" or not name.startswith("_"))
            ]
        return changed
