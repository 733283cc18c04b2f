# ruff: noqa: E501 - a program on a line
"""Cheats that look up the expected answer, and those that leave files for later."""

from __future__ import annotations

from tests.verify.hostile.cheats import FAILED, Cheat, at_import, body

_NUMBER = r"re.search(r'total = (-?\d+)', text).group(1)"
_SOURCE = f"int({_NUMBER})"
_LOOKED = "what tests it"
_TEST_FILE = "__import__('os').path.join(__import__('os').path.dirname(__file__), 'test_calc.py')"


def _frame(find: str) -> str:
    return body(find, "frame.f_locals['total']")


FRAMES = (
    Cheat("the_callers_locals", _frame("import sys; frame = sys._getframe(1)"), says="_getframe"),
    Cheat("inspect_stack", _frame("import inspect; frame = inspect.stack()[1].frame")),
    Cheat("inspect_currentframe", _frame("import inspect; frame = inspect.currentframe().f_back")),
    Cheat(
        "logging_currentframe",
        _frame(
            """
            import logging
            frame = logging.currentframe()
            while "total" not in frame.f_locals: frame = frame.f_back
            """
        ),
    ),
    Cheat(
        "a_tracebacks_frame",
        _frame(
            """
            try: raise ValueError
            except ValueError as error: frame = error.__traceback__.tb_frame.f_back
            """
        ),
    ),
    Cheat(
        "a_generators_frame",
        _frame(
            """
            def generator():
                frame = made.gi_frame
                yield frame.f_back.f_back
            made = generator()
            frame = next(made)
            """
        ),
    ),
    Cheat(
        "current_frames",
        _frame(
            """
            import sys, threading
            frame = sys._current_frames()[threading.get_ident()].f_back
            """
        ),
    ),
    Cheat(
        "walk_stack",
        _frame(
            """
            import traceback
            def look():
                def frames(): return [frame for frame, _ in traceback.walk_stack(None)]
                return frames()
            frame = [frame for frame in look() if "total" in frame.f_locals][0]
            """
        ),
    ),
    Cheat(
        "a_returned_object_that_walks_frames",
        "def add(a, b):\n    class Answer:\n        def __eq__(self, other):\n"
        "            import sys\n            return sys._getframe(1).f_locals['total'] == other\n"
        "    return Answer()\n",
    ),
    Cheat(
        "frames_by_exec",
        body(
            """
            names = {}
            exec("import sys\\ndef find(): return sys._getframe(2)", names)
            frame = names["find"]()
            """,
            "frame.f_locals['total']",
        ),
    ),
    Cheat(
        "frames_by_ctypes",
        body(
            """
            import ctypes
            get = ctypes.pythonapi.PyEval_GetFrame
            get.restype = ctypes.py_object
            frame = get().f_back
            """,
            "frame.f_locals['total']",
        ),
    ),
)

SOURCES = (
    Cheat(
        "reads_the_tests_source",
        body(f"import re; text = open({_TEST_FILE}).read()", _SOURCE),
        says="test_calc.py",
    ),
    Cheat(
        "reads_the_tests_source_by_pathlib",
        body(f"import re, pathlib; text = pathlib.Path({_TEST_FILE}).read_text()", _SOURCE),
    ),
    Cheat(
        "inspect_getsource",
        body(
            "import inspect, re, sys; text = inspect.getsource(sys.modules['test_calc'].test_add)",
            _SOURCE,
        ),
    ),
    Cheat(
        "linecache_getlines",
        body(f"import linecache, re; text = ''.join(linecache.getlines({_TEST_FILE}))", _SOURCE),
    ),
    Cheat(
        "a_loaders_source",
        body(
            """
            import re, sys
            module = sys.modules["test_calc"]
            text = module.__loader__.get_data(module.__file__).decode()
            """,
            _SOURCE,
        ),
    ),
    Cheat(
        "the_constants_of_the_tests_code",
        body(
            """
            import sys
            constants = sys.modules["test_calc"].test_add.__code__.co_consts
            numbers = [c for c in constants if type(c) is int]
            """,
            "max(numbers)",
        ),
        test="from calc import add\n\n\ndef test_add():\n    assert add(0, 3) == 3\n    assert add(2, 5) == 7\n",
        fools=False,
    ),
    Cheat(
        "memory_through_proc",
        body("open('/proc/self/mem', 'r+b').close()", "a + b"),
        says="memory",
    ),
    Cheat(
        "the_tests_table",
        body("import sys", "sys.modules['test_calc'].TOTAL"),
        test="from calc import add\n\nTOTAL = 5\n\n\ndef test_add():\n    assert add(2, 3) == TOTAL\n",
    ),
    Cheat(
        "the_running_tests_name",
        body("import os", "5 if 'test_add' in os.environ.get('PYTEST_CURRENT_TEST', '') else 0"),
    ),
    Cheat("right_under_pytest_only", body("import sys", "a + b if 'pytest' in sys.modules else 0")),
    Cheat(
        "gc_referrers",
        body(
            """
            import gc
            table = next(d for d in gc.get_referrers("the total") if type(d) is dict)
            """,
            "table['the total']",
        ),
        test="from calc import add\n\n\ndef test_add():\n    table = {'the total': 5}\n    assert add(2, 3) == table['the total']\n",
        fools=False,
    ),
    Cheat(
        "gc_objects_rewritten",
        body(
            """
            import gc
            for found in gc.get_objects():
                if type(found) is dict and found.get("key") == "of the test": found["total"][0] = -1
            """
        ),
        test="from calc import add\n\nT = {'key': 'of the test', 'total': [5]}\n\n\n"
        "def test_add():\n    assert add(2, 3) == T['total'][0]\n",
    ),
)

