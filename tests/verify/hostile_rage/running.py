"""A run of one candidate of the tables."""

from __future__ import annotations

from pathlib import Path

from oci_lsp.verify.verdict import Candidate, Run

GOOD = "def add(a, b):\n    return a + b\n"


def a_run(root: Path, text: str, timeout: float = 15.0) -> Run:
    """A run of the text as the project's candidate.py."""
    path = root / "candidate.py"
    return Run(
        files={path: text},
        node_ids=("tests/test_rage.py::test_add",),
        candidate=Candidate(path, "add", "add", (0, text.count("\n"))),
        original=text,  # reaching is allowed here, what comes of it is looked at
        timeout=timeout,
    )
