"""On a terminal a test is asked for; off it, nothing is. Conversations go on by `--continue`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pexpect
import pytest

from tests.projects import BUGGY, RIGHT, calc, fenced, write
from tests.scripted_engine import ScriptedEngine

HIDDEN = (
    "import importlib\n\n\ndef test_{0}():\n"
    "    module = importlib.import_module('ca' + 'lc')\n"
    "    assert getattr(module, 'a' + 'dd')(2, 3) == 5\n"
)
SUM = "def add(a, b):\n    return sum((a, b))\n"


def words(engine, *more):
    sets = [f"engine.url={engine.url}", "refine.candidates=1", "refine.turns=1"]
    sets.append("verify.confirm=false")
    return ["-m", "oci_lsp", "fix", *more, *(word for one in sets for word in ("--set", one))]


def oci(engine, root, *more):
    return subprocess.run(
        [sys.executable, *words(engine, *more)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=root,
        timeout=120,
        check=False,
    )


def terminal(engine, root, *more):
    plain = os.environ | {"TERM": "dumb", "COLUMNS": "200"}
    arguments = words(engine, "calc.py::add", *more)
    return pexpect.spawn(
        sys.executable, arguments, cwd=str(root), env=plain, timeout=60, encoding="utf-8"
    )


@pytest.fixture
def root(tmp_path):
    files = {f"checks/test_{name}.py": HIDDEN.format(name) for name in ("one", "two")}
    return write(tmp_path / "p", {"calc.py": BUGGY, **files})


def test_several_tests_are_picked_and_pinned(root):
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        child = terminal(engine, root, "--apply")
        child.expect("There is no test for add")
        child.expect("1  checks/test_one.py::test_one")
        child.expect("c  create checks/test_calc.py")
        child.expect("> ")
        child.sendline("7")
        child.expect("There is no test 7 in the list")
        child.sendline("2, 1")
        child.expect(r"Keep this test for add.*\[y/N\] ")
        child.sendline("y")
        child.expect("2 tests passed")
        child.expect("Pinned in")
        child.expect(pexpect.EOF)
        child.close()
    assert child.exitstatus == 0
    assert (root / "calc.py").read_text() == RIGHT
    pins = '"calc.py::add" = ["checks/test_two.py::test_two", "checks/test_one.py::test_one"]\n'
    assert (root / "pyproject.toml").read_text().endswith(f"[tool.oci-lsp.tests]\n{pins}")


def test_asserts_are_typed_or_a_file_is_made(root):
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        child = terminal(engine, root)
        child.expect("> ")
        child.sendline("assert add(2, 3 == 5")
        child.expect("is not Python")
        child.sendline("assert add(2, 3) == 5; assert add(1, 1) == 2")
        child.expect(r"\[y/N\] ")
        child.sendline("")
        child.expect("the asserts given passed")
        child.expect(pexpect.EOF)
        child = terminal(engine, root)
        child.expect("> ")
        child.sendline("c")
        child.expect("Say in checks/test_calc.py what add must do")
        child.expect(pexpect.EOF)
        child.close()
    assert child.exitstatus == 2
    assert "raise NotImplementedError" in (root / "checks/test_calc.py").read_text()
    assert "tool.oci-lsp" not in (root / "pyproject.toml").read_text()


def test_off_a_terminal_nothing_is_asked(root):
    with ScriptedEngine([]) as engine:
        done = oci(engine, root, "calc.py::add")
    assert done.returncode == 2
    assert "# test: NODEID" in done.stderr


def test_pin_writes_the_test_that_was_named(root):
    with ScriptedEngine([fenced(RIGHT)], repeat=True) as engine:
        done = oci(engine, root, "calc.py::add", "--test", "checks/test_one.py::test_one", "--pin")
        assert done.returncode == 0, done.stderr
        assert "Pinned in" in done.stderr
        again = oci(engine, root, "calc.py::add", "--pin", "--json")
    assert json.loads(again.stdout)["tests"] == ["checks/test_one.py::test_one"]
    assert "Nothing was pinned" in json.loads(again.stdout)["message"]


def test_words_go_on_with_the_conversation_of_a_run_before(tmp_path):
    root = calc(tmp_path / "p")
    with ScriptedEngine([fenced(RIGHT), fenced(SUM), fenced(RIGHT)]) as engine:
        early = oci(engine, root, "calc.py::add", "--continue", "--feedback", "x")
        assert "no conversation on add" in early.stderr
        # Only shown, not put in: what is said next is about what was shown.
        assert oci(engine, root, "calc.py::add").returncode == 0
        more = ("--continue", "--apply", "--feedback", "use sum")
        done = oci(engine, root, "calc.py::add", *more)
        assert done.returncode == 0, done.stderr
        silent = oci(engine, root, "calc.py::add", "--continue")
        assert "--feedback" in silent.stderr
        (root / "calc.py").write_text(RIGHT.replace("a + b", "b + a"))
        changed = oci(engine, root, "calc.py::add", "--continue", "--feedback", "x")
    assert (root / "calc.py").read_text() == RIGHT.replace("a + b", "b + a")
    assert [early.returncode, silent.returncode, changed.returncode] == [2, 2, 2]
    messages = engine.requests[1].payload["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert "The tests pass on this function" in messages[-1]["content"]
    assert "returned -1" not in messages[-1]["content"]
