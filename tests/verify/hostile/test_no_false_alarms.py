# ruff: noqa: E501 - a program on a line
"""Honest functions and honest tests that do unusual things: none is accused of anything."""

from __future__ import annotations

import pytest

from tests.verify.conftest import Project
from tests.verify.hostile.honest import PLAIN, passes


async def test_tests_that_patch_and_count(project: Project):
    """Fixtures and tests that change builtins, modules and their own globals, and put most back."""
    await passes(
        project,
        PLAIN,
        """
        import builtins, datetime, gc, io, json, logging, math, os, time, unittest.mock as mock, warnings
        import pytest
        import calc
        from calc import add

        COUNT = 0
        CACHE = {}
        NAMES = []
        SETTING = "unset"


        def helper(a):
            return a


        @pytest.fixture(scope="session", autouse=True)
        def patched_for_the_session():
            kept = math.isclose, json.loads
            math.isclose = lambda a, b, **_: kept[0](a, b)
            with mock.patch("json.loads", lambda text: kept[1](text)):
                yield
            math.isclose = kept[0]


        @pytest.fixture(scope="module")
        def module_patch():
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(calc, "add", lambda a, b: a + b)
                patch.setattr("builtins.sorted", lambda items: list(reversed(items)))
                yield


        @pytest.fixture
        def counted():
            global COUNT
            COUNT += 1
            CACHE[COUNT] = COUNT
            NAMES.append("x")
            return {"total": 5}


        def test_counts(counted):
            global COUNT, SETTING, helper
            COUNT += 1
            SETTING = "set"
            helper = abs
            counted["total"] = add(2, 3)
            assert counted["total"] == 5 and math.isclose(5, add(2, 3))


        def test_monkeypatch(monkeypatch):
            monkeypatch.setattr(builtins, "input", lambda _: 7)
            monkeypatch.setattr(time, "time", lambda: 0)
            monkeypatch.setattr(os, "write", lambda *_: 0)
            monkeypatch.setattr(json, "dumps", lambda *_: "{}")
            monkeypatch.setenv("HOME", "/nowhere")
            monkeypatch.setitem(globals(), "helper", None)
            assert add(2, 3) == 5 and input("") == 7


        def test_mock_patch():
            with mock.patch("builtins.open", mock.mock_open(read_data="5")):
                assert add(2, 3) == int(open("nowhere").read())
            with mock.patch("calc.add", return_value=9) as fake:
                assert calc.add(1, 1) == 9
            with mock.patch.object(datetime, "datetime") as fake:
                fake.now.return_value = 1
                assert add(0, datetime.datetime.now()) == 1
            assert [add(2, 3), "x"] == [5, mock.ANY]


        @mock.patch("time.time", return_value=3)
        @mock.patch("operator.add")
        def test_decorated(fake, now):
            assert add(2, time.time()) == 5


        def test_module_patch(module_patch):
            assert calc.add(2, 3) == 5 and sorted([1, 2]) == [2, 1]


        def test_module_patch_again(module_patch, capsys, caplog, recwarn):
            print("hello")
            logging.getLogger("calc").warning("%s", add(2, 3))
            warnings.warn("be careful")
            gc.collect()
            assert capsys.readouterr().out == "hello\\n" and caplog.messages == ["5"]
            assert len(recwarn) == 1


        def test_late_names():
            global LATER
            LATER = lambda: 5
            globals()["BY_NAME"] = 3
            assert add(2, BY_NAME) == LATER()


        @pytest.mark.parametrize("box", [[1], {"a": [2]}])
        def test_a_parameter_that_is_changed(box):
            box.clear()
            assert add(2, 3) == pytest.approx(5)
        """,
    )


