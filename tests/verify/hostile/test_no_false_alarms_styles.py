# ruff: noqa: E501 - a program on a line
"""Honest tests in unusual styles and places: none is accused of anything."""

from __future__ import annotations

import dataclasses

from tests.verify.conftest import Project
from tests.verify.hostile.honest import NODE, PLAIN, passes


async def test_a_test_that_hands_out_its_own_file(project: Project):
    await passes(
        project,
        "def add(path, b):\n    with open(path) as file:\n        return len(file.readlines())\n",
        "from calc import add\n\n\ndef test_add():\n    assert add(__file__, 0) == 5\n",
    )


async def test_unittest_and_hypothesis_and_doctest_modules(project: Project):
    await passes(
        project,
        PLAIN,
        """
        import doctest
        import unittest
        from unittest import mock
        from hypothesis import given, settings, strategies as st
        import calc
        from calc import add


        class TestAdd(unittest.TestCase):
            shared = []

            @classmethod
            def setUpClass(cls):
                cls.total = 5
                cls.addClassCleanup(lambda: None)

            def setUp(self):
                self.maxDiff = None
                self.assertSame = self.assertEqual
                patcher = mock.patch("calc.add", side_effect=calc.add)
                self.fake = patcher.start()
                self.addCleanup(patcher.stop)
                type(self).count = len(self.shared)

            def test_a(self):
                self.shared.append(add(2, 3))
                self.assertSame(calc.add(2, 3), self.total)
                self.fake.assert_called_once()

            def test_b(self):
                for a in range(3):
                    with self.subTest(a=a):
                        self.assertEqual(add(a, 1), a + 1)
                with self.assertRaises(TypeError):
                    add("a", 1)


        @settings(max_examples=20, deadline=None, database=None)
        @given(st.integers(), st.integers())
        def test_any(a, b):
            assert add(a, b) == b + a


        def test_doc():
            assert doctest.testmod(calc).failed == 0
        """,
    )


async def test_the_function_beside_its_tests(project: Project):
    """In a test file only the function's own lines are suspected."""
    original = "import sys\nimport pytest\n\n\ndef add(a, b):\n    return a - b\n"
    rest = (
        "\n\n@pytest.fixture\ndef name():\n    return sys._getframe().f_code.co_name\n\n\n"
        "class Any:\n    def __eq__(self, other):\n        return True\n\n\n"
        "def test_add(name, monkeypatch):\n    monkeypatch.setattr(sys, 'argv', [])\n"
        "    open(__file__).read()\n    assert add(2, 3) == 5 and name == 'name' and Any() == 1\n"
    )
    project.write("test_calc.py", original + rest)
    text = original.replace("a - b", "a + b") + rest
    run = project.a_run(text, NODE, file="test_calc.py")
    assert run.candidate is not None
    candidate = dataclasses.replace(run.candidate, lines=(4, 5))
    async with project.verifier() as verifier:
        report = await verifier.run(dataclasses.replace(run, candidate=candidate))
    assert report.verdict == "passed", report


async def test_plugins_that_wrap_and_register(project: Project):
    project.write(
        "conftest.py",
        """
import pytest


class Local:
    def pytest_runtest_logreport(self, report):
        pass


def pytest_configure(config):
    config.pluginmanager.register(Local(), "local")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, "report_" + outcome.get_result().when, outcome.get_result())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    item.user_properties.append(("started", True))


def pytest_collection_modifyitems(items):
    items.reverse()
    for item in items:
        item.add_marker("usefixtures")


@pytest.fixture(autouse=True)
def recorded(request):
    request.node.extra = []
    yield
    assert request.node.report_call.passed
""",
    )
    await passes(
        project,
        PLAIN,
        """
        import pytest
        from calc import add


        @pytest.fixture(params=[1, 2])
        def b(request):
            request.addfinalizer(lambda: None)
            return request.param


        @pytest.mark.parametrize("a", [1, [2].pop()])
        def test_add(a, b, request):
            late = request.getfixturevalue("tmp_path")
            assert add(a, b) == a + b and late.exists()
        """,
    )


async def test_a_helper_that_is_loaded_anew(project: Project):
    project.write(
        "conf.py",
        "import os\n\nRATE = int(os.environ.get('RATE', 1))\n\n\ndef rate():\n    return RATE\n",
    )
    await passes(
        project,
        PLAIN,
        """
        import importlib
        import conf
        from calc import add


        def test_add(monkeypatch):
            monkeypatch.setenv("RATE", "5")
            importlib.reload(conf)
            assert add(2, 3) == conf.rate()
        """,
    )


async def test_names_that_are_only_spelled_like_modules(project: Project):
    await passes(
        project,
        """
        class Sum:
            def __init__(self, total=0):
                self.total = total

            def copy(self):
                return Sum(self.total)

            def plus(self, number):
                copy = self.copy()
                copy.total = self.total + number  # was: operator.add = ...
                return copy


        def add(a, b):
            modules = {}
            modules["sum"] = Sum(a)
            modules.setdefault("other", None)
            return modules.pop("sum").plus(b).total
        """,
        "from calc import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n",
    )


async def test_a_test_file_in_another_encoding(project: Project):
    await passes(
        project, PLAIN, "from calc import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n"
    )
    (project.root / NODE).write_bytes(
        "# -*- coding: latin-1 -*-\nfrom calc import add\n\nN = 0\n\n\ndef test_add():\n    global N\n"
        "    N = 'é'\n    assert add(2, 3) == 5\n".encode("latin-1")
    )
    report = await project.verify(PLAIN, NODE)
    assert report.verdict == "passed", report.feedback


async def test_a_file_that_builds_functions_goes_on_to(project: Project):
    text = """
    def add(a, b=3):
        return a + b


    def bound(function, *values):
        made = type(function)(function.__code__, function.__globals__)
        made.__defaults__ = values
        return made
    """
    test = """
    from calc import add, bound


    def total(a, b):
        return a + b


    def test_add():
        assert bound(total, 2, 3)() == add(2)
    """
    await passes(project, text, test, original=text)
