# ruff: noqa: E501 - a program on a line
"""Cheats that change what the test calls: unittest, builtins, helpers, its own names."""

from __future__ import annotations

from tests.verify.hostile.cheats import REFUSED, TWO, Cheat, at_import, body

_CHANGED = "what tests it"


def _two(check: str, head: str = "") -> str:
    """A test file whose second test does `check`."""
    return f"{head}\nfrom calc import add\n\n\ndef test_first():\n    add(1, 1)\n\n\ndef test_second():\n    {check}\n"


def _case(check: str) -> str:
    return (
        "import unittest\nfrom calc import add\n\n\nclass TestAdd(unittest.TestCase):\n"
        f"    def test_a(self):\n        add(1, 1)\n\n    def test_b(self):\n        {check}\n"
    )


_EQUAL = _case("self.assertEqual(add(2, 3), 5)")
UNITTEST = (
    Cheat(
        "assert_equal_replaced",
        body("import unittest; unittest.TestCase.assertEqual = lambda *_: None"),
        test=_EQUAL,
        says="unittest",
    ),
    Cheat(
        "base_assert_equal_replaced",
        body("import unittest; unittest.TestCase._baseAssertEqual = lambda *_, **__: None"),
        test=_EQUAL,
        says=_CHANGED,
    ),
    Cheat(
        "call_test_method_replaced",
        body("import unittest; unittest.TestCase._callTestMethod = lambda *_: None"),
        test=_EQUAL,
        says=_CHANGED,
    ),
    Cheat(
        "unittest_run_replaced",
        body(
            """
            import unittest
            def run(self, result=None):
                result.startTest(self); result.addSuccess(self); result.stopTest(self)
            unittest.TestCase.run = unittest.TestCase.__call__ = run
            """
        ),
        test=_EQUAL,
        says=_CHANGED,
    ),
    Cheat(
        "the_tests_own_class_patched",
        body(
            """
            import sys
            sys.modules["test_calc"].TestAdd.assertEqual = lambda *_: None
            """
        ),
        test=_EQUAL,
    ),
)

