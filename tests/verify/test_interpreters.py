"""The project's Python: every version in real runs, and broken environments named with a remedy."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci_lsp.errors import InterpreterError
from oci_lsp.verify.verdict import Snippet
from tests.verify import pythons
from tests.verify.conftest import NODE, Project

GOOD = 'def add(a, b):\n    """Add.\n\n    >>> add(2, 3)\n    5\n    """\n    return a + b\n'
BAD = GOOD.replace("a + b", "a - b")


@pytest.mark.parametrize("version", pythons.VERSIONS)
async def test_every_python_with_a_pytest_of_its_own(project: Project, version: str):
    venv = pythons.environment(version, pythons.PYTESTS.get(version, "pytest"))
    project.set(interpreter=str(venv))
    project.write(
        "tests/test_version.py",
        "import sys\nfrom calc import add\n\ndef test_add():\n    add(2, 3)\n"
        f"    assert sys.version.startswith({version + '.'!r})\n",
    )
    project.write(
        "tests/test_more.py",
        "import time\nimport calc\n\ndef test_vacuous():\n    assert True\n\n"
        "def test_slow():\n    calc.add(1, 1)\n    while True:\n        time.sleep(0.01)\n",
    )
    project.write("pytest.ini", "[pytest]\naddopts = --doctest-modules\npythonpath = .\n")
    doctest = (Snippet("doctest", ">>> add(2, 3)\n5\n", 3),)
    async with project.verifier() as verifier:
        run = verifier.run
        good = await run(project.a_run(GOOD, "tests/test_version.py::test_add", NODE))
        assert good.verdict == "passed", good.feedback
        bad = await run(project.a_run(BAD, NODE, "calc.py::calc.add", snippets=doctest))
        assert [test.message for test in bad.tests] == [
            "add(2, 3) returned -1, expected 5",
            "add(2, 3)\nprinted: -1\nexpected: 5",
            "add(2, 3)\nprinted: -1\nexpected: 5",
        ]
        vacuous = await run(project.a_run(GOOD, "tests/test_more.py::test_vacuous"))
        assert vacuous.verdict == "vacuous"
        slow = await run(project.a_run(GOOD, "tests/test_more.py::test_slow", timeout=3))
        assert slow.verdict == "timed_out"
        assert "in test_slow" in slow.tests[0].message + slow.tests[0].details


# -- layouts ---------------------------------------------------------------------------------


@pytest.fixture
def prefix() -> Iterator[Path]:
    """A prefix below /tmp with an installation of its own, as conda and uv have them."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    base = Path(sys.base_prefix)
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    (folder / "bin").mkdir()
    shutil.copy2(base / "bin" / name, folder / "bin" / name)
    (folder / "bin/python3").symlink_to(name)
    (folder / "bin/python").symlink_to("python3")
    (folder / "lib" / name / "site-packages").mkdir(parents=True)
    for path in (base / "lib" / name).iterdir():
        if path.name not in ("site-packages", "dist-packages", "EXTERNALLY-MANAGED"):
            (folder / "lib" / name / path.name).symlink_to(path)
    yield folder
    shutil.rmtree(folder)


def see_ours(prefix: Path) -> None:
    """Let the environment see our pytest."""
    (site,) = prefix.glob("lib/python3*/site-packages")
    for folder in (site, site.with_name("dist-packages")):  # Debian's Python reads the latter
        folder.mkdir(exist_ok=True)
        (folder / "ours.pth").write_text(str(Path(pytest.__file__).parents[1]))


async def runs_in(project: Project, prefix: Path) -> None:
    project.write(
        "tests/test_calc.py",
        "import sys\nfrom calc import add\n\ndef test_add():\n    assert add(2, 3) == 5\n"
        f"    assert sys.prefix == {str(prefix)!r}\n",
    )
    report = await project.verify(GOOD)
    assert report.verdict == "passed", report.feedback


