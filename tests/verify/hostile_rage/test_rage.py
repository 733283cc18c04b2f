"""Candidates that rage: bombs, floods, loops, signals, and hands reaching for what is not theirs.

After each the user's files are as they were, nothing runs on, and the next honest verdict comes.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci_lsp.settings import VerifySettings
from oci_lsp.verify.pool import Verifier
from oci_lsp.verify.verdict import Report
from tests.verify.hostile_rage.bait import Bait
from tests.verify.hostile_rage.reach import RAGE
from tests.verify.hostile_rage.rows import MEMORY_MB, PROCESSES, Row
from tests.verify.hostile_rage.running import GOOD, a_run
from tests.verify.watching import ours

# Generous: what it takes on a quiet machine is measured elsewhere.
NEXT_VERDICT_SECONDS = 10.0
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]")


@pytest.fixture(scope="module")
def bait() -> Iterator[Bait]:
    made = Bait()
    yield made
    made.close()


def settings() -> VerifySettings:
    return VerifySettings(
        standby=1,
        memory_mb=MEMORY_MB,
        processes=PROCESSES,
        isolation="strict",
        env=("PYTEST_DISABLE_PLUGIN_AUTOLOAD",),
    )


@pytest.mark.parametrize("row", RAGE, ids=[row.name for row in RAGE])
async def test_it_is_contained(row: Row, bait: Bait, monkeypatch: pytest.MonkeyPatch):
    for name, value in bait.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take their time to load
    runtime = Path(os.environ["OCI_LSP_RUNTIME_DIR"])
    (runtime / "engine").write_text("secret")
    before, running = bait.state(), ours()
    async with Verifier(bait.root, settings()) as verifier:
        await verifier.prepare()
        bad = asyncio.create_task(
            verifier.run(a_run(bait.root, row.text(bait.seen(str(runtime))), row.timeout))
        )
        await asyncio.sleep(0)
        await verifier.prepare()  # as the loop does: another kernel starts meanwhile
        report = await bad
        asked = time.monotonic()
        honest = await verifier.run(a_run(bait.root, GOOD))
        waited = time.monotonic() - asked
        standing = bait.state()
    assert_contained(row, report)
    assert honest.verdict == "passed", honest.feedback
    assert waited < NEXT_VERDICT_SECONDS
    assert standing == before
    assert bait.state() == before
    assert not bait.touched()
    assert not ours() - running
    assert os.listdir(runtime) == ["engine"]


def assert_contained(row: Row, report: Report) -> None:
    told = "\n".join((report.summary, report.feedback, *(t.output for t in report.tests)))
    assert report.verdict in row.verdicts, f"{report.verdict}: {told}"
    assert "got through" not in told
    assert not row.says or any(words in told for words in row.says), told
    for text in (told, *(part for t in report.tests for part in (t.id, t.message, t.details))):
        assert not _CONTROL.search(text), repr(text)
    assert len(report.feedback) < 10_000
