"""The model sees what the function leans on, and no more than fits."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from oci_lsp.source.context import CHARACTERS_PER_TOKEN, context
from oci_lsp.source.functions import Function, parse
from oci_lsp.source.project import Project

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


def at(root: Path, text: str = MODULE, *, buffers: dict[str, str] | None = None) -> Project:
    """The project whose file `mod.py` has this text."""
    root = root.resolve()
    unsaved = {root / name: body for name, body in (buffers or {}).items()}
    return Project(root, unsaved, {root / "mod.py": parse(text)})


def function(text: str, qualname: str) -> Function:
    found = parse(text).named(qualname)
    assert found is not None
    return found


def around(root: Path, qualname: str, text: str = MODULE, *, tokens: int = 1000) -> str:
    place = root.resolve() / "mod.py"
    return context(at(root, text), place, function(text, qualname), tokens=tokens).text


def test_a_method_sees_its_class_and_the_helpers_it_names(tmp_path):
    text = around(tmp_path, "Thing.go")
    assert text.startswith("import os\nimport sys\n\n")
    owner = text[text.index("class Thing(Base):") :]
    assert owner == (
        'class Thing(Base):\n    """A thing."""\n    size: int = 2\n'
        "    def __init__(self, name):\n        self.name = name\n"
        "    @property\n    def area(self) -> int:\n"
        '        """Square it."""\n        return self.size ** 2'
    )
    assert "def short(x):\n    return x * UNIT" in text
    assert 'def long(x: int) -> int:\n    """Go far."""\n    ...' in text
    assert "TABLE = {" in text and "lines not shown" in text
    assert "class Base:" in text
    assert "go(" not in text
    ast.parse(owner)


def test_a_function_sees_no_class_and_not_itself(tmp_path):
    text = around(tmp_path, "short")
    assert "UNIT = 3" in text
    assert "def short" not in text
    assert "class Thing" not in text


def test_a_comment_in_a_class_sees_the_class(tmp_path):
    module = parse(MODULE)
    comment = module.comment_at(MODULE.index("# method"))
    assert comment is not None
    text = context(at(tmp_path), tmp_path.resolve() / "mod.py", comment, tokens=1000).text
    assert "class Thing(Base):" in text
    assert "async def go(self): ..." in text


@pytest.mark.parametrize("tokens", [0, 25, 40, 75, 150])
def test_what_does_not_fit_is_counted(tmp_path, tokens):
    text = around(tmp_path, "Thing.go", tokens=tokens)
    assert len(text) <= tokens * CHARACTERS_PER_TOKEN
    if tokens >= 40:
        assert "not shown" in text


def test_broken_text_still_gives_what_it_can(tmp_path):
    text = MODULE.replace("    kind = 1", "    kind = (")
    assert "UNIT = 3" in around(tmp_path, "short", text)


SHOP = """\
from money import half_up
from . import rates


def price(net, land):
    return net * 2
"""


def test_what_the_module_imports_and_the_function_does_not_use_yet_is_outlined(tmp_path):
    root = tmp_path.resolve()
    (root / "money.py").write_text(
        'def half_up(value, digits=2):\n    """Round half up."""\n    return value\n'
    )
    (root / "rates.py").write_text("REDUCED = 7\n\n\ndef rate_of(land): ...\n")
    found = context(at(root, SHOP), root / "mod.py", function(SHOP, "price"), tokens=1000)
    assert '# money.py\ndef half_up(value, digits=2):\n    """Round half up."""' in found.text
    assert "def rate_of(land): ..." in found.text
    assert set(found.files) == {"money.py", "rates.py", "mod.py"}


def test_an_unsaved_buffer_counts_instead_of_the_file(tmp_path):
    root = tmp_path.resolve()
    (root / "money.py").write_text("def half_up(old): ...\n")
    project = at(root, SHOP, buffers={"money.py": "def half_up(new): ...\n"})
    text = context(project, root / "mod.py", function(SHOP, "price"), tokens=1000).text
    assert "half_up(new)" in text
    assert "half_up(old)" not in text


def test_nothing_from_outside_of_the_project_is_shown(tmp_path):
    root = (tmp_path / "project").resolve()
    root.mkdir()
    secret = tmp_path / "money.py"
    secret.write_text("def half_up(secret): ...\n")
    (root / "money.py").symlink_to(secret)
    environment = root / ".venv" / "lib"
    environment.mkdir(parents=True)
    (environment / "rates.py").write_text("def rate_of(hidden): ...\n")
    found = context(at(root, SHOP), root / "mod.py", function(SHOP, "price"), tokens=1000)
    assert "secret" not in found.text
    assert "hidden" not in found.text
    assert found.files == ("mod.py",)


def test_what_the_test_leans_on_in_other_files_is_shown(tmp_path):
    root = tmp_path.resolve()
    (root / "builders.py").write_text("def order(total):\n    return {'total': total}\n")
    (root / "conftest.py").write_text(
        "import pytest\n\n\n@pytest.fixture\ndef land():\n    return 'de'\n"
    )
    (root / "test_mod.py").write_text(
        "from builders import order\nfrom mod import price\n\n\n"
        "def test_price(land):\n    assert price(order(3)['total'], land) == 6\n"
    )
    text = context(
        at(root, SHOP),
        root / "mod.py",
        function(SHOP, "price"),
        tokens=1000,
        tests=["test_mod.py::test_price"],
    ).text
    assert "# builders.py\ndef order(total):" in text
    assert "# conftest.py\n@pytest.fixture\ndef land():" in text
