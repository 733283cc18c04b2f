"""The rows that hold without a sandbox, run where none can be had: behind `PREFIX`, as a program.

`python -m tests.verify.hostile_rage.reduced ROOT` prints what came of each row as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from oci_lsp.settings import VerifySettings
from oci_lsp.verify.pool import Verifier
from oci_lsp.verify.verdict import Report
from tests.verify.elsewhere import BWRAP
from tests.verify.hostile_rage.reach import RAGE
from tests.verify.hostile_rage.rows import MEMORY_MB, PROCESSES
from tests.verify.hostile_rage.running import GOOD, a_run

ROWS = tuple(row for row in RAGE if row.reduced)
# No further user namespaces in it; and whatever goes wrong, no process outlives it.
PREFIX = (
    *(BWRAP, "--dev-bind", "/", "/", "--unshare-user", "--disable-userns"),
    *("--unshare-pid", "--proc", "/proc", "--die-with-parent", "--"),
)


def _told(report: Report) -> dict[str, Any]:
    output = "\n".join(test.output for test in report.tests)
    told = "\n".join((report.summary, report.feedback, output))
    return {"verdict": report.verdict, "told": told}


def _others() -> list[str]:
    """Every process of this pid namespace but the first, this one, and what has ended."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) not in (1, os.getpid()):
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                found += [] if state in "ZX" else [(entry / "cmdline").read_text()[:200]]
            except OSError:
                continue
    return found


async def _main(root: Path) -> list[dict[str, Any]]:
    settings = VerifySettings(
        standby=0, memory_mb=MEMORY_MB, processes=PROCESSES, isolation="reduced"
    )
    results = []
    # A copy ends where the project's folder does: what a row says of the home is for a sandbox.
    bait: dict[str, object] = {"home": "/nowhere", "folder": "/nowhere"}
    for row in ROWS:
        async with Verifier(root, settings) as verifier:
            bad = await verifier.run(a_run(root, row.text(bait), row.timeout))
            asked = time.monotonic()
            honest = await verifier.run(a_run(root, GOOD))
            waited = time.monotonic() - asked
            assert verifier.isolation == "reduced"
        result = {"name": row.name, "bad": _told(bad), "honest": _told(honest), "waited": waited}
        runtime = os.listdir(os.environ["OCI_LSP_RUNTIME_DIR"])
        results.append({**result, "left": _others(), "runtime": runtime})
    return results


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_main(Path(sys.argv[1])))))