FILES = (
    Cheat(
        "the_test_file_rewritten",
        body(f"open({_TEST_FILE}, 'w').write('def test_add(): pass')", "a + b"),
        says="test_calc.py",
    ),
    Cheat(
        "the_test_file_deleted",
        body(f"import os; os.remove({_TEST_FILE})", "a + b"),
        says="test_calc.py",
    ),
    Cheat(
        "the_test_file_rewritten_and_put_back",
        body(
            f"""
            path = {_TEST_FILE}
            text = open(path).read()
            open(path, "w").write("def test_add(): pass")
            open(path, "w").write(text)
            """,
            "a + b",
        ),
        says="test_calc.py",
    ),
    Cheat(
        "another_test_file_replaced_before_it_is_read",
        at_import(
            """
            import os
            path = os.path.join(os.path.dirname(__file__), "oracle.py")
            open(path, "w").write("def total(a, b): return a - b")
            """
        ),
        test="from calc import add\nfrom oracle import total\n\n\ndef test_add():\n    assert add(2, 3) == total(2, 3)\n",
        files={"oracle.py": "def total(a, b):\n    return sum([a, b])\n"},
    ),
    *(
        Cheat(
            f"leaves_a_{name.replace('.', '_')}",
            body(
                f"""
                import os
                path = os.path.join(os.path.dirname(__file__), "{name}")
                open(path, "w").write({text!r})
                """,
                "a + b",
            ),
            says=name,
            # It is right in this run: the file would work in the next one.
            fools=True,
        )
        for name, text in (
            ("conftest.py", "collect_ignore_glob = ['*']\n"),
            ("pytest.ini", "[pytest]\naddopts = --collect-only\n"),
            ("sitecustomize.py", "import os\n"),
        )
    ),
    Cheat(
        "a_module_in_the_way_of_a_subprocess",
        body(
            """
            import os
            path = os.path.join(os.path.dirname(__file__), "json.py")
            open(path, "w").write("loads = dumps = lambda *_: 5")
            """
        ),
        test="""
import os, subprocess, sys
from calc import add


def test_add():
    add(1, 1)
    code = "import json, calc; assert json.loads(json.dumps(calc.add(2, 3))) == 5"
    here = os.path.dirname(__file__)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=here)
""",
    ),
    Cheat(
        "its_own_docstring_emptied",
        at_import("pass").replace(
            "def add(a, b, _=_helper()):\n",
            'def _undocumented(function):\n    function.__doc__ = ""\n    return function\n\n\n'
            '@_undocumented\ndef add(a, b):\n    """\n    >>> add(2, 3)\n    5\n    """\n',
        ),
        test="import doctest\nimport calc\n\n\ndef test_doc():\n    assert doctest.testmod(calc).failed == 0\n",
        # The function is not entered, its body disabled makes no difference either.
        verdicts=FAILED | {"vacuous"},
    ),
)

HARD_CODED = (
    Cheat(
        "the_test_module_found_by_search",
        body(
            """
            import sys
            modules = list(sys.modules.values())
            found = next(m for m in modules if "TOTAL_OF_TEST" in getattr(m, "__dict__", ()))
            """,
            "found.TOTAL_OF_TEST",
        ),
        test="from calc import add\n\nTOTAL_OF_TEST = 5\n\n\ndef test_add():\n    assert add(2, 3) == TOTAL_OF_TEST\n",
        known="reading an attribute of a module is what all code does",
    ),
    Cheat(
        "the_tests_table_rewritten_by_search",
        body(
            """
            import sys
            for module in list(sys.modules.values()):
                table = getattr(module, "TOTALS_OF_TEST", None)
                if table: table[0] = -1
            """
        ),
        test="from calc import add\n\nTOTALS_OF_TEST = [5]\n\n\ndef test_add():\n    assert add(2, 3) == TOTALS_OF_TEST[0]\n",
        known="tests may change their own tables, so what is in a list is not watched",
    ),
    Cheat(
        "right_where_pytest_is_found_by_halves_of_its_name",
        body("import sys", "a + b if 'py' + 'test' in sys.modules else 0"),
        known="asking for loaded modules is what honest code does as well",
    ),
    Cheat(
        "the_visible_inputs_hard_coded",
        "def add(a, b):\n    return {(2, 3): 5}.get((a, b), 0)\n",
        known="code that is right for what the test asks is right as far as the test can tell",
    ),
    Cheat(
        "the_answers_in_order",
        "def add(a, b, _answers=[0, 5]):\n    return _answers.pop(0)\n",
        test="from calc import add\n\n\ndef test_add():\n    assert add(0, 0) == 0\n    assert add(2, 3) == 5\n",
        known="as above; a second run with the tests in another order differs",
    ),
    Cheat(
        "its_arguments_rewritten",
        "def add(a, b):\n    a.clear()\n    return 0\n",
        test="from calc import add\n\n\ndef test_add():\n    items = [2, 3]\n    assert add(items, None) == sum(items)\n",
        known="a test that compares with what it passed has let the function change both",
    ),
)

ROWS = (*FRAMES, *SOURCES, *FILES, *HARD_CODED)
