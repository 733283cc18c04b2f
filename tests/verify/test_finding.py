"""Which Python is chosen, where several could be."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from pathlib import Path

import pytest

from oci_lsp.errors import InterpreterError
from oci_lsp.settings import VerifySettings
from oci_lsp.verify.interpreter import find_interpreter

PLAIN = VerifySettings()


def a_prefix(folder: Path, marker: str = "pyvenv.cfg") -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").symlink_to(sys.executable)
    if marker.endswith("meta"):
        (folder / marker).mkdir()
    else:
        (folder / marker).write_text(f"home = {Path(sys.executable).parent}\nversion = 3.11.2\n")
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a machine with nothing else."""
    for name in list(os.environ):
        if name in ("VIRTUAL_ENV", "CONDA_PREFIX") or name.startswith(
            ("XDG_", "PYENV", "POETRY", "WORKON", "HATCH")
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "work/project"
    folder.mkdir(parents=True)
    return folder


def python(prefix: Path) -> Path:
    return prefix / "bin/python"


def test_ours_is_the_last_resort(root: Path):
    assert find_interpreter(root, PLAIN) == Path(sys.executable)


def test_the_order(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pyenv = a_prefix(tmp_path / "home/.pyenv/versions/3.12.4", "x")
    (root / ".python-version").write_text("3.12\n")
    assert find_interpreter(root, PLAIN) == python(pyenv)
    conda = a_prefix(tmp_path / "conda", "conda-meta")
    monkeypatch.setenv("CONDA_PREFIX", str(conda))
    assert find_interpreter(root, PLAIN) == python(conda)
    for name in ("venv", ".venv"):
        own = a_prefix(root / name)
        assert find_interpreter(root, PLAIN) == python(own)
    active = a_prefix(tmp_path / "environments/mine")
    monkeypatch.setenv("VIRTUAL_ENV", str(active))
    assert find_interpreter(root, PLAIN) == python(active)
    named = a_prefix(tmp_path / "named")
    for setting in (str(named), str(python(named)), "../../named"):
        assert find_interpreter(root, VerifySettings(interpreter=setting)) == python(named)


def test_another_projects_environment_comes_after_the_own(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = a_prefix(tmp_path / "work/other/.venv")
    monkeypatch.setenv("VIRTUAL_ENV", str(other))
    assert find_interpreter(root, PLAIN) == python(other)
    own = a_prefix(root / ".venv")
    assert find_interpreter(root, PLAIN) == python(own)
    for related in (a_prefix(tmp_path / "work/.venv"), a_prefix(root / "part/.venv")):
        monkeypatch.setenv("VIRTUAL_ENV", str(related))
        assert find_interpreter(root, PLAIN) == python(related)


def test_a_virtual_env_that_is_gone_is_not_chosen_and_not_passed_over(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "gone"))
    with pytest.raises(InterpreterError, match=r"VIRTUAL_ENV names .*gone: there is no such fo"):
        find_interpreter(root, PLAIN)
    own = a_prefix(root / ".venv")
    assert find_interpreter(root, PLAIN) == python(own)


def test_a_broken_environment_gives_way_to_a_whole_one_only(root: Path):
    (a_prefix(root / ".venv") / "bin/python").unlink()
    with pytest.raises(InterpreterError, match=r"\.venv is broken"):
        find_interpreter(root, PLAIN)
    whole = a_prefix(root / "venv")
    assert find_interpreter(root, PLAIN) == python(whole)


def test_an_environment_of_conda_in_the_project(root: Path):
    own = a_prefix(root / "env", "conda-meta")
    assert find_interpreter(root, PLAIN) == python(own)


def test_a_venv_file_names_the_environment(root: Path, tmp_path: Path):
    named = a_prefix(tmp_path / "elsewhere")
    (root / ".venv").write_text(f"{named}\n")
    assert find_interpreter(root, PLAIN) == python(named)
    (root / ".venv").write_text("a name of virtualenvwrapper's\n")
    assert find_interpreter(root, PLAIN) == Path(sys.executable)


def test_a_file_of_variables_is_no_environment(root: Path):
    (root / ".env").write_text("SECRET=1\n")
    assert find_interpreter(root, PLAIN) == Path(sys.executable)


@pytest.mark.parametrize("tool", ["poetry", "hatch", "pipenv"])
def test_environments_outside_of_the_project(root: Path, tmp_path: Path, tool: str):
    digest = base64.urlsafe_b64encode(hashlib.sha256(str(root).encode()).digest()).decode()[:8]
    home = tmp_path / "home"
    of_another = {
        "poetry": home / ".cache/pypoetry/virtualenvs/project-AAAAAAAA-py3.11",
        "hatch": home / ".local/share/hatch/env/virtual/project/AAAAAAAA/project",
        "pipenv": home / ".local/share/virtualenvs/project-AAAAAAAA",
    }[tool]
    ours = {
        "poetry": home / f".cache/pypoetry/virtualenvs/project-{digest}-py3.11",
        "hatch": home / f".local/share/hatch/env/virtual/project/{digest}/project",
        "pipenv": home / ".local/share/virtualenvs/project-BBBBBBBB",
    }[tool]
    a_prefix(of_another)
    (of_another / ".project").write_text("/another/project")
    assert find_interpreter(root, PLAIN) == Path(sys.executable)
    a_prefix(ours)
    (ours / ".project").write_text(str(root))
    assert find_interpreter(root, PLAIN) == python(ours)


def test_of_several_environments_one_with_pytest_is_taken(root: Path, tmp_path: Path):
    digest = base64.urlsafe_b64encode(hashlib.sha256(str(root).encode()).digest()).decode()[:8]
    folder = tmp_path / "home/.local/share/hatch/env/virtual/project" / digest
    with_pytest = a_prefix(folder / "hatch-test.py3.11")
    site = with_pytest / "lib/python3.11/site-packages/pytest"
    site.mkdir(parents=True)
    (site / "__init__.py").touch()
    a_prefix(folder / "project")
    assert find_interpreter(root, PLAIN) == python(with_pytest)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("3.12.4\n", "3.12.4"),
        ("3.12\n", "3.12.10"),
        ("3.7.1\n3.12.4\n", "3.12.4"),
        ("mine\n", "mine"),
        ("system\n", ""),
        ("../../evil\n", ""),
    ],
)
def test_a_version_of_pyenv(root: Path, tmp_path: Path, text: str, chosen: str):
    versions = tmp_path / "home/.pyenv/versions"
    for name in ("3.12.4", "3.12.10", "3.12.9", "mine"):
        a_prefix(versions / name)
    a_prefix(tmp_path / "home/evil")
    (root.parent / ".python-version").write_text(text)
    expected = python(versions / chosen) if chosen else Path(sys.executable)
    assert find_interpreter(root, PLAIN) == expected


def test_a_setting_may_be_a_program_on_the_path(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    prefix = a_prefix(tmp_path / "p")
    monkeypatch.setenv("PATH", str(prefix / "bin"))
    assert find_interpreter(root, VerifySettings(interpreter="python")) == python(prefix)


def test_a_setting_that_names_nothing_is_refused(root: Path):
    with pytest.raises(InterpreterError, match="is not a Python interpreter"):
        find_interpreter(root, VerifySettings(interpreter="nowhere"))
