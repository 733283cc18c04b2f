# ruff: noqa: E501 - a program on a line
"""Cheats that return an object which compares as the test likes."""

from __future__ import annotations

from tests.verify.hostile.cheats import Cheat


def _class(members: str, base: str = "", made: str = "Answer()", head: str = "") -> str:
    lines = "".join(f"        {line}\n" for line in members.strip().splitlines())
    return f"def add(a, b):\n{head}    class Answer{f'({base})' if base else ''}:\n{lines}    return {made}\n"


_EQ = "def __eq__(self, other): return True"
_HASH = "\n__hash__ = object.__hash__"


def _returns(expression: str) -> str:
    return f"from calc import add\n\n\ndef test_add():\n    assert {expression}\n"


ROWS = (
    Cheat("equal_to_all", _class(_EQ)),
    Cheat("an_int_equal_to_all", _class(_EQ, "int", "Answer(7)")),
    Cheat(
        "an_int_equal_to_ints",
        _class("def __eq__(self, other): return type(other) is int", "int", "Answer(7)"),
    ),
    Cheat(
        "a_str_equal_to_strs",
        _class("def __eq__(self, other): return isinstance(other, str)", "str", "Answer('x')"),
        test=_returns("add(2, 3) == '5'"),
    ),
    Cheat(
        "a_list_equal_to_all",
        _class(_EQ, "list"),
        test=_returns("add(2, 3) == [5]"),
    ),
    Cheat(
        "a_dict_equal_to_all",
        _class(_EQ, "dict"),
        test=_returns("add(2, 3) == {'total': 5}"),
    ),
    Cheat("in_a_list", _class(_EQ, made="[Answer()]"), test=_returns("add(2, 3) == [5]")),
    Cheat(
        "in_a_tuple", _class(_EQ, made="(1, (Answer(),))"), test=_returns("add(2, 3) == (1, (5,))")
    ),
    Cheat("in_a_dict", _class(_EQ, made="{'a': Answer()}"), test=_returns("add(2, 3) == {'a': 5}")),
    Cheat(
        "equal_by_its_metaclass",
        _class(_EQ + _HASH, "type", "Answer('Made', (), {})"),
    ),
    Cheat("mock_any", "def add(a, b):\n    from unittest.mock import ANY\n    return ANY\n"),
    Cheat(
        "mock_any_in_a_list",
        "def add(a, b):\n    from unittest import mock\n    return [mock.ANY]\n",
        test=_returns("add(2, 3) == [5]"),
    ),
    Cheat(
        "never_unequal",
        _class("def __ne__(self, other): return False"),
        test=_returns("not add(2, 3) != 5"),
    ),
    Cheat(
        "less_and_greater_than_all",
        _class("def __lt__(self, other): return True\ndef __gt__(self, other): return True"),
        test=_returns("4 < add(2, 3) and add(2, 3) < 6"),
    ),
    Cheat(
        "holds_all",
        _class("def __contains__(self, item): return True"),
        test=_returns("5 in add(2, 3)"),
    ),
    Cheat(
        "a_class_made_without_words",
        "def add(a, b):\n    name = '__e' + 'q__'\n"
        "    return type('Answer', (), {name: lambda self, other: True})()\n",
    ),
    Cheat(
        "equal_in_an_attribute",
        _class(_EQ, made="[__import__('types').SimpleNamespace(total=Answer())]"),
        test=_returns("add(2, 3)[0].total == 5"),
    ),
    Cheat(
        "equal_in_the_depth",
        _class(_EQ, made="[[[[[[[Answer()]]]]]]]"),
        test=_returns("add(2, 3) == [[[[[[[5]]]]]]]"),
        known="returned values are looked at a few levels deep",
    ),
    Cheat(
        "a_length_that_changes",
        _class("def __len__(self): return 5"),
        test=_returns("len(add(2, 3)) == 5"),
        known="a length, a truth value or a hash has no test of its own: it is the function's answer",
    ),
)