async def test_a_conda_prefix_below_tmp(
    project: Project, prefix: Path, monkeypatch: pytest.MonkeyPatch
):
    (prefix / "conda-meta").mkdir()
    see_ours(prefix)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setenv("CONDA_PREFIX", str(prefix))
    await runs_in(project, prefix)


async def test_a_uv_environment_of_a_python_below_tmp(project: Project, prefix: Path):
    venv = project.root / ".venv"
    lib = venv / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    lib.mkdir(parents=True)
    (venv / "bin").mkdir()
    (venv / "bin/python").symlink_to(prefix / "bin/python")  # a link to a link to a link
    (venv / "pyvenv.cfg").write_text(
        f"home = {prefix / 'bin'}\nimplementation = CPython\nuv = 0.13.9\n"
        "version_info = 3.11.2\ninclude-system-site-packages = false\nrelocatable = true\n"
    )
    see_ours(venv)
    await runs_in(project, venv)


async def test_a_python_of_pyenv(
    project: Project, prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    see_ours(prefix)
    home = tmp_path / "pyenv"
    (home / "versions").mkdir(parents=True)
    shutil.copytree(prefix, home / "versions/3.8.7", symlinks=True)
    monkeypatch.setenv("PYENV_ROOT", str(home))
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    project.write(".python-version", "3.8\n")
    await runs_in(project, home / "versions/3.8.7")


async def test_a_shim_of_pyenv(project: Project):
    shim = Path.home() / ".pyenv/shims/python"
    if not shim.is_file():
        pytest.skip("there is no pyenv here")
    project.set(interpreter=str(shim))
    said = await refusal(project)  # the version that it leads to may have no pytest
    assert not said or "has no pytest" in said


# -- what is missing or broken ---------------------------------------------------------------


def a_venv(folder: Path, *options: str) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", *options, folder], check=True)
    return folder


async def refusal(project: Project) -> str:
    """What the user is told: the error and its advice; empty: it works."""
    try:
        await project.verify(GOOD)
    except InterpreterError as error:
        return str(error)
    return ""


@pytest.fixture(autouse=True)
def _no_other_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)


async def test_no_pytest_in_a_plain_environment(project: Project):
    venv = a_venv(project.root / ".venv")
    python = venv / "bin/python"
    said = await refusal(project)
    assert "has no pytest" in said
    assert f"`{python} -m ensurepip && {python} -m pip install pytest`" in said
    subprocess.run([python, "-m", "ensurepip"], check=True, capture_output=True)
    assert f"`{python} -m pip install pytest`" in await refusal(project)


async def test_no_pytest_in_an_environment_with_a_space_in_its_path(tmp_path: Path):
    project = Project(tmp_path / "my project")
    project.write("calc.py", BAD)
    venv = a_venv(project.root / ".venv")
    (site,) = venv.glob("lib/python3*/site-packages")
    (site / "pip").mkdir()
    assert f"`{shlex.quote(str(venv / 'bin/python'))} -m pip" in await refusal(project)


async def test_no_pytest_in_uvs_environment(project: Project):
    venv = a_venv(project.root / ".venv")
    config = venv / "pyvenv.cfg"
    config.write_text(config.read_text() + "uv = 0.13.9\n")
    assert f"`uv pip install --python {venv / 'bin/python'} pytest`" in await refusal(project)


async def test_no_pytest_in_condas_environment(
    project: Project, prefix: Path, monkeypatch: pytest.MonkeyPatch
):
    (prefix / "conda-meta").mkdir()
    monkeypatch.setenv("CONDA_PREFIX", str(prefix))
    assert f"`conda install --prefix {prefix} pytest`" in await refusal(project)


async def test_no_pytest_in_poetrys_environment(project: Project):
    a_venv(project.root / ".venv")
    project.write("poetry.lock", "")
    assert "`poetry add --group dev pytest`" in await refusal(project)


async def test_no_pytest_and_no_ensurepip(
    project: Project, prefix: Path, monkeypatch: pytest.MonkeyPatch
):
    (lib,) = prefix.glob("lib/python3*")
    (lib / "ensurepip").unlink(missing_ok=True)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    project.set(interpreter=str(prefix))
    assert f"`pip --python {prefix / 'bin/python'} install pytest`" in await refusal(project)


