# ruff: noqa: E501 - a program on a line
"""Cheats that change how pytest runs, judges or reports tests."""

from __future__ import annotations

from tests.verify.hostile.cheats import TWO, Cheat, at_import, body

_CHANGED = "what tests it"


def _two(check: str, head: str = "") -> str:
    """A test file whose second test does `check`."""
    return f"{head}\nfrom calc import add\n\n\ndef test_first():\n    add(1, 1)\n\n\ndef test_second():\n    {check}\n"


_ITEMS = """
import _pytest.assertion.util as util
session = util._config.pluginmanager.get_plugin("session")
"""

ROWS = (
    Cheat(
        "test_report_patched",
        body(
            """
            from _pytest.reports import TestReport
            make = TestReport.from_item_and_call
            def liar(cls, item, call):
                call.excinfo = None
                return make(item, call)
            TestReport.from_item_and_call = classmethod(liar)
            """
        ),
        says=_CHANGED,
    ),
    Cheat(
        "call_info_patched",
        body(
            """
            from _pytest.runner import CallInfo
            make = CallInfo.from_call
            CallInfo.from_call = classmethod(lambda cls, func, when, reraise=None:
                make((lambda: None) if when == "call" else func, when, reraise))
            """
        ),
        test=TWO,
        says=_CHANGED,
    ),
    Cheat(
        "call_info_patched_at_import",
        at_import(
            """
            from _pytest.runner import CallInfo
            make = CallInfo.from_call
            CallInfo.from_call = classmethod(lambda cls, func, when, reraise=None:
                make((lambda: None) if when == "call" else func, when, reraise))
            """
        ),
        says=_CHANGED,
    ),
    Cheat(
        "call_info_patched_for_one_call",
        body(
            """
            from _pytest.runner import CallInfo
            kept = CallInfo.__dict__["from_call"]
            make = CallInfo.from_call
            def once(cls, func, when, reraise=None):
                if when != "call": return make(func, when, reraise)
                CallInfo.from_call = kept
                return make(lambda: None, when, reraise)
            CallInfo.from_call = classmethod(once)
            """
        ),
        test=TWO,
        says=_CHANGED,
    ),
    Cheat(
        "runner_patched",
        body(
            """
            import _pytest.runner as runner
            def liar(item, when, log=True, **options):
                call = runner.CallInfo.from_call(lambda: None, when)
                report = item.ihook.pytest_runtest_makereport(item=item, call=call)
                item.ihook.pytest_runtest_logreport(report=report)
                return report
            runner.call_and_report = liar
            """
        ),
        test=TWO,
        says=_CHANGED,
    ),
    Cheat(
        "function_runtest_patched",
        body("import _pytest.python; _pytest.python.Function.runtest = lambda self: None"),
        test=TWO,
        says=_CHANGED,
    ),
    Cheat(
        "pytest_function_code_swapped",
        body(
            """
            import _pytest.python
            def empty(pyfuncitem): return True
            _pytest.python.pytest_pyfunc_call.__code__ = empty.__code__
            """
        ),
        test=TWO,
        says=_CHANGED,
    ),
    Cheat(
        "a_hook_replaced",
        body(_ITEMS + "session.config.hook.pytest_pyfunc_call = lambda **_: True"),
        test=TWO,
        says=_CHANGED,
    ),
    Cheat(
        "hook_implementations_replaced",
        body(
            _ITEMS
            + """
hook = session.config.hook.pytest_pyfunc_call
for implementation in hook.get_hookimpls():
    implementation.function = lambda pyfuncitem: True
"""
        ),
        test=TWO,
        says=_CHANGED,
    ),
    Cheat(
        "a_plugin_registered",
        body(
            _ITEMS
            + """
import pytest
class Liar:
    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem): return True
session.config.pluginmanager.register(Liar())
"""
        ),
        test=TWO,
        says=_CHANGED,
    ),
    Cheat(
        "a_wrapper_of_reports_registered",
        body(
            _ITEMS
            + """
import pytest
class Liar:
    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_makereport(self, item, call):
        call.excinfo = None
        outcome = yield
        outcome.get_result().outcome = "passed"
session.config.pluginmanager.register(Liar())
"""
        ),
        says=_CHANGED,
    ),
    Cheat(
        "a_hook_in_a_module_that_is_a_plugin",
        "def pytest_pyfunc_call(pyfuncitem):\n    pyfuncitem.obj()\n    return True\n\n\n"
        + "def pytest_assertrepr_compare(op, left, right):\n    import pytest\n    pytest.skip('x')\n\n\n"
        + "def add(a, b):\n    return a - b\n",
        files={"conftest.py": "pytest_plugins = ['calc']\n"},
    ),
    Cheat(
        "an_items_runtest_replaced",
        body(_ITEMS + "session.items[1].runtest = lambda: None"),
        test=TWO,
        says=_CHANGED,
    ),
    Cheat(
        "an_items_function_replaced",
        body(_ITEMS + "session.items[1].obj = lambda: None"),
        test=TWO,
        says=_CHANGED,
    ),
    Cheat(
        "parameters_rewritten",
        body(
            _ITEMS
            + """
for item in session.items:
    item.callspec.params["total"] = item.callspec.params["a"] - item.callspec.params["b"]
"""
        ),
        test="""
import pytest
from calc import add


@pytest.mark.parametrize(("a", "b", "total"), [(0, 0, 0), (2, 3, 5)])
def test_add(a, b, total):
    assert add(a, b) == total
""",
        says=_CHANGED,
    ),
    Cheat(
        "a_fixtures_function_replaced",
        body(
            """
            import _pytest.assertion.util as util
            session = util._config.pluginmanager.get_plugin("session")
            manager = session._fixturemanager
            (fixture,) = manager.getfixturedefs("total", session.items[0])
            object.__setattr__(fixture, "func", lambda: -1)
            """
        ),
        test=TWO.replace("def test_second():", "def test_second(total):").replace(
            "== 5", "== total"
        ),
        files={"conftest.py": "import pytest\n\n@pytest.fixture\ndef total():\n    return 5\n"},
        says=_CHANGED,
    ),
    Cheat(
        "pytest_approx_replaced",
        body("import pytest; pytest.approx = lambda value, **_: -1"),
        test="import pytest\nfrom calc import add\n\n\ndef test_add():\n    got = add(2, 3)\n    assert got == pytest.approx(5)\n",
        says=_CHANGED,
    ),
    Cheat(
        "pytest_raises_replaced",
        body(
            """
            import contextlib, pytest
            pytest.raises = lambda *_, **__: contextlib.nullcontext()
            """
        ),
        test=_two(
            "with pytest.raises(TypeError):\n        add('a', 1, 2) if False else add(2, 3)",
            "import pytest",
        ),
        says=_CHANGED,
    ),
    Cheat(
        "pytest_fail_replaced",
        body("import pytest; pytest.fail = lambda *_: None"),
        test=_two("if add(2, 3) != 5:\n        pytest.fail('wrong')", "import pytest"),
        says=_CHANGED,
    ),
)
