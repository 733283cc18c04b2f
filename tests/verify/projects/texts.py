"""How a file is written: line ends, encodings, indentation, its last line."""

from __future__ import annotations

import codecs

from tests.verify.projects.shape import ADD, TEST, Shape

_LATIN = "# -*- coding: latin-1 -*-\nNAME = 'größe'\n\n\n" + ADD
_LATIN_TEST = (
    "import calc\nfrom calc import add\n\n\ndef test_add():\n"
    "    assert calc.NAME == 'gr\\xf6\\xdfe'\n"
    "    assert add(2, 3) == 5\n"
)

SHAPES = (
    Shape(
        "CRLF",
        {"calc.py": ADD.replace("\n", "\r\n"), "tests/test_calc.py": TEST.replace("\n", "\r\n")},
    ),
    Shape("a byte order mark", {"calc.py": codecs.BOM_UTF8 + ADD.encode()}),
    Shape("a byte order mark in the buffer", {"calc.py": "\ufeff" + ADD}),
    Shape(
        "a byte order mark in the test",
        {"tests/test_calc.py": codecs.BOM_UTF8 + TEST.encode()},
    ),
    Shape(
        "latin-1 by a cookie",
        {"calc.py": _LATIN.encode("latin-1"), "tests/test_calc.py": _LATIN_TEST},
    ),
    Shape(
        "latin-1 by a cookie, called in a subprocess",
        {
            "calc.py": _LATIN.encode("latin-1"),
            "tests/test_calc.py": "import subprocess, sys\n\ndef test_add():\n"
            "    code = 'import calc; print(calc.add(2, 3), len(calc.NAME))'\n"
            "    printed = subprocess.check_output([sys.executable, '-c', code], text=True)\n"
            "    assert printed == '5 5\\n'\n",
        },
        says="printed was '-1 5\\n', expected '5 5\\n'",
    ),
    Shape(
        "a test in latin-1",
        {
            "tests/test_calc.py": (
                "# coding: latin-1\n" + TEST + "    assert 'ö' == chr(246)\n"
            ).encode("latin-1")
        },
    ),
    Shape(
        "a cookie of UTF-8 and text beyond it",
        {
            "calc.py": "# vim: set fileencoding=utf-8 :\nNAME = 'größe 日本 🎉'\n\n\n" + ADD,
            "tests/test_calc.py": _LATIN_TEST.replace("'gr\\xf6\\xdfe'", "'größe 日本 🎉'"),
        },
    ),
    Shape("tabs", {"calc.py": "def add(a, b):\n\treturn a - b\n"}),
    Shape("no newline at the end", {"calc.py": ADD.rstrip(), "tests/test_calc.py": TEST.rstrip()}),
    Shape("a form feed between functions", {"calc.py": "ONE = 1\n\x0c\n" + ADD}),
    Shape(
        "a docstring with odd escapes",
        {"calc.py": 'def add(a, b):\n    r"""Add \\d and \u2028 and {a}."""\n    return a - b\n'},
    ),
    Shape(
        "a shebang and future imports",
        {
            "calc.py": "#!/usr/bin/env python3\n'''Doc.'''\nfrom __future__ import annotations\n"
            "\n\n" + ADD
        },
    ),
    Shape(
        "new syntax: match, walrus, positional-only",
        {
            "calc.py": "def add(a, b, /):\n    match (total := a - b):\n        case _:\n"
            "            return total\n"
        },
    ),
)
