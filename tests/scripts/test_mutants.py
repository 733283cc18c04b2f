"""Mutants: which changes are made, what is drawn, how outcomes and the table are read."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from bench_mutants import draw, killed_by
from mutants import table, truth
from mutants.operators import Mutation, mutations
from mutants.projects import PROJECTS, FetchError, verify

from oci_lsp.verify.verdict import Report, TestResult


def of(text: str) -> list[Mutation]:
    _, node = next(truth.functions(text))
    return mutations(text, node)


def changed(body: str) -> dict[str, set[str]]:
    """Bodies after each mutation, by operator."""
    text = f"def f(a, b):\n    {body}\n"
    found: dict[str, set[str]] = {}
    for mutation in of(text):
        line = mutation.applied(text).removeprefix("def f(a, b):\n    ").rstrip("\n")
        found.setdefault(mutation.operator, set()).add(line)
    return found


@pytest.mark.parametrize(
    ("body", "operator", "after"),
    [
        ("x = a < b", "comparison flipped", {"x = (a <= b)"}),
        ("x = a is b", "comparison flipped", {"x = (a is not b)"}),
        ("x = a >= b", "boundary +1", {"x = (a >= b + 1)"}),
        ("x = a >= b", "boundary -1", {"x = (a >= b - 1)"}),
        ("x = a + b", "arithmetic swapped", {"x = (a - b)"}),
        ("x = a and b", "and/or swapped", {"x = (a or b)"}),
        ("x = a if b else 0", "condition negated", {"x = a if (not b) else 0"}),
        ("return a", "return value replaced", {"return None"}),
        ("yield a", "return value replaced", {"yield None"}),
        ("g(a, b, *a)", "arguments swapped", {"g(b, a, *a)"}),
        ("x = a[b:-1]", "slice off by one", {"x = a[(b + 1):-1]", "x = a[b:(-1 + 1)]"}),
        (
            "x = True, 1, 'é', b'z'",
            "constant changed",
            {
                "x = False, 1, 'é', b'z'",
                "x = True, (2), 'é', b'z'",
                "x = True, 1, '', b'z'",
                "x = True, 1, 'é', b''",
            },
        ),
        ("raise a", "statement dropped", {"pass"}),
        ("a.b = b", "statement dropped", {"pass"}),
        ("'é'; x = a < b", "comparison flipped", {"'é'; x = (a <= b)"}),
    ],
)
def test_what_an_operator_makes_of_a_line(body, operator, after):
    assert changed(body)[operator] == after


@pytest.mark.parametrize(
    "text",
    [
        'def f():\n    """Doc 1."""\n',
        "def f(a: int = 3) -> 'str':\n    x: 'int'\n",
        "def f(a):\n    f'{a + 1}'\n",
        "def f(a):\n    match a:\n        case 3 | [1, 2]:\n            x = a\n",
        "def f(a):\n    g(a, a)\n".replace("g(a, a)", "return None"),
        "def f():\n    def g():\n        '''Doc.'''\n",
        "def f():\n    x = None\n    '%s' % x\n".replace("'%s'", "''"),
    ],
)
def test_what_is_left_alone(text):
    assert of(text) == []


def test_a_mutant_differs_in_its_place_only_and_never_in_nothing():
    text = Path(ast.__file__).read_text("utf-8")
    nodes = [node for name, node in truth.functions(text) if name in ("literal_eval", "dump")]
    found = [m for node in nodes for m in mutations(text, node)]
    assert len(found) > 50
    for mutation in found:
        after = mutation.applied(text)
        assert after.startswith(text[: mutation.start])
        assert after.endswith(text[mutation.end :])
        assert ast.dump(ast.parse(after)) != ast.dump(ast.parse(text))
        node = next(n for n in nodes if truth.first_line(n) <= mutation.line <= (n.end_lineno or 0))
        lines = text.split("\n")
        assert mutation.start >= len("\n".join(lines[: node.lineno]))


CODE = """\
import functools


@functools.cache
def decorated(x):
    return x + 1


class C:
    def m(self):
        def inner():
            return 2
        return inner()


def never(x):
    return x
