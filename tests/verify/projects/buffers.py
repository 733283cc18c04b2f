"""Unsaved text: of the file, of other files, and of files that were never saved."""

from __future__ import annotations

from tests.verify.projects.shape import ADD, TEST, Shape

_NEW_TEST = "tests/test_new.py::test_new"

SHAPES = (
    Shape(
        "an unsaved helper module",
        {
            "helper.py": "THREE = 30\n",
            "tests/test_calc.py": "from calc import add\nfrom helper import THREE"
            "\n\ndef test_add():\n    assert add(2, THREE) == 5\n",
        },
        buffers={"helper.py": "THREE = 3\n"},
        says="returned -1, expected 5",
    ),
    Shape(
        "an unsaved test file",
        {"tests/test_calc.py": TEST.replace("== 5", "== -1")},
        buffers={"tests/test_calc.py": TEST},
    ),
    Shape(
        "an unsaved conftest",
        {
            "conftest.py": "raise RuntimeError('an old conftest')\n",
            "tests/test_calc.py": TEST.replace("test_add()", "test_add(three)").replace(
                "3)", "three)"
            ),
        },
        buffers={"conftest.py": "import pytest\n\n@pytest.fixture\ndef three():\n    return 3\n"},
    ),
    Shape(
        "unsaved options in pyproject.toml",
        {
            "calc.py": None,
            "src/calc.py": ADD,
            "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-k nothing'\n",
        },
        file="src/calc.py",
        buffers={"pyproject.toml": "[tool.pytest.ini_options]\npythonpath = ['src']\n"},
    ),
    Shape(
        "an unsaved data file",
        {
            "tests/three.txt": "0",
            "tests/test_calc.py": "from calc import add\n\ndef test_add():\n"
            "    assert add(2, int(open('tests/three.txt').read())) == 5\n",
        },
        buffers={"tests/three.txt": "3"},
        says="returned -1, expected 5",
    ),
    Shape(
        "a module that was never saved",
        {"calc.py": None},
        buffers={"calc.py": ADD},
    ),
    Shape(
        "a test that was never saved",
        {"tests/test_calc.py": None},
        (_NEW_TEST,),
        buffers={"tests/test_new.py": TEST.replace("test_add", "test_new")},
    ),
    Shape(
        "a package folder that was never saved",
        {"calc.py": None, "tests/test_calc.py": None},
        (_NEW_TEST,),
        file="fresh/deep/calc.py",
        buffers={
            "fresh/__init__.py": "",
            "fresh/deep/__init__.py": "from .calc import add\n",
            "fresh/deep/calc.py": ADD,
            "tests/test_new.py": "from fresh.deep import add\n\ndef test_new():\n"
            "    assert add(2, 3) == 5\n",
        },
    ),
    Shape(
        "an unsaved module in a src layout, seen by a subprocess",
        {"calc.py": None, "src/pkg/__init__.py": "", "src/pkg/calc.py": ADD}
        | {"pytest.ini": "[pytest]\npythonpath = src\n"}
        | {
            "tests/test_calc.py": "import subprocess, sys\nimport pkg.calc\n\ndef test_add():\n"
            '    code = \'import sys; sys.path.insert(0, "src"); import pkg.calc as c; '
            "print(c.add(2,"
            " c.THREE))'\n    assert int(subprocess.check_output([sys.executable, '-c', code])) "
            "== 5\n"
        },
        file="src/pkg/calc.py",
        buffers={"src/pkg/calc.py": "THREE = 3\n\n\n" + ADD},
        says="expected 5",
    ),
)
