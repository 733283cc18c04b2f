"""Cheats that end the run, or leave the test, before it can fail."""

from __future__ import annotations

from tests.verify.hostile.cheats import CRASHED, REFUSED, TWO, Cheat, at_import, body

ROWS = (
    Cheat(
        "os_exit",
        body("import os; os._exit(0)"),
        verdicts=CRASHED,
        says="ended in the middle of the run (exit status 0)",
    ),
    Cheat("sys_exit", body("import sys; sys.exit(0)"), fools=False),
    Cheat("system_exit_in_a_call", body("raise SystemExit(0)"), fools=False),
    Cheat(
        "system_exit_at_import",
        at_import("raise SystemExit(0)"),
        verdicts=REFUSED,
        fools=False,
    ),
    Cheat("os_exit_at_import", at_import("import os; os._exit(0)"), verdicts=CRASHED),
    Cheat("pytest_exit", body("import pytest; pytest.exit('done', 0)"), verdicts=REFUSED),
    Cheat("pytest_skip", body("import pytest; pytest.skip('later')")),
    Cheat("pytest_xfail", body("import pytest; pytest.xfail('known')")),
    Cheat("pytest_importorskip", body("import pytest; pytest.importorskip('nowhere_to_be_found')")),
    Cheat("unittest_skip", body("import unittest; raise unittest.SkipTest('later')")),
    Cheat(
        "skip_of_the_whole_module",
        at_import("import pytest; pytest.skip('later', allow_module_level=True)"),
        verdicts=REFUSED,
        fools=False,
    ),
    Cheat("exit_status_by_atexit", body("import atexit, os; atexit.register(os._exit, 0)")),
    Cheat(
        "exit_in_del",
        body(
            """
            import os
            class Local:
                def __del__(self): os._exit(0)
            local = Local()
            """
        ),
        verdicts=CRASHED,
    ),
    Cheat(
        "exit_by_unraisable_hook",
        body(
            """
            import os, sys
            sys.unraisablehook = lambda *_: os._exit(0)
            class Local:
                def __del__(self): raise ValueError
            local = Local(); del local
            """
        ),
        verdicts=CRASHED,
    ),
    Cheat(
        "exit_by_excepthook_of_a_thread",
        body(
            """
            import os, threading
            threading.excepthook = lambda *_: os._exit(0)
            thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()
            """
        ),
        verdicts=CRASHED,
    ),
    Cheat(
        "exit_by_a_profile_hook",
        body(
            """
            import os, sys
            def hook(frame, event, arg):
                if event == "call" and "makereport" in frame.f_code.co_name: os._exit(0)
            sys.setprofile(hook)
            """
        ),
        verdicts=REFUSED,
    ),
    Cheat(
        "exit_at_the_end_of_the_session",
        body(
            """
            import os, sys
            def session():
                yield
            class Buffer:
                def write(self, text): os._exit(0)
                def flush(self): os._exit(0)
            sys.stdout = sys.__stdout__ = sys.stderr = sys.__stderr__ = Buffer()
            print("now")
            """
        ),
        verdicts=CRASHED,
    ),
    Cheat(
        "a_trace_that_jumps_over_the_assert",
        body(
            """
            import sys
            test = sys._getframe(1)
            def trace(frame, event, arg):
                if event == "line":
                    frame.f_lineno = 9
                    sys.settrace(None); frame.f_trace = None
                return trace
            test.f_trace = trace
            sys.settrace(lambda *_: trace)
            """
        ),
        test="""
from calc import add


def test_add():
    total = add(2, 3)
    assert total == 5
    assert total == 5
    done = True
""",
        says="what tests it",
    ),
    Cheat(
        "a_fork_that_reports",
        body(
            """
            import os
            if os.fork():
                os.wait()
                os._exit(0)
            return a + b
            """
        ),
        verdicts=CRASHED,
    ),
    Cheat(
        "a_thread_that_leaves_later",
        body(
            """
            import os, threading
            threading.Timer(0.0, os._exit, (0,)).start()
            import time; time.sleep(0.2)
            """
        ),
        verdicts=CRASHED,
    ),
    Cheat(
        "items_removed_from_the_session",
        body(
            """
            import _pytest.assertion.util as util
            util._config.pluginmanager.get_plugin("session").items.clear()
            """
        ),
        test=TWO,
    ),
    Cheat(
        "session_that_should_stop",
        body(
            """
            import _pytest.assertion.util as util
            session = util._config.pluginmanager.get_plugin("session")
            session.shouldstop = "enough"
            """
        ),
        test=TWO,
        fools=False,
    ),
    Cheat(
        "skip_marks_at_import",
        at_import(
            """
            import sys, pytest
            sys.modules["test_calc"].pytestmark = pytest.mark.skip
            """
        ),
    ),
    Cheat(
        "no_test_by_its_own_word",
        at_import('import sys; sys.modules["test_calc"].__test__ = False'),
        verdicts=REFUSED,
        fools=False,
    ),
    Cheat(
        "xfail_mark_on_an_item",
        body(
            """
            import _pytest.assertion.util as util
            for item in util._config.pluginmanager.get_plugin("session").items:
                item.add_marker("xfail")
            """
        ),
        test=TWO,
    ),
)
