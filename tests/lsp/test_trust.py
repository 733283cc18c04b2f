"""Nothing of a folder is run before somebody has said that its code is trusted."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from oci_lsp import trust
from tests.lsp.editor import editor
from tests.projects import fenced, write
from tests.scripted_engine import ScriptedEngine

BUGGY = "def add(a, b):\n    return a - b\n"
RIGHT = BUGGY.replace("-", "+")
TEST = "from calc import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n"
TRUST = "Trust this folder"


def hostile(root: Path, marker: Path) -> Path:
    """A project whose own interpreter tells that it was started, and then is one."""
    write(root, {"calc.py": BUGGY, "test_calc.py": TEST, ".venv/pyvenv.cfg": "home = /usr/bin\n"})
    python = root / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho started >> {marker}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    subprocess.run([python, "-c", ""], check=True)
    marker.unlink()  # it does tell; from inside a sandbox it could not
    return root


@pytest.fixture(autouse=True)
def _no_other_environment(monkeypatch):
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)


async def test_nothing_is_started_before_the_answer_nor_after_a_no(tmp_path):
    marker = tmp_path / "started"
    root = hostile(tmp_path / "p", marker)
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        async with editor(root, engine.url, trusted=None) as ed:
            ed.open("calc.py")
            await ed.actions("calc.py", "return")
            await ed.lenses("calc.py")
            children: list[str] = []
            ed.on_question.append(lambda: children.extend(p.name() for p in ed.descendants()))
            for command in ("fixFunction", "runTest"):
                end = await ed.job(command, "calc.py", "add")
                assert end["outcome"] == "error"
                assert "is not trusted, so none of its code was run" in end["message"]
            assert (children, ed.descendants()) == ([], [])
    assert len(ed.questions) == 2
    assert str(root) in ed.questions[0]
    assert "in a sandbox" in ed.questions[0]
    assert not marker.exists()
    assert trust.folders() == ()
    assert engine.requests == []


async def test_a_yes_is_remembered_for_the_folder_and_what_is_in_it(tmp_path):
    marker = tmp_path / "started"
    root = write(tmp_path / "p", {"pyproject.toml": "[tool.oci-lsp]\nrefine.turns = 1\n"})
    inner = hostile(root / "inner", marker)
    with ScriptedEngine([fenced(RIGHT)] * 2) as engine:
        async with editor(root, engine.url, trusted=None) as ed:
            ed.answer_to_questions = TRUST
            ed.open("inner/calc.py")
            first = await ed.job("fixFunction", "inner/calc.py", "add")
            assert first["outcome"] == "passed", first
        assert len(ed.questions) == 1
        async with editor(inner, engine.url, trusted=None) as again:
            again.open("calc.py")
            end = await again.job("fixFunction", "calc.py", "add")
            assert end["outcome"] == "passed", end
        assert again.questions == []
    assert trust.folders() == (root,)
    assert trust.is_trusted(inner)
    assert not trust.is_trusted(tmp_path)
    state = next(Path(trust._file()).parent.glob("trusted.json"))
    assert state.stat().st_mode & 0o777 == 0o600


async def test_an_editors_word_is_of_its_own_folders_only(tmp_path):
    marker = tmp_path / "started"
    root = write(tmp_path / "p", {"calc.py": BUGGY})
    other = hostile(tmp_path / "other", marker)
    write(other, {"pyproject.toml": '[tool.oci-lsp]\nverify.interpreter = "/nowhere/python"\n'})
    async with editor(root, "http://127.0.0.1:9", trusted=True) as ed:
        ed.open("../other/calc.py")
        end = await ed.job("runTest", "../other/calc.py", "add")
    assert "is not trusted" in end["message"]
    assert len(ed.questions) == 1
    assert not marker.exists()


async def test_an_editor_that_distrusts_the_folder_is_not_asked_again(tmp_path):
    marker = tmp_path / "started"
    root = hostile(tmp_path / "p", marker)
    trust.trust(root)
    async with editor(root, "http://127.0.0.1:9", trusted=False) as ed:
        ed.open("calc.py")
        end = await ed.job("fixFunction", "calc.py", "add")
    assert end["outcome"] == "error"
    assert "Trust the workspace in your editor" in end["message"]
    assert ed.questions == []
    assert not marker.exists()


@pytest.mark.parametrize("answer", [TRUST, "No"])
async def test_a_repository_sets_guarded_keys_only_once_it_is_trusted(tmp_path, answer):
    key = '[tool.oci-lsp]\nverify.interpreter = "/nowhere/python"\n'
    root = write(tmp_path / "p", {"calc.py": BUGGY, "test_calc.py": TEST, "pyproject.toml": key})
    async with editor(root, "http://127.0.0.1:9", trusted=None) as ed:
        ed.answer_to_questions = answer
        ed.open("calc.py")
        end = await ed.job("fixFunction", "calc.py", "add")
    assert end["outcome"] == "error"
    assert ("/nowhere/python" in end["message"]) == (answer == TRUST)


async def test_a_yes_to_the_whole_home_is_for_this_session_only(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    root = hostile(tmp_path, tmp_path.parent / f"{tmp_path.name}-started")
    async with editor(root, "http://127.0.0.1:9", trusted=None) as ed:
        ed.answer_to_questions = TRUST
        ed.open("calc.py")
        for _ in range(2):
            assert (await ed.job("runTest", "calc.py", "add"))["outcome"] == "failed"
    assert len(ed.questions) == 1
    assert trust.folders() == ()


def test_no_folder_is_lost_where_several_are_trusted_at_once(tmp_path):
    names = [tmp_path / str(number) for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(trust.trust, names))
    assert sorted(trust.folders()) == sorted(names)


def test_trust_is_taken_back(tmp_path):
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    trust.trust(tmp_path / "a")
    trust.trust(inner)
    assert trust.revoke(inner) == (tmp_path / "a", inner)
    assert trust.folders() == ()
    assert trust.revoke(inner) == ()


def test_a_broken_list_trusts_nothing(tmp_path):
    trust.trust(tmp_path)
    trust._file().write_text("{", encoding="utf-8")
    assert not trust.is_trusted(tmp_path)
    trust.trust(tmp_path)
    assert trust.is_trusted(tmp_path)
