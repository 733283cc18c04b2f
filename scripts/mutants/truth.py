"""The ground truth: which tests enter a function, and which of them a mutant turns red.

Plain `python -m pytest` in the project's own Python, on a copy of the project; nothing of the
product's verification takes part.
"""

from __future__ import annotations

import ast
import json
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutants.operators import FunctionNode
from mutants.projects import Checkout

_TEST_SECONDS = 30
_RUN_SECONDS = 180
_FULL_SECONDS = 900
_MOST_FAILURES = 25
_MEMORY = 4 << 30
_LINES = """
import json, os, sys, coverage
data = coverage.CoverageData(sys.argv[1])
data.read()
root = os.path.realpath(sys.argv[2])
found = {}
for name in data.measured_files():
    lines = {line: sorted(c for c in contexts if c) for line, contexts in
             data.contexts_by_lineno(name).items()}
    found[os.path.relpath(os.path.realpath(name), root)] = {k: v for k, v in lines.items() if v}
json.dump(found, sys.stdout)
"""


@dataclass(frozen=True)
class Covered:
    """A function that passing tests enter; `path` is relative to the root, `line` counts from 1."""

    path: str
    qualname: str
    line: int
    """The first decorator's, else that of `def`."""
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Outcomes:
    """What one pytest run showed."""

    passed: tuple[str, ...]
    red: tuple[str, ...]
    """Failed, in error, or under way when the run was ended."""
    hung: bool
    broken: bool
    """Nothing could be collected: the mutant cannot be imported."""


def functions(text: str) -> Iterator[tuple[str, FunctionNode]]:
    """(dotted name without `<locals>`, node) of every function, in the text's order."""

    def below(node: ast.AST, prefix: str) -> Iterator[tuple[str, FunctionNode]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, FunctionNode | ast.ClassDef):
                name = f"{prefix}{child.name}"
                if isinstance(child, FunctionNode):
                    yield name, child
                yield from below(child, f"{name}.")
            else:
                yield from below(child, prefix)

    yield from sorted(below(ast.parse(text), ""), key=lambda pair: first_line(pair[1]))


def first_line(node: FunctionNode) -> int:
    """The line of the first decorator or of `def`, from 1."""
    return min([node.lineno, *(d.lineno for d in node.decorator_list)])


class Scratch:
    """A copy of a project in which tests run with a mutant in place."""

    def __init__(self, checkout: Checkout, folder: Path) -> None:
        self._checkout = checkout
        self._home = folder
        self.root = folder / "project"
        folder.mkdir(exist_ok=True)
        shutil.copytree(checkout.root, self.root)
        plugin = folder / "plugin"
        plugin.mkdir()
        shutil.copy(Path(__file__).with_name("outcomes.py"), plugin / "mutants_outcomes.py")
        self._plugin = plugin

    def covered(self) -> list[Covered]:
        """All functions of the project's packages that its passing tests enter, in order."""
        data = self._home / "coverage"
        options = ["--cov-context=test", "--cov-report="]
        options += [f"--cov={name}" for name in self._checkout.project.packages]
        outcomes = self._pytest(options, _FULL_SECONDS, COVERAGE_FILE=str(data))
        passed = frozenset(outcomes.passed)
        command = [str(self._checkout.python), "-c", _LINES, str(data), str(self.root)]
        lines = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return list(entered(self.root, lines, passed))

    def run(self, path: str, text: str, tests: Sequence[str]) -> Outcomes:
        """These tests with `text` in the place of the file at `path`."""
        place = self.root / path
        original = place.read_bytes()
        arguments = self._home / "tests.txt"
        arguments.write_text("\n".join(tests))
        place.write_bytes(text.encode())
        try:
            options = [f"--timeout={_TEST_SECONDS}", "--timeout-method=signal"]
            options += [f"--maxfail={_MOST_FAILURES}", f"@{arguments}"]
            return self._pytest(options, _RUN_SECONDS)
        finally:
            place.write_bytes(original)

    def _pytest(self, options: Sequence[str], seconds: float, **more: str) -> Outcomes:
        log = self._home / "outcomes.jsonl"
        log.write_text("")
        command = [*("nice", str(self._checkout.python), "-m", "pytest", "-q", "--no-header")]
        command += ["-p", "no:cacheprovider", "-p", "mutants_outcomes", *options]
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(self._plugin),
            "MUTANTS_OUTCOMES": str(log),
            **more,
        }
        hung = False
        process = subprocess.Popen(
            command,
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_bounded,
            start_new_session=True,
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            hung = True
            os.killpg(process.pid, 9)
            process.wait()
        return outcomes(log.read_text(), ended=not hung and process.returncode in (0, 1))


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def entered(
    root: Path, lines: dict[str, dict[str, list[str]]], passed: frozenset[str]
) -> Iterator[Covered]:
    """From coverage's contexts by file and line to functions; tests and their files left out."""
    for path in sorted(lines):
        parts = Path(path).parts
        if "tests" in parts or parts[0] == ".." or not path.endswith(".py"):
            continue
        for qualname, node in functions((root / path).read_text("utf-8")):
            inside = range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1)
            contexts = {c for line in inside for c in lines[path].get(str(line), ())}
            tests = {context.rpartition("|")[0] for context in contexts} & passed
            if tests:
                yield Covered(path, qualname, first_line(node), tuple(sorted(tests)))


def outcomes(log: str, *, ended: bool) -> Outcomes:
    """What the plugin's lines say; without `ended` a test that began and did not end is red."""
    passed: dict[str, None] = {}
    red: dict[str, None] = {}
    open_tests: dict[str, None] = {}
    broken = False
    for row in log.splitlines():
        when, node_id, outcome = json.loads(row)
        if when == "collect":
            broken = True
        elif when == "start":
            open_tests[node_id] = None
        else:
            if outcome == "failed":
                red[node_id] = None
            elif outcome == "passed" and when == "call":
                passed[node_id] = None
            if when == "teardown":
                open_tests.pop(node_id, None)
    if not ended:
        red.update(open_tests)
    return Outcomes(
        passed=tuple(test for test in passed if test not in red),
        red=tuple(red),
        hung=not ended and not broken,
        broken=broken,
    )


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """Where a project's copy lives as long as it is worked on."""
    return tempfile.TemporaryDirectory(prefix="oci-mutants-")


def as_json(covered: Sequence[Covered]) -> list[dict[str, Any]]:
    """For the folder of partial results."""
    return [
        {"path": c.path, "qualname": c.qualname, "line": c.line, "tests": list(c.tests)}
        for c in covered
    ]


def from_json(rows: Sequence[dict[str, Any]]) -> list[Covered]:
    """The reverse of `as_json`."""
    return [Covered(r["path"], r["qualname"], r["line"], tuple(r["tests"])) for r in rows]
