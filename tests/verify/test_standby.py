"""Standby kernels: never older than what is saved, and not kept without an end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from oci_lsp.verify import sandbox
from oci_lsp.verify.pool import Verifier
from tests.verify.conftest import Project
from tests.verify.test_reach import no_overlay
from tests.verify.watching import ours

GOOD = "def add(a, b):\n    return a + b\n"


@pytest.mark.parametrize("kind", ["reduced", "copy", "overlay"])
async def test_a_test_saved_after_prepare_decides(
    project: Project, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project.set(standby=1)
    if kind == "reduced":
        project.set(isolation="reduced")
        monkeypatch.setattr(sandbox, "find_bwrap", list)
    elif kind == "copy":
        no_overlay(tmp_path, monkeypatch)
    async with project.verifier() as verifier:
        await verifier.prepare()
        await asyncio.sleep(2)  # a standby, if there is one, has made its copy
        project.write(
            "tests/test_calc.py",
            "from calc import add\n\ndef test_add():\n    assert add(2, 3) == 6\n",
        )
        report = await verifier.run(project.a_run(GOOD))
    assert report.verdict == "failed"
    assert report.tests[0].message == "add(2, 3) returned 5, expected 6"


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


async def _becomes(condition, seconds: float = 20) -> bool:
    for _ in range(int(seconds / 0.05)):
        if condition():
            return True
        await asyncio.sleep(0.05)
    return False
