"""From a supervisor's judgement to the report that callers see."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oci_lsp.verify import feedback
from oci_lsp.verify.verdict import Place, Report, Run, TestResult

_PLACED = ("places", "entered")
# A snippet's name, as a frame's and as a test's, tells where it begins in the user's file.
_FRAME = re.compile(r"snippet .*\(line (\d+)\)")
_TEST = re.compile(r".*::(?:asserts|doctest) \d+ \(line (\d+)\)")


def report(judgement: Mapping[str, Any], run: Run, root: Path, seconds: float) -> Report:
    """The report on a run that took so many wall-clock seconds."""
    functions = [Place(Path(name), line) for name, line in judgement["functions"]]
    tests = tuple(_test(test, functions, run, root) for test in judgement["tests"])
    summary, verdict = judgement["summary"], judgement["verdict"]
    if verdict == "passed":
        return Report("passed", tests, summary, "", seconds)
    printed = judgement["printed"] if verdict in ("crashed", "broken") else ""
    text = feedback.compose(summary, tests, printed)
    return Report(verdict, tests, summary, text, seconds, tuple(judgement.get("flaky", ())))


def _test(test: Mapping[str, Any], functions: Sequence[Place], run: Run, root: Path) -> TestResult:
    names = [field.name for field in dataclasses.fields(TestResult) if field.name not in _PLACED]
    places = tuple(_places(test["places"], run, root))
    snippet = _TEST.fullmatch(test["id"])
    if snippet and run.snippet_path and (not places or "::doctest " in test["id"]):
        # The frames of a doctest's examples are doctest's own.
        places = (Place(run.snippet_path, int(snippet[1]) - 1), *places)
    entered = tuple(functions[number] for number in test["entered"])
    return TestResult(**{name: test[name] for name in names}, places=places, entered=entered)


def _places(frames: list[tuple[str, int]], run: Run, root: Path) -> Iterator[Place]:
    for name, line in frames:
        snippet = _FRAME.fullmatch(name)
        if snippet and run.snippet_path:
            yield Place(run.snippet_path, int(snippet[1]) + line - 2)
        elif not name.startswith(("<", "snippet ")) and (root / name).is_relative_to(root):
            yield Place(root / name, line - 1)