"""


def test_functions_are_entered_by_the_passing_tests_of_their_lines(tmp_path):
    (tmp_path / "mod.py").write_text(CODE)
    lines = {
        "mod.py": {
            "5": ["t.py::test_imports|setup"],
            "6": ["t.py::test_a|run", "t.py::test_red|run"],
            "11": ["t.py::test_b[x|y]|run"],
            "13": ["t.py::test_b[x|y]|run"],
        },
        "pkg/tests/test_x.py": {"1": ["t.py::test_a|run"]},
        "../else.py": {"1": ["t.py::test_a|run"]},
    }
    passed = frozenset({"t.py::test_a", "t.py::test_b[x|y]", "t.py::test_imports"})
    assert list(truth.entered(tmp_path, lines, passed)) == [
        truth.Covered("mod.py", "decorated", 4, ("t.py::test_a",)),
        truth.Covered("mod.py", "C.m", 10, ("t.py::test_b[x|y]",)),
    ]


def test_the_seed_alone_decides_what_is_drawn(tmp_path):
    (tmp_path / "mod.py").write_text(CODE)
    pool = [
        truth.Covered("mod.py", "decorated", 4, ("t",)),
        truth.Covered("mod.py", "C.m", 10, ("t",)),
        truth.Covered("mod.py", "C.m.inner", 11, ("t",)),
        truth.Covered("mod.py", "never", 16, ("t",)),
    ]
    drawn = draw(tmp_path, pool, "3", 3)
    assert drawn == draw(tmp_path, list(reversed(pool)), "3", 3)
    assert len({function for function, _ in drawn}) == 3
    assert len(draw(tmp_path, pool, "3", 9)) == 4
    orders = {tuple(f.qualname for f, _ in draw(tmp_path, pool, str(s), 4)) for s in range(9)}
    assert len(orders) > 1


def test_outcomes_are_read_from_what_the_plugin_wrote():
    rows = [
        ["start", "t::a", ""],
        ["setup", "t::a", "passed"],
        ["call", "t::a", "passed"],
        ["call", "t::a", "failed"],  # a subtest
        ["teardown", "t::a", "passed"],
        ["start", "t::b", ""],
        ["call", "t::b", "passed"],
        ["teardown", "t::b", "passed"],
        ["start", "t::c", ""],
        ["setup", "t::c", "skipped"],
        ["teardown", "t::c", "passed"],
        ["start", "t::d", ""],
    ]
    log = "\n".join(map(json.dumps, rows))
    assert truth.outcomes(log, ended=True).red == ("t::a",)
    cut = truth.outcomes(log, ended=False)
    assert (cut.passed, cut.red, cut.hung, cut.broken) == (("t::b",), ("t::a", "t::d"), True, False)
    broken = truth.outcomes(json.dumps(["collect", "t", "failed"]), ended=False)
    assert (broken.broken, broken.hung) == (True, False)


def report(verdict, **outcomes) -> Report:
    tests = tuple(TestResult(name, outcome) for name, outcome in outcomes.items())
    return Report(verdict, tests)


def test_only_a_test_that_passes_on_the_original_kills():
    original = report("failed", a="passed", b="passed", c="skipped")
    assert killed_by(report("failed", a="failed", b="passed", c="skipped"), original) == ["a"]
    assert killed_by(report("timed_out"), original) == ["a", "b"]
    assert killed_by(report("failed", a="passed", b="passed", c="failed"), original) == []
    assert killed_by(report("vacuous", a="passed", b="passed"), original) == []


def test_an_archive_with_another_hash_is_refused_and_deleted(tmp_path):
    archive = tmp_path / "x.tar.gz"
    archive.write_bytes(b"else")
    with pytest.raises(FetchError, match="not the pinned"):
        verify(archive, PROJECTS[0].sha256)
    assert not archive.exists()


ROW = {
    "project": PROJECTS[0].name, "path": "p/m.py", "qualname": "f", "at": 7, "operator": "and/or",
    "before": "a | b", "after": "(a)", "covering": 9, "killers": ["t::x", "t::y"], "hung": False,
    "mutant": "failed", "original": "passed", "node_ids": ["t::x"], "snippets": 1,
    "origin": "docstring", "found_mutant": "failed", "found_original": "passed",
    "killed_by": ["t.py::TestA::test_x"], "find_seconds": 0.1, "run_seconds": 1.5,
}  # fmt: skip


def test_the_table_has_every_row_and_counts_those_that_tests_kill():
    missed = ROW | {"killed_by": [], "node_ids": [], "snippets": 0}
    survivor = {k: v for k, v in missed.items() if k not in ("mutant", "original")} | {
        "killers": []
    }
    page = table.document([ROW, missed, survivor], PROJECTS[:1], 3, 3)
    assert "| all | 3 | 2 | 2 | 2 | 1 (50 %) | 0.5 (1) | 0.10, 1.5 |" in page
    assert (
        "| 1 | `f`, p/m.py:7 | and/or: `a \\| b` to `(a)` | 2 of 9 | failed, passed "
        "| examples and 1 test | failed: `test_x` |" in page
    )
    assert "| failed, passed | nothing | no |" in page
    assert "| 0 of 9 | no test kills it | nothing |  |" in page
    assert PROJECTS[0].sha256 in page
