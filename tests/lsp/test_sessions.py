"""Leasing sessions: which one a job gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from oci_lsp.lsp.sessions import Sessions
from oci_lsp.settings import Settings


async def test_a_new_virtual_environment_takes_a_new_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)

    async def no(question: str) -> bool:
        return False

    sessions = Sessions(no)
    async with sessions.lease(tmp_path, Settings()) as first:
        pass
    async with sessions.lease(tmp_path, Settings()) as again:
        assert again is first
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    (tmp_path / ".venv/pyvenv.cfg").write_text("home = /usr/bin\n")
    async with sessions.lease(tmp_path, Settings()) as fresh:
        assert fresh is not first
    assert len(sessions) == 1
    await sessions.close()
