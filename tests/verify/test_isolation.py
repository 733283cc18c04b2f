"""Isolation: what opens it, what happens without it, and files that an overlay cannot copy up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oci_lsp.errors import ConsentError, SandboxError
from oci_lsp.verify import masks, sandbox
from oci_lsp.verify.pool import Verifier
from oci_lsp.verify.verdict import Report, Snippet
from tests.verify.conftest import Project
from tests.verify.watching import ours, snapshot

GOOD = "def add(a, b):\n    return a + b\n"
BAD = "def add(a, b):\n    return a - b\n"
_ALWAYS = {
    *("null", "zero", "full", "random", "urandom", "tty", "console", "core", "fd", "ptmx", "pts"),
    *("shm", "stdin", "stdout", "stderr"),
}


@pytest.fixture
def no_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose bubblewrap is refused its namespaces."""
    program = tmp_path / "bin" / "bwrap"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("OCI_LSP_BWRAP", str(program))


async def with_answer(project: Project, text: str, answer: bool) -> tuple[Report, str]:
    asked: list[str] = []

    async def consent(question: str) -> bool:
        asked.append(question)
        return answer

    async with Verifier(project.root, project.settings, consent=consent) as verifier:
        report = await verifier.run(project.a_run(text))
        assert verifier.isolation == "reduced"
    (question,) = asked
    return report, question


@pytest.mark.usefixtures("no_sandbox")
async def test_without_a_sandbox_strict_refuses_and_ask_asks(project: Project):
    project.set(isolation="strict")
    with pytest.raises(SandboxError, match="No permissions"):
        await project.verify(GOOD)
    project.set(isolation="ask")
    with pytest.raises(ConsentError, match=r"verify\.isolation"):
        await project.verify(GOOD)  # nobody to ask
    with pytest.raises(ConsentError):
        await with_answer(project, GOOD, answer=False)
    report, question = await with_answer(project, GOOD, answer=True)
    assert report.verdict == "passed"
    assert "reduced isolation" in question


@pytest.mark.usefixtures("no_sandbox")
async def test_reduced_isolation_works_in_a_copy(project: Project, tmp_path: Path):
    project.set(isolation="reduced", memory_mb=500)
    project.write("data/table.txt", "5")
    project.write(
        "tests/test_calc.py",
        "import os, pathlib\nfrom calc import add\n\ndef test_add():\n"
        "    here = pathlib.Path(__file__).parent.parent\n"
        "    assert add(2, 3) == int((here / 'data/table.txt').read_text())\n"
        "    (here / 'data/table.txt').write_text('6')\n    assert 'SECRET' not in os.environ\n",
    )
    os.environ["SECRET"] = "x"
    before, running = snapshot(project.root), ours()
    try:
        assert (await project.verify(GOOD)).verdict == "passed"
        failed = await project.verify(BAD)
    finally:
        del os.environ["SECRET"]
    assert "add(2, 3) returned -1" in failed.tests[0].message
    loop = "def add(a, b):\n    while True: pass\n"
    timed_out = await project.verify(loop, timeout=1)
    assert timed_out.verdict == "timed_out"
    assert f"{project.root}/calc.py:2" in timed_out.summary
    escaped = (
        "import os, time\ndef add(a, b):\n    if os.fork() == 0:\n        os.setsid()\n"
        "        if os.fork() == 0: time.sleep(60)\n        os._exit(0)\n    return a + b\n"
    )
    assert (await project.verify(escaped)).verdict == "passed"
    snippets = (Snippet("asserts", "assert add(1, 1) == 2"),)
    assert (await project.verify(GOOD, snippets=snippets)).verdict == "passed"
    assert snapshot(project.root) == before
    assert not ours() - running


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_files_of_another_owner_can_be_laid_over(project: Project):
    for path in [project.root, *project.root.rglob("*")]:
        os.chown(path, 12345, 12345)
    project.set(standby=1)
    async with project.verifier() as verifier:
        for _ in range(2):  # the second one takes a standby that knows of the owner
            await verifier.prepare()
            assert (await verifier.run(project.a_run(GOOD))).verdict == "passed"
    assert (project.root / "calc.py").read_text() == BAD


async def test_without_an_overlay_a_copy_is_tested(project: Project, tmp_path: Path, monkeypatch):
    """Some file systems cannot be an overlay's lower layer: bubblewrap then fails to mount it."""
    (real,) = sandbox.find_bwrap()[-1:]
    program = tmp_path / "bwrap"
    program.write_text(
        '#!/bin/sh\nfor word in "$@"; do [ "$word" = --tmp-overlay ] && exit 1; done\n'
        f'exec {real} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("OCI_LSP_BWRAP", str(program))
    before = snapshot(project.root)
    async with project.verifier() as verifier:
        assert (await verifier.run(project.a_run(GOOD))).verdict == "passed"
        assert verifier.isolation == "strict"
    assert snapshot(project.root) == before


async def test_network_and_devices_can_be_opened(project: Project):
    project.write(
        "tests/test_calc.py",
        "import os, socket\nfrom calc import add\n\ndef test_add():\n    add(1, 1)\n"
        f"    assert {len(os.listdir('/sys/class/net'))} == len(socket.if_nameindex())\n"
        "    here = set(os.listdir('/dev'))\n"
        f"    assert {sorted(path.name for path in masks.devices())!r} == sorted(\n"
        f"        here & set({os.listdir('/dev')!r}) - {_ALWAYS!r})\n"
        "    assert not os.listdir('/dev/shm') and len(os.listdir('/dev/pts')) <= 1\n",
    )
    project.set(network=True, devices=True)
    report = await project.verify(GOOD)
    assert report.verdict == "passed", report.feedback
