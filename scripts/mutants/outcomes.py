"""A pytest plugin that writes every outcome down at once: a run that hangs keeps what it showed.

Loaded by name into the project's own Python, so it imports nothing of ours.
"""

import json
import os


def _write(*row: str) -> None:
    with open(os.environ["MUTANTS_OUTCOMES"], "a", encoding="utf-8") as file:  # noqa: PTH123
        file.write(json.dumps(row) + "\n")


def pytest_runtest_logstart(nodeid: str) -> None:
    """A test began."""
    _write("start", nodeid, "")


def pytest_runtest_logreport(report) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    """A phase or a subtest ended."""
    _write(report.when, report.nodeid, report.outcome)


def pytest_collectreport(report) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    """A file could not be collected."""
    if report.failed:
        _write("collect", report.nodeid, "failed")
