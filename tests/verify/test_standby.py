"""Standby kernels: as old as what is saved, taken once, bounded, and not kept without an end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from oci_lsp.verify.pool import Verifier
from tests.verify.conftest import Project
from tests.verify.installed import Installed
from tests.verify.test_reach import no_overlay
from tests.verify.watching import ours

GOOD = "def add(a, b):\n    return a + b\n"
LOOP = "def add(a, b):\n    while True: pass\n"
EXPECTS_SIX = "from calc import add\n\ndef test_add():\n    assert add(2, 3) == 6\n"


@pytest.fixture(params=["overlay", "copy", "reduced"])
def any_isolation(
    request: pytest.FixtureRequest,
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project.set(standby=1)
    if request.param == "reduced":
        project.set(isolation="reduced")
        monkeypatch.setenv("OCI_LSP_BWRAP", "/nowhere/bwrap")
    elif request.param == "copy":
        no_overlay(tmp_path, monkeypatch)


async def prepared(project: Project, verifier: Verifier) -> None:
    """Have the standbys started, all of them, for the project's test."""
    await verifier.prepare([project.root / "calc.py", project.root / "tests/test_calc.py"])
    await verifier.ready()


@pytest.mark.usefixtures("any_isolation")
async def test_a_run_takes_the_standby(project: Project):
    async with project.verifier() as verifier:
        await prepared(project, verifier)
        assert verifier.kernels_started == 1
        assert (await verifier.run(project.a_run(GOOD))).verdict == "passed"
        assert verifier.standbys_taken == 1


@pytest.mark.usefixtures("any_isolation")
async def test_a_test_saved_after_prepare_decides(project: Project):
    async with project.verifier() as verifier:
        await prepared(project, verifier)
        project.write("tests/test_calc.py", EXPECTS_SIX)
        report = await verifier.run(project.a_run(GOOD))
        assert verifier.standbys_taken == 0
    assert report.verdict == "failed"
    assert report.tests[0].message == "add(2, 3) returned 5, expected 6"


@pytest.mark.parametrize("name", ["conftest.py", "pytest.ini", "helper.py", "data/table.txt"])
async def test_whatever_is_saved_in_the_project_ends_the_standby(project: Project, name: str):
    project.set(standby=1)
    path = project.write(name, "")
    async with project.verifier() as verifier:
        await prepared(project, verifier)
        path.write_text("\n" if path.suffix != ".ini" else "[pytest]\n")
        await prepared(project, verifier)
        assert verifier.kernels_started == 2
        assert (await verifier.run(project.a_run(GOOD))).verdict == "passed"
        assert verifier.standbys_taken == 1


@pytest.mark.parametrize("change", ["a new package", "a .pth file", "in an editable install"])
async def test_what_is_installed_meanwhile_is_seen(project: Project, change: str):
    installed = Installed(project.root / ".venv")
    elsewhere = project.root / "elsewhere"
    elsewhere.mkdir()
    if change == "in an editable install":
        installed.add_path("elsewhere", elsewhere)
        (elsewhere / "totals.py").write_text("FIVE = 4\n")
    project.set(standby=1, interpreter=str(installed.folder))
    project.write(
        "tests/test_calc.py",
        "from calc import add\nfrom totals import FIVE\n\ndef test_add():\n"
        "    assert add(2, 3) == FIVE\n",
    )
    async with project.verifier() as verifier:
        await prepared(project, verifier)
        if change == "a new package":
            (installed.site / "totals.py").write_text("FIVE = 5\n")
        else:
            (elsewhere / "totals.py").write_text("FIVE = 5\n")
        if change == "a .pth file":
            installed.add_path("elsewhere", elsewhere)
        report = await verifier.run(project.a_run(GOOD))
        assert report.verdict == "passed", report.feedback
        assert verifier.standbys_taken == 0


async def test_caches_and_editors_spare_copies_end_no_standby(project: Project):
    project.set(standby=1)
    async with project.verifier() as verifier:
        await prepared(project, verifier)
        for name in ("tests/__pycache__/x.pyc", ".git/index", ".calc.py.swp", "calc.py~"):
            project.write(name, "x")
        assert (await verifier.run(project.a_run(GOOD))).verdict == "passed"
        assert verifier.standbys_taken == 1


async def test_a_candidate_that_imports_more_takes_the_standby(project: Project):
    """And the next standby is not one for that candidate alone."""
    installed = Installed(project.root / ".venv")
    installed.install("bulky", "")
    project.set(standby=1, interpreter=str(installed.folder))
    async with project.verifier() as verifier:
        for text in (f"import bulky\n{GOOD}", GOOD):
            await prepared(project, verifier)
            assert (await verifier.run(project.a_run(text))).verdict == "passed"
        assert verifier.standbys_taken == 2


