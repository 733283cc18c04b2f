"""The model sees what the function leans on, and no more than fits."""

from __future__ import annotations

import ast

import pytest

from oci_lsp.source.context import context
from oci_lsp.source.functions import Function, parse

LONG = "\n".join(f"    x = x + {i}" for i in range(30))
MODULE = f'''\
import os
if os.name:
    import sys

UNIT = 3
TABLE = {{
{"".join(f"    {i}: {i}," + chr(10) for i in range(40))}}}


def short(x):
    return x * UNIT


def long(x: int) -> int:
    """Go far.

    And on.
    """
{LONG}
    return x


def unused():
    pass


class Base:
    """A base."""

    kind = 1

    def run(self, x): return short(x)


class Thing(Base):
    """A thing."""

    size: int = 2

    def __init__(self, name):
        self.name = name

    @property
    def area(self) -> int:
        """Square it."""
        return self.size ** 2

    async def go(self):
        return long(self.area) + short(TABLE[1]) + Base.kind

    # method: stop()
'''


def function(qualname: str) -> Function:
    found = parse(MODULE).named(qualname)
    assert found is not None
    return found


def test_a_method_sees_its_class_and_the_helpers_it_names():
    around = context(parse(MODULE), function("Thing.go"))
    assert around.imports == "import os\nimport sys"
    assert around.owner == (
        'class Thing(Base):\n    """A thing."""\n    size: int = 2\n'
        "    def __init__(self, name): ...\n"
        "    @property\n    def area(self) -> int:\n"
        '        """Square it."""\n        ...'
    )
    assert "def short(x):\n    return x * UNIT" in around.helpers
    assert 'def long(x: int) -> int:\n    """Go far."""\n    ...' in around.helpers
    assert "TABLE = {" in around.helpers and "lines not shown" in around.helpers
    assert "class Base:" in around.helpers
    assert "unused" not in around.text
    assert "go(" not in around.text
    ast.parse(around.owner)


def test_a_function_sees_no_class_and_not_itself():
    around = context(parse(MODULE), function("short"))
    assert around.owner == ""
    assert around.helpers == "UNIT = 3"


def test_a_comment_in_a_class_sees_the_class():
    module = parse(MODULE)
    comment = module.comment_at(MODULE.index("# method"))
    assert comment is not None
    around = context(module, comment)
    assert around.owner.startswith("class Thing(Base):")
    assert "async def go(self): ..." in around.owner


@pytest.mark.parametrize("limit", [0, 60, 150, 300, 600])
def test_what_does_not_fit_is_counted(limit):
    around = context(parse(MODULE), function("Thing.go"), limit=limit)
    assert len(around.imports + around.owner + around.helpers) <= limit
    if limit > 100:
        assert "not shown" in around.text


def test_broken_text_still_gives_what_it_can():
    text = MODULE.replace("    kind = 1", "    kind = (")
    found = parse(text).named("short")
    assert found is not None
    assert "UNIT = 3" in context(parse(text), found).helpers