async def test_a_system_python_gets_an_environment(project: Project, prefix: Path):
    (lib,) = prefix.glob("lib/python3*")
    (lib / "EXTERNALLY-MANAGED").touch()
    project.set(interpreter=str(prefix))
    venv = project.root / ".venv"
    command = f"{prefix / 'bin/python'} -m venv {venv} && {venv}/bin/python -m pip install pytest"
    assert f"`{command}`" in await refusal(project)


async def test_a_pytest_that_is_too_old(project: Project):
    venv = pythons.environment(f"3.{sys.version_info[1]}", "pytest==6.2.5")
    project.set(interpreter=str(venv))
    said = await refusal(project)
    assert "has pytest 6.2.5; 7 or newer is needed" in said
    assert "install --upgrade pytest`" in said


async def test_a_python_that_is_too_old(project: Project):
    found = [
        path
        for version in ("3.6", "3.7", "3.8")
        for path in (Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python")
    ]
    if not found:
        pytest.skip("there is no Python older than 3.9 here")
    project.set(interpreter=str(found[0]))
    assert "3.9 or newer is needed" in await refusal(project)


@pytest.mark.parametrize("tool", ["venv", "uv"])
async def test_the_base_is_gone(project: Project, tool: str):
    venv = a_venv(project.root / ".venv")
    config = venv / "pyvenv.cfg"
    version = f"3.{sys.version_info[1]}"
    if tool == "uv":
        config.write_text(config.read_text() + "uv = 0.13.9\n")
    for name in ("python", "python3", f"python{version}"):
        (venv / "bin" / name).unlink(missing_ok=True)
        (venv / "bin" / name).symlink_to("/nowhere/bin/python3")
    said = await refusal(project)
    assert f"{venv} is broken: its Python was /nowhere/bin/python3, which is gone" in said
    remedy = f"uv venv --clear --python {version}" if tool == "uv" else f"python{version} -m venv"
    assert remedy in said
    project.set(interpreter=".venv/bin/python")
    assert "which is gone" in await refusal(project)


async def test_a_program_for_another_machine(project: Project):
    venv = a_venv(project.root / ".venv")
    (venv / "bin/python").unlink()
    program = bytes.fromhex("7f454c4602010100") + bytes(8) + bytes.fromhex("0200f300")  # RISC-V
    (venv / "bin/python").write_bytes(program + bytes(44))
    (venv / "bin/python").chmod(0o755)
    said = await refusal(project)
    assert "does not start" in said and "Exec format error" in said
    assert "-m venv --clear" in said


async def test_a_program_whose_own_interpreter_is_gone(project: Project):
    venv = a_venv(project.root / ".venv")
    (venv / "bin/python").unlink()
    (venv / "bin/python").write_text("#!/nowhere/python\n")
    (venv / "bin/python").chmod(0o755)
    assert "does not start" in await refusal(project)


async def test_a_standard_library_that_is_gone(project: Project, prefix: Path):
    (lib,) = prefix.glob("lib/python3*")
    (lib / "encodings").unlink()
    (lib / "os.py").unlink()
    (prefix / "bin/python3").unlink()
    (prefix / "bin/python3").write_text(
        f'#!/bin/sh\nPYTHONHOME={prefix} exec {prefix}/bin/python3.{sys.version_info[1]} "$@"\n'
    )
    (prefix / "bin/python3").chmod(0o755)
    project.set(interpreter=str(prefix))
    said = await refusal(project)
    assert "does not start" in said and "verify.interpreter" in said


async def test_an_environment_without_programs(project: Project):
    project.write(".venv/pyvenv.cfg", "home = /usr/bin\nversion = 3.12.1\n")
    said = await refusal(project)
    assert "there is no Python at" in said and "`python3.12 -m venv --clear" in said


async def test_an_empty_folder_is_no_environment(project: Project):
    (project.root / ".venv").mkdir()
    assert await refusal(project) == ""
