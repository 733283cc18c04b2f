"""A verification in another place: inside a sandbox, without user namespaces, on odd file systems.

`python -m tests.verify.elsewhere ROOT` verifies in the project and prints what came of it as JSON;
`run` starts it behind a prefix that makes the place.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from oci_lsp.errors import OciError
from oci_lsp.settings import VerifySettings
from oci_lsp.verify import sandbox
from oci_lsp.verify.pool import Verifier
from oci_lsp.verify.verdict import Candidate, Run

BWRAP = str(sandbox.find_bwrap()[-1])
GOOD = "def add(a, b):\n    return a + b\n"
# A process whose user namespace forbids further ones, and sees and may do what its parent did.
FORBIDDEN = (BWRAP, "--dev-bind", "/", "/", "--unshare-user", "--disable-userns", "--")


def under_overlays(root: Path, count: int) -> tuple[str, ...]:
    """A prefix for a process that sees the root under so many overlays."""
    folder = str(root)
    one = (BWRAP, "--dev-bind", "/", "/", "--overlay-src", folder, "--tmp-overlay", folder, "--")
    return one * count


def run(
    prefix: tuple[str, ...], root: Path, *, isolation: str = "ask", agree: bool | None = None
) -> dict[str, Any]:
    """What a verification of the right candidate comes to behind the prefix."""
    words = json.dumps({"isolation": isolation, "agree": agree})
    ended = subprocess.run(
        [*prefix, sys.executable, "-m", "tests.verify.elsewhere", str(root), words],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert isinstance(told, dict)
    return told


def can(prefix: tuple[str, ...]) -> bool:
    """Whether this machine can make the place."""
    return subprocess.run([*prefix, "true"], capture_output=True).returncode == 0


async def _verify(root: Path, words: dict[str, Any]) -> dict[str, Any]:
    asked: list[str] = []

    async def consent(question: str) -> bool:
        asked.append(question)
        return bool(words["agree"])

    settings = VerifySettings(standby=0, isolation=words["isolation"])
    path = root / "calc.py"
    verifier = Verifier(root, settings, consent=None if words["agree"] is None else consent)
    told: dict[str, Any] = {"asked": asked, "error": "", "verdict": ""}
    async with verifier:
        try:
            report = await verifier.run(
                Run(
                    files={path: GOOD},
                    node_ids=("tests/test_calc.py::test_add",),
                    candidate=Candidate(path, "add", "add", (0, 2)),
                )
            )
            told |= {"verdict": report.verdict, "feedback": report.feedback}
        except OciError as error:
            told |= {"error": type(error).__name__, "message": error.message}
            told |= {"advice": error.advice}
            return told
        told |= {"isolation": verifier.isolation, "note": verifier.note}
        told |= {"advice": verifier.advice, "pid": os.getpid()}
    return told


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_verify(Path(sys.argv[1]), json.loads(sys.argv[2])))))