async def test_each_standby_serves_one_run(project: Project):
    project.set(standby=2)
    project.write(
        "tests/test_calc.py",
        "import builtins, os\nfrom calc import add\n\ndef test_add():\n"
        "    assert add(2, 3) == 5\n    assert not os.path.exists('left')\n"
        "    assert not hasattr(builtins, 'left')\n    builtins.left = open('left', 'w').close()\n",
    )
    async with project.verifier() as verifier:
        await prepared(project, verifier)
        assert verifier.kernels_started == 2
        for _ in range(2):
            report = await verifier.run(project.a_run(GOOD))
            assert report.verdict == "passed", report.feedback
        assert verifier.standbys_taken == 2
    assert not (project.root / "left").exists()


async def test_the_next_standby_starts_while_a_run_goes_on(project: Project):
    project.set(standby=1)
    async with project.verifier() as verifier:
        await prepared(project, verifier)
        assert (await verifier.run(project.a_run(LOOP, timeout=8))).verdict == "timed_out"
        assert (await verifier.run(project.a_run(GOOD))).verdict == "passed"
        assert verifier.standbys_taken == 2


async def test_a_standby_that_died_is_replaced(project: Project):
    project.set(standby=1)
    before = ours()
    async with project.verifier() as verifier:
        await prepared(project, verifier)
        for pid in ours() - before:
            with contextlib.suppress(ProcessLookupError):  # the end of one is that of others
                os.kill(pid, signal.SIGKILL)
        assert await _becomes(lambda: not ours() - before)
        assert (await verifier.run(project.a_run(GOOD))).verdict == "passed"
        assert verifier.standbys_taken == 0
        await prepared(project, verifier)
        assert (await verifier.run(project.a_run(GOOD))).verdict == "passed"
        assert verifier.standbys_taken == 1


async def test_standbys_that_start_end_with_the_verifier(project: Project):
    before = ours()
    project.set(standby=2)
    for seconds in (0, 0.05, 0.3):
        async with project.verifier() as verifier:
            await verifier.prepare()
            await asyncio.sleep(seconds)
        assert not ours() - before
    assert not os.listdir(os.environ["OCI_LSP_RUNTIME_DIR"])


async def test_a_cancelled_run_leaves_nothing_while_it_takes_a_kernel(project: Project):
    before = ours()
    project.set(standby=1)
    async with project.verifier() as verifier:
        for seconds in (0, 0.05, 0.4):
            await verifier.prepare()
            running = asyncio.create_task(verifier.run(project.a_run(GOOD)))
            await asyncio.sleep(seconds)
            running.cancel()
            await asyncio.wait([running])
        assert (await verifier.run(project.a_run(GOOD))).verdict == "passed"
    assert not ours() - before
    assert not os.listdir(os.environ["OCI_LSP_RUNTIME_DIR"])


async def test_two_verifiers_of_one_project_do_not_share(project: Project):
    project.set(standby=1)
    async with project.verifier() as one:
        await prepared(project, one)
        async with project.verifier() as other:
            await prepared(project, other)
            reports = await asyncio.gather(*(v.run(project.a_run(GOOD)) for v in (one, other)))
        assert [report.verdict for report in reports] == ["passed", "passed"]
        assert (one.standbys_taken, other.standbys_taken) == (1, 1)
        assert (await one.run(project.a_run(GOOD))).verdict == "passed"


async def test_idle_standbys_end_and_start_again(project: Project):
    project.set(standby=1)
    before = ours()
    async with Verifier(project.root, project.settings, idle_seconds=1) as verifier:
        for _ in range(2):
            await verifier.prepare()
            assert await _becomes(lambda: bool(ours() - before))
            assert await _becomes(lambda: not ours() - before)
        await verifier.prepare()
        assert (await verifier.run(project.a_run(GOOD))).verdict == "passed"


async def test_a_standby_that_is_too_large_imports_less_ahead(project: Project):
    installed = Installed(project.root / ".venv")
    installed.install("bulky", "data = bytearray(b'x') * (400 << 20)\n")
    project.set(standby=1, interpreter=str(installed.folder), standby_memory_mb=350)
    project.write(
        "tests/test_calc.py",
        "import bulky\nfrom calc import add\n\ndef test_add():\n    assert add(2, 3) == 5\n",
    )
    async with project.verifier() as verifier:
        await prepared(project, verifier)
        assert verifier.kernels_started == 2
        assert (await verifier.run(project.a_run(GOOD))).verdict == "passed"
        assert verifier.standbys_taken == 1
        await prepared(project, verifier)  # it is remembered
        assert verifier.kernels_started == 3


async def test_a_standby_that_is_too_large_without_imports_is_not_kept(project: Project):
    before = ours()
    project.set(standby=1, standby_memory_mb=1)
    async with project.verifier() as verifier:
        for _ in range(2):
            await prepared(project, verifier)
            assert await _becomes(lambda: not ours() - before)
        assert verifier.kernels_started == 1
        assert (await verifier.run(project.a_run(GOOD))).verdict == "passed"


async def _becomes(condition, seconds: float = 20) -> bool:
    for _ in range(int(seconds / 0.05)):
        if condition():
            return True
        await asyncio.sleep(0.05)
    return False