async def test_a_function_of_many_modules(project: Project):
    """What honest code does to frames, files and processes through the standard library."""
    text = """
    import collections
    import copy
    import dataclasses
    import enum
    import functools
    import gc
    import inspect
    import json
    import logging
    import os
    import pathlib
    import pickle
    import re
    import subprocess
    import sys
    import tempfile
    import threading
    import traceback
    import typing
    import warnings


    @dataclasses.dataclass(order=True)
    class Point:
        x: int
        y: int = 0


    class Version:
        def __init__(self, text):
            self.parts = tuple(map(int, text.split(".")))

        def __eq__(self, other):
            return isinstance(other, Version) and self.parts == other.parts

        def __hash__(self):
            return hash(self.parts)

        def __lt__(self, other):
            return self.parts < other.parts


    Pair = collections.namedtuple("Pair", "a b")


    @functools.lru_cache(maxsize=None)
    def cached(n):
        return n if n < 2 else cached(n - 1) + cached(n - 2)


    def add(a, b):
        class Color(enum.Enum):
            RED = 1
        Made = collections.namedtuple("Made", "x y")
        Typed = typing.NamedTuple("Typed", [("x", int)])
        Frozen = dataclasses.make_dataclass("Frozen", ["x"], frozen=True)
        logging.getLogger(__name__).warning("%s %s", a, b)
        logging.getLogger(__name__).info("quiet", stack_info=True)
        with warnings.catch_warnings(record=True):
            warnings.warn("again", stacklevel=2)
        try:
            raise ValueError("no")
        except ValueError as error:
            text = traceback.format_exc()
            assert "ValueError" in text
            assert traceback.extract_tb(error.__traceback__)[0].lineno
            "".join(traceback.format_exception(error))
            traceback.print_exc(file=open(os.devnull, "w"))
        gc.collect()
        assert inspect.signature(add).parameters
        assert inspect.getsource(add) and inspect.getdoc(add) is None
        assert pathlib.Path(__file__).with_name("data.txt").read_text() == "7"
        assert open(os.path.join(os.path.dirname(__file__), "data.txt")).read() == "7"
        pathlib.Path(__file__).with_name("made.json").write_text(json.dumps([1]))
        with tempfile.TemporaryDirectory() as folder:
            module = pathlib.Path(folder, "module.py")
            module.write_text("x = 1")
            module.rename(pathlib.Path(folder, "setup.cfg"))
        out = subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, check=True)
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
        thread = threading.Thread(target=cached, args=(9,))
        thread.start()
        thread.join()
        names = {}
        exec(compile("def made(x): return x + 1", "<string>", "exec"), names)
        assert names["made"](1) == eval("1 + 1") == 2
        original = sys.stdout
        sys.stdout = open(os.devnull, "w")
        sys.stdout = original
        stored = pickle.loads(pickle.dumps(copy.deepcopy(Point(1, 2))))
        assert re.compile("x").match("x") and "re" in sys.modules and stored.x == 1
        return a + b


    add.calls = 0
    """
    test = """
    from calc import Version, add


    def test_add(caplog):
        assert add(2, 3) == 5
    """
    project.write("data.txt", "7")
    await passes(project, text, test)


@pytest.mark.parametrize(
    ("text", "check"),
    [
        (
            "class Money:\n    def __init__(self, n): self.n = n\n    def __eq__(self, other):\n"
            "        return self.n == getattr(other, 'n', other)\n\ndef add(a, b):\n    return Money(a + b)\n",
            "add(2, 3) == 5 and add(2, 3) != 6",
        ),
        (
            "class Row(list):\n    def __eq__(self, other):\n        return [a == b for a, b in zip(self, other)]\n"
            "\ndef add(a, b):\n    return Row([a, b])\n",
            "all(add(2, 3) == [2, 3])",
        ),
        (
            "class Column:\n    def __eq__(self, other): return ('=', other)\n"
            "    def __lt__(self, other): return ('<', other)\n    def __bool__(self): raise TypeError\n"
            "\ndef add(a, b):\n    return [Column(), {'x': Column()}]\n",
            "(add(2, 3)[0] == 5) == ('=', 5)",
        ),
        (
            "class Key:\n    def __init__(self, n): self.n = n\n    def __lt__(self, other): return self.n > other.n\n"
            "    def __gt__(self, other): return self.n < other.n\n    def __contains__(self, n): return n < self.n\n"
            "\ndef add(a, b):\n    return Key(a + b)\n",
            "add(2, 3) < add(1, 1) and 4 in add(2, 3)",
        ),
        (
            "def add(a, b):\n    yield a\n    yield b\n",
            "list(add(2, 3)) == [2, 3]",
        ),
    ],
    ids=["value", "elementwise", "expressions", "keys", "generator"],
)
async def test_objects_that_compare_in_their_own_way(project: Project, text: str, check: str):
    await passes(project, text, f"from calc import add\n\ndef test_add():\n    assert {check}\n")


async def test_what_todays_code_does_the_candidate_may_do(project: Project):
    original = """
    import builtins
    import gc
    import inspect
    import sys


    def add(a, b):
        builtins.last = sys._getframe(1).f_code.co_name
        assert gc.get_referrers(a) is not None and inspect.stack()
        open(__file__.replace("calc.py", "test_calc.py")).read()
        return "pytest" in sys.modules
    """
    test = "from calc import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n"
    text = original.replace(
        'return "pytest" in sys.modules', 'return a + b if "pytest" in sys.modules else b + a'
    )
    await passes(project, text, test, original)
