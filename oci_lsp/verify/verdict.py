"""What is asked of a verification and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["passed", "failed", "vacuous", "timed_out", "crashed", "broken"]
Outcome = Literal["passed", "failed", "error", "skipped", "xfailed", "missing"]


@dataclass(frozen=True)
class Snippet:
    """A test that is no pytest node: plain statements with asserts, or `>>>` examples.

    `line` is where it stands in the user's file, 0-based.
    """

    kind: Literal["asserts", "doctest"]
    text: str
    line: int = 0


@dataclass(frozen=True)
class Candidate:
    """The function whose code must be entered for a pass to count.

    `path` is absolute; `lines` are the 0-based first and last line of the function in the text
    that `Run.files` holds for that path, decorators included.
    """

    path: Path
    name: str
    qualname: str
    lines: tuple[int, int]


@dataclass(frozen=True)
class Run:
    """One test run.

    Attributes:
        files: absolute path -> text laid over the project: the candidate and unsaved buffers.
        node_ids: pytest node ids, relative to the root, with forward slashes.
        suite: instead of node ids, whatever pytest collects by the project's own options; files
            that cannot be imported count as tests, and it is told what each test entered.
        snippets: run in the globals of the module at `snippet_path`.
        candidate: what must be entered; None: the run is not about one function.
        original: the text of the candidate's file before the candidate: what it does, the candidate
            may go on to do. None: what is on the disk.
        timeout: seconds from the start of pytest.
        confirm: a pass must hold once more with the tests renamed and in reverse order.
    """

    files: Mapping[Path, str]
    node_ids: tuple[str, ...] = ()
    suite: bool = False
    snippets: tuple[Snippet, ...] = ()
    snippet_path: Path | None = None
    candidate: Candidate | None = None
    original: str | None = None
    timeout: float = 30.0
    confirm: bool = False


@dataclass(frozen=True)
class Place:
    """A line, counted from 0, of the file at an absolute path."""

    path: Path
    line: int


@dataclass(frozen=True)
class TestResult:
    """One test's outcome; `message` is short and leads with the values, `details` has frames.

    `places` are those of the project that a failure's traceback passed, the outermost first.
    `entered` are where the project's functions begin that the test entered, in the order of their
    first calls, its own included; told of a whole suite only.
    """

    __test__ = False

    id: str
    outcome: Outcome
    seconds: float = 0.0
    message: str = ""
    details: str = ""
    output: str = ""
    places: tuple[Place, ...] = ()
    entered: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Report:
    """The verdict on a run.

    Attributes:
        summary: one sentence for the user's eyes.
        feedback: bounded text, the same for the model and for the user; empty when passed.
        flaky: ids of tests that were seen both green and red on this code.
        seconds: wall-clock seconds from the request to the verdict.
    """

    verdict: Verdict
    tests: tuple[TestResult, ...] = ()
    summary: str = ""
    feedback: str = ""
    seconds: float = 0.0
    flaky: tuple[str, ...] = ()
