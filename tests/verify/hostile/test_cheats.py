"""Every cheat is refused, and every cheat is real: plain pytest falls for it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from oci_lsp.settings import VerifySettings
from oci_lsp.verify.pool import Verifier
from oci_lsp.verify.verdict import Candidate, Run, Snippet
from tests.verify.hostile import equalling, evading, forging, leaving, patching, peeking, rebinding
from tests.verify.hostile.cheats import Cheat
from tests.verify.watching import ours, snapshot

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHEATS: tuple[Cheat, ...] = (
    *leaving.ROWS,
    *forging.ROWS,
    *patching.ROWS,
    *rebinding.ROWS,
    *peeking.ROWS,
    *equalling.ROWS,
    *evading.ROWS,
)
HONEST = Cheat("honest", "def add(a, b):\n    return a + b\n")
_CLOSE = 10.0


def lay_out(root: Path, *, candidates: bool = False) -> Path:
    """A project with a folder for each row."""
    for row in (*CHEATS, HONEST):
        folder = root / row.name
        folder.mkdir(parents=True)
        (folder / "calc.py").write_text(row.text if candidates else row.original)
        (folder / "test_calc.py").write_text(row.test)
        for name, text in row.files.items():
            (folder / name).write_text(text)
    return root


def a_run(root: Path, row: Cheat) -> Run:
    path = root / row.name / "calc.py"
    lines = row.text[: row.text.index("def add(")].count("\n"), row.text.count("\n")
    snippets = (Snippet("doctest", row.doctest),) if row.doctest else ()
    return Run(
        files={path: row.text},
        node_ids=() if snippets else (f"{row.name}/test_calc.py",),
        snippets=snippets,
        snippet_path=path if snippets else None,
        candidate=Candidate(path, "add", "add", lines),
        timeout=20,
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("cheats") / "project")


@pytest.fixture(scope="module", autouse=True)
def _own_runtime_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for the module: kernels of one row are started while another runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCI_LSP_RUNTIME_DIR", str(tmp_path_factory.mktemp("r")))
        yield


@pytest.fixture(scope="module")
def processes() -> set[int]:
    return ours()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def verifier(root: Path, processes: set[int]) -> AsyncIterator[Verifier]:
    async with Verifier(root, VerifySettings(standby=1)) as verifier:
        yield verifier


@pytest.fixture(scope="module")
def before(root: Path) -> dict[str, tuple[str, int]]:
    return snapshot(root)


@pytest.mark.parametrize("row", CHEATS, ids=str)
async def test_cheat(row: Cheat, root: Path, verifier: Verifier, before: object):
    report = await verifier.run(a_run(root, row))
    await verifier.prepare()  # the next row's kernel starts while this one's is looked at
    if row.known:
        assert report.verdict == "passed", "the hole is closed: say so in the row"
        return
    assert report.verdict in row.verdicts, report
    assert row.says in report.summary, report


async def test_afterwards_all_is_as_it_was(
    root: Path, verifier: Verifier, before: object, processes: set[int]
):
    report = await verifier.run(a_run(root, HONEST))
    assert report.verdict == "passed", report
    await verifier.close()
    assert snapshot(root) == before
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE):
            while ours() - processes:
                await asyncio.sleep(0.02)
    assert not ours() - processes


PLAIN = """
import os, signal, sys
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
import pytest, _pytest.doctest, _pytest.unittest, unittest.mock
for name in sys.argv[1:]:
    pid = os.fork()
    if not pid:
        signal.alarm(20)
        os.chdir(name)
        log = os.open("log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1); os.dup2(log, 2); os.close(log)
        sys.argv[1:] = []
        sys.exit(pytest.main(["-p", "no:cacheprovider", "--rootdir", os.curdir, "test_calc.py"]))
    print(name, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


async def test_plain_pytest_falls_for_them(tmp_path: Path):
    """Else the rows above would check code that does no harm. All in forks of one process."""
    root = lay_out(tmp_path / "plain", candidates=True)
    names = [row.name for row in (*CHEATS, HONEST)]
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-P", "-c", PLAIN, *names],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    status = {line.split()[0]: int(line.split()[1]) for line in done.stdout.splitlines()}
    assert status.pop("honest") == 0, done.stderr
    wrong = {
        row.name: status.get(row.name) for row in CHEATS if row.fools != (status.get(row.name) == 0)
    }
    assert not wrong, wrong
    shutil.rmtree(root)


async def test_rows_have_names_of_their_own():
    assert len({row.name for row in CHEATS}) == len(CHEATS) >= 45
