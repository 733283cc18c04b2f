"""Names are followed through imports as Python follows them, without running anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from oci_lsp.source.definitions import lookup
from oci_lsp.source.project import Project
from tests.projects import write

FILES = {
    "shop/__init__.py": "from .money import half_up\nfrom shop._hidden import *\n",
    "shop/money.py": "def half_up(): ...\n\n\nclass Coin:\n    def value(self): ...\n",
    "shop/_hidden.py": "RATE = 3\n_private = 4\n",
    "shop/deep/__init__.py": "",
    "shop/deep/far.py": "def away(): ...\n",
    "src/lib/parts.py": "def part(): ...\n",
    "loop_a.py": "from loop_b import lost\n",
    "loop_b.py": "from loop_a import lost\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path, FILES)


@pytest.mark.parametrize(
    ("place", "statement", "name", "wanted"),
    [
        ("app.py", "from shop.money import half_up", "half_up", "shop/money.py"),
        ("app.py", "from shop.money import half_up as h", "h", "shop/money.py"),
        ("app.py", "from shop import half_up", "half_up", "shop/money.py"),
        ("app.py", "from shop import RATE", "RATE", "shop/_hidden.py"),
        ("app.py", "from shop import *", "half_up", "shop/money.py"),
        ("app.py", "from shop import money", "money.half_up", "shop/money.py"),
        ("app.py", "import shop.money", "shop.money.half_up", "shop/money.py"),
        ("app.py", "import shop.money as m", "m.half_up", "shop/money.py"),
        ("app.py", "from shop.money import Coin", "Coin.value", "shop/money.py"),
        ("app.py", "import lib.parts", "lib.parts.part", "src/lib/parts.py"),
        ("app.py", "from lib.parts import part", "part", "src/lib/parts.py"),
        ("shop/deep/near.py", "from ..money import half_up", "half_up", "shop/money.py"),
        ("shop/deep/near.py", "from .. import money", "money.half_up", "shop/money.py"),
        ("shop/deep/near.py", "from . import far", "far.away", "shop/deep/far.py"),
        ("tests/test_app.py", "from shop.deep.far import away", "away", "shop/deep/far.py"),
        ("app.py", "try:\n    from shop import half_up\nexcept E: ...", "half_up", "shop/money.py"),
    ],
)
def test_the_definition_is_found(root, place, statement, name, wanted):
    write(root, {place: statement + "\n"})
    project = Project(root)
    file = project.file(root / place)
    assert file is not None
    found = lookup(project, file, name)
    assert found is not None
    assert found.node is not None
    assert found.file.name == wanted


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("from shop import missing", "missing"),
        ("from shop import *", "_private"),
        ("from loop_a import lost", "lost"),
        ("from json import dumps", "dumps"),
        ("from ....shop import half_up", "half_up"),
        ("import os.path", "os.path.join"),
    ],
)
def test_what_the_project_does_not_define_is_nothing(root, statement, name):
    write(root, {"app.py": statement + "\n"})
    project = Project(root)
    file = project.file(root / "app.py")
    assert file is not None
    assert lookup(project, file, name) is None


def test_a_type_parameter_and_a_syntax_error_do_not_stop_it(root):
    write(
        root,
        {
            "newer.py": "def first[T](items: list[T]) -> T: ...\n\n\nx = (\n",
            "app.py": "from newer import first\n",
        },
    )
    project = Project(root)
    file = project.file(root / "app.py")
    assert file is not None
    found = lookup(project, file, "first")
    assert found is not None
    assert found.file.name == "newer.py"
