"""Several projects at once, and plugins of pytest that change how tests run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from oci_lsp.settings import VerifySettings
from oci_lsp.verify.pool import Verifier
from tests.verify import pythons
from tests.verify.projects import layouts
from tests.verify.projects.shape import ADD, SAYS, TEST, Shape, see

PLUGINS = (
    *("pytest-benchmark", "pytest-env", "pytest-forked", "pytest-instafail", "pytest-mock"),
    *("pytest-order", "pytest-randomly", "pytest-repeat", "pytest-rerunfailures", "pytest-sugar"),
    "pytest-subtests",
)


def _with(name: str, options: str, test: str = TEST, says: str = SAYS) -> Shape:
    return Shape(
        name, {"pytest.ini": f"[pytest]\n{options}\n", "tests/test_calc.py": test}, says=says
    )


SHAPES = (
    _with("pytest-randomly", "addopts = -p randomly"),
    _with(
        "pytest-randomly with a seed, and pytest-sugar",
        "addopts = -p no:cacheprovider --randomly-seed=3",
    ),
    _with("pytest-rerunfailures", "addopts = --reruns 2"),
    _with("pytest-repeat", "addopts = --count 2", says="add(2, 3) returned -1, expected 5"),
    _with("pytest-forked", "addopts = --forked"),
    _with("pytest-instafail", "addopts = --instafail"),
    _with(
        "pytest-env",
        "env =\n    CALC_THREE=3",
        TEST.replace("3)", "int(__import__('os').environ['CALC_THREE']))"),
        "returned -1, expected 5",
    ),
    _with(
        "pytest-mock",
        "",
        "import calc\n\ndef test_add(mocker):\n    spy = mocker.spy(calc, 'add')\n"
        "    assert calc.add(2, 3) == 5\n    spy.assert_called_once_with(2, 3)\n",
        "calc.add(2, 3) returned -1, expected 5",
    ),
    _with(
        "pytest-benchmark",
        "addopts = --benchmark-disable-gc --benchmark-min-rounds=2 --benchmark-max-time=0.1",
        "from calc import add\n\ndef test_add(benchmark):\n    total = benchmark(add, 2, 3)\n"
        "    assert total == 5\n",
        "total was -1, expected 5",
    ),
    _with(
        "pytest-subtests",
        "",
        "from calc import add\n\ndef test_add(subtests):\n    with subtests.test(msg='zero'):\n"
        "        assert add(0, 0) == 0\n    with subtests.test(msg='five'):\n"
        "        assert add(2, 3) == 5\n",
    ),
    _with(
        "pytest-order",
        "",
        TEST.replace("def", "@pytest.mark.order(1)\ndef").replace("from", "import pytest\nfrom"),
    ),
)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
async def test_plugins_of_others(shape: Shape, tmp_path: Path):
    venv = pythons.environment(pythons.OURS, "pytest", *PLUGINS)
    seen = await see(shape, tmp_path, interpreter=str(venv))
    assert seen.wrong.verdict == "failed", (seen.wrong.summary, seen.wrong.feedback)
    assert shape.says in seen.wrong.summary + seen.wrong.feedback
    assert seen.right.verdict == "passed", (seen.right.summary, seen.right.feedback)
    assert seen.after == seen.before


async def test_two_roots_with_the_same_names(tmp_path: Path):
    one = Shape("one")
    two = Shape(
        "two",
        {"calc.py": ADD.replace("-", "*"), "tests/test_calc.py": TEST.replace("== 5", "== 8")},
        fix=("a * b", "a ** b"),
    )
    roots = [one.write(tmp_path / "1"), two.write(tmp_path / "2")]
    settings = VerifySettings(standby=1)
    async with Verifier(roots[0], settings) as first, Verifier(roots[1], settings) as second:
        for verifier in (first, second):
            await verifier.prepare()
        for right in (False, True):
            reports = await asyncio.gather(
                first.run(one.run(roots[0], right=right)),
                second.run(two.run(roots[1], right=right)),
            )
            said = [(report.verdict, report.tests[0].message) for report in reports]
            if right:
                assert said == [("passed", ""), ("passed", "")]
            else:
                assert said == [
                    ("failed", SAYS),
                    ("failed", "add(2, 3) returned 6, expected 8"),
                ]


@pytest.mark.parametrize(
    "name",
    [
        "src layout, editable by .pth",
        "editable by import-hook finder",
        "editable, pip install -e, package elsewhere",
        "nested conftests",
        "namespace package over two folders",
    ],
)
async def test_layouts_with_reduced_isolation(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The tests see a copy of the project, whatever leads to the project itself."""
    (shape,) = [shape for shape in layouts.SHAPES if shape.name == name]
    monkeypatch.setenv("OCI_LSP_BWRAP", "/nowhere/bwrap")
    seen = await see(shape, tmp_path, isolation="reduced")
    assert seen.wrong.verdict == "failed", (seen.wrong.summary, seen.wrong.feedback)
    assert seen.right.verdict == "passed", (seen.right.summary, seen.right.feedback)
    assert seen.after == seen.before