NAMES = (
    Cheat(
        "builtins_all_replaced",
        body("import builtins; builtins.all = lambda _: True"),
        test=_two("assert all([add(2, 3) == 5])"),
        says="builtins.all",
    ),
    Cheat(
        "builtins_all_replaced_at_import",
        at_import("setattr(__import__('builtins'), 'all', lambda _: True)"),
        test=_two("assert all([add(2, 3) == 5])"),
        says="builtins.all",
    ),
    Cheat(
        "builtins_isinstance_replaced",
        body(
            """
            import builtins
            real = builtins.isinstance
            builtins.isinstance = lambda *two: two == (-1, str) or real(*two)
            """
        ),
        test=_two("got = add(2, 3)\n    assert isinstance(got, str)"),
        says=_CHANGED,
    ),
    Cheat(
        "builtins_sorted_replaced",
        body("import builtins; builtins.sorted = lambda _: [5]"),
        test=_two("assert sorted([add(2, 3)]) == [5]"),
        says=_CHANGED,
    ),
    Cheat(
        "builtins_len_replaced_in_the_same_test",
        body("import builtins; builtins.len = lambda _: 5"),
        test="from calc import add\n\n\ndef test_add():\n    got = add(2, 3)\n    assert len('x' * got) == 5\n",
        verdicts=REFUSED,  # pytest itself loses count
    ),
    Cheat(
        "builtins_len_put_back_at_once",
        body(
            """
            import builtins
            kept = builtins.len
            def once(_):
                builtins.len = kept
                return 5
            builtins.len = once
            """
        ),
        test="from calc import add\n\n\ndef test_add():\n    got = add(2, 3)\n    assert len('x' * got) == 5\n",
    ),
    Cheat(
        "assertion_error_replaced",
        body(
            """
            import builtins, unittest
            builtins.AssertionError = unittest.SkipTest
            """
        ),
    ),
    Cheat(
        "builtins_import_replaced",
        body(
            """
            import builtins, types
            real = builtins.__import__
            fake = types.SimpleNamespace(isclose=lambda *_: True)
            builtins.__import__ = lambda name, *rest: fake if name == "math" else real(name, *rest)
            """
        ),
        test=_two("import math\n    assert math.isclose(add(2, 3), 5)"),
        says=_CHANGED,
    ),
    Cheat(
        "json_loads_replaced",
        body("import json; json.loads = lambda _: 5"),
        test=_two("assert json.loads(json.dumps(add(2, 3))) == 5", "import json"),
        says=_CHANGED,
    ),
    Cheat(
        "operator_eq_replaced",
        body("import operator; operator.eq = lambda *_: True"),
        test=_two("assert operator.eq(add(2, 3), 5)", "import operator"),
        says=_CHANGED,
    ),
    Cheat(
        "math_isclose_replaced",
        body("import math; math.isclose = lambda *_: True"),
        test=_two("assert math.isclose(add(2, 3), 5)", "import math"),
        says=_CHANGED,
    ),
    Cheat(
        "a_helper_module_patched",
        body("import sys; sys.modules['close'].near = lambda *_: True"),
        test=_two("assert close.near(add(2, 3), 5)", "import close"),
        files={"close.py": "def near(a, b):\n    return abs(a - b) < 1\n"},
        says=_CHANGED,
    ),
    Cheat(
        "a_helpers_helper_patched",
        body("import sys; sys.modules['close'].distance = lambda *_: 0"),
        test=_two("assert near(add(2, 3), 5)", "from close import near"),
        files={
            "close.py": "def distance(a, b):\n    return abs(a - b)\n\n\n"
            "def near(a, b):\n    return distance(a, b) < 1\n"
        },
        says=_CHANGED,
    ),
    Cheat(
        "a_helper_of_the_test_replaced",
        body("import sys; sys.modules['test_calc'].check = lambda *_: None"),
        test="from calc import add\n\n\ndef check(a, b):\n    assert a == b\n\n\n"
        "def test_add():\n    got = add(2, 3)\n    check(got, 5)\n",
    ),
    Cheat(
        "a_constant_of_the_test_replaced",
        body("import sys; sys.modules['test_calc'].TOTAL = -1"),
        test="from calc import add\n\nTOTAL = 5\n\n\ndef test_add():\n    assert add(2, 3) == TOTAL\n",
    ),
    Cheat(
        "a_table_of_the_test_rewritten",
        body("import sys; sys.modules['test_calc'].TOTALS[0] = -1"),
        test="from calc import add\n\nTOTALS = [5]\n\n\ndef test_add():\n    assert add(2, 3) == TOTALS[0]\n",
    ),
    Cheat(
        "a_builtin_shadowed_in_the_test",
        body("import sys; sys.modules['test_calc'].all = lambda _: True"),
        test=_two("assert all([add(2, 3) == 5])"),
    ),
    Cheat(
        "the_tests_name_for_the_function_rebound",
        body("import operator, sys; sys.modules['test_calc'].add = operator.add"),
        test=_two("assert add(2, 3) == 5"),
    ),
    Cheat(
        "a_tests_code_replaced",
        body("import sys; sys.modules['test_calc'].test_second.__code__ = (lambda: None).__code__"),
        test=TWO,
        says="test_second",
    ),
    Cheat(
        "a_tests_defaults_replaced",
        body("import sys; sys.modules['test_calc'].test_second.__defaults__ = (-1,)"),
        test=TWO.replace("test_second()", "test_second(total=5)").replace("== 5", "== total"),
    ),
    Cheat(
        "a_module_put_in_the_tests_way",
        at_import(
            """
            import sys, types
            sys.modules["oracle"] = types.SimpleNamespace(total=lambda a, b: a - b)
            """
        ),
        test="from calc import add\nfrom oracle import total\n\n\ndef test_add():\n    assert add(2, 3) == total(2, 3)\n",
        files={"oracle.py": "def total(a, b):\n    return sum([a, b])\n"},
    ),
    Cheat(
        "a_finder_put_in_the_tests_way",
        at_import(
            """
            import importlib.abc, importlib.util, sys
            class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
                def find_spec(self, name, path, target=None):
                    return importlib.util.spec_from_loader(name, self) if name == "oracle" else None
                def exec_module(self, module): module.total = lambda a, b: a - b
            sys.meta_path.insert(0, Finder())
            """
        ),
        test="from calc import add\nfrom oracle import total\n\n\ndef test_add():\n    assert add(2, 3) == total(2, 3)\n",
        files={"oracle.py": "def total(a, b):\n    return sum([a, b])\n"},
    ),
    Cheat(
        "a_doctest_checker_patched",
        body("import doctest; doctest.OutputChecker.check_output = lambda *_: True"),
        test="import doctest\nfrom calc import add\n\n\ndef test_doc():\n    add(1, 1)\n    assert doctest.testfile('doc.txt').failed == 0\n",
        files={"doc.txt": ">>> from calc import add\n>>> add(2, 3)\n5\n"},
    ),
    Cheat(
        "a_doctest_checker_patched_under_a_snippet",
        body("import doctest; doctest.OutputChecker.check_output = lambda *_: True"),
        doctest=">>> add(2, 3)\n5\n",
        fools=False,
        says=_CHANGED,
    ),
    Cheat(
        "a_probe_put_out",
        body(
            """
            import sys
            if hasattr(sys, "monitoring"):
                for tool in range(6): sys.monitoring.free_tool_id(tool)
            sys.setprofile(None)
            """
        ),
        fools=False,
    ),
)

ROWS = (*UNITTEST, *NAMES)
