"""Fixing all that fails: the suite once, then a job on one suspect after the other.

A repair counts when the failing tests that blame the function pass, and with them all tests that
passed so far. The next job works on top of it, as on an unsaved buffer; nothing is written.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oci_lsp.errors import OciError, TargetError
from oci_lsp.refine.coverage import spectra
from oci_lsp.refine.session import Session
from oci_lsp.refine.suspects import Named, Spectrum, suspects
from oci_lsp.refine.task import (
    Attempt,
    Event,
    Observer,
    Outcome,
    Result,
    Stage,
    Suspected,
    Task,
    counted,
    unified_diff,
)
from oci_lsp.refine.today import EndError
from oci_lsp.source.functions import feedback_lines, parse
from oci_lsp.source.testfiles import find_test_paths
from oci_lsp.verify.verdict import Report, TestResult

# Functions that are tried for one failing test: beyond the third suspect the ranking is a guess.
_SUSPECTS = 3
# Failing tests of one job at most: each candidate runs them.
_TESTS = 40
_NAMED = 3


@dataclass(frozen=True)
class Change:
    """A file with all of its repairs; `old` is what it was before the first."""

    path: Path
    old: str
    new: str


@dataclass(frozen=True)
class Repair:
    """The job on one function; its task names the failing tests that it was to make pass."""

    task: Task
    result: Result

    @property
    def function(self) -> str:
        """Its qualified name."""
        return self.task.label


@dataclass(frozen=True)
class SuiteResult:
    """How it ended: `whole` tells of all jobs together, its diff of all files.

    `changes` are verified together, whatever the outcome; `failing` are the tests that still fail.
    """

    whole: Result
    changes: tuple[Change, ...] = ()
    repairs: tuple[Repair, ...] = ()
    failing: tuple[TestResult, ...] = ()

    def as_json(self, root: Path) -> dict[str, Any]:
        """The object that `--json` prints: that of one job, and `functions` and `failing`."""
        return self.whole.as_json() | {
            "functions": [
                {
                    "path": repair.task.path.relative_to(root).as_posix(),
                    "function": repair.function,
                    "outcome": repair.result.outcome,
                    "tests": list(repair.task.tests),
                    "attempts": len(repair.result.attempts),
                    "message": repair.result.message,
                }
                for repair in self.repairs
            ],
            "failing": [{"test": test.id, "message": test.message} for test in self.failing],
        }


async def fix_failing(
    session: Session,
    observe: Observer,
    *,
    scope: Path | None = None,
    buffers: Mapping[Path, str] | None = None,
    finished: Callable[[SuiteResult], None] = lambda result: None,
) -> SuiteResult:
    """Run the suite and repair, one by one, the functions that its failing tests blame.

    Every failure becomes an outcome: `passed` (all is green now), `already_passing`, `failed`
    (something still fails), `no_test`, `broken_test`, `error`. `finished` is given the result on
    every way out, a cancellation's too.

    Args:
        scope: a file or a folder (a real path); only functions in it are touched, and only tests
            that lie in it or enter one of these functions count.
        buffers: unsaved texts by real path.

    Raises:
        asyncio.CancelledError: the caller cancelled; the model and the kernels were stopped.
    """
    work = _Work(session, observe, scope, dict(buffers or {}))
    result: SuiteResult | None = None
    try:
        result = await work.run()
    except EndError as end:
        result = work.result(end.outcome, str(end))
    except OciError as error:
        result = work.result("error", str(error))
    finally:
        finished(result or work.result("cancelled", "Cancelled: all files are as they were."))
    return result


class _Work:
    """The state of one call of `fix_failing`; `run` is the loop, the other methods its steps."""

    def __init__(
        self, session: Session, observe: Observer, scope: Path | None, buffers: dict[Path, str]
    ) -> None:
        self.session = session
        self.root = session.root
        self.observe = observe
        self.scope = None if scope == self.root else scope
        # Unsaved texts, those of our own repairs on top.
        self.texts = buffers
        self.old: dict[Path, str] = {}
        self.started = time.monotonic()
        self.known: tuple[str, ...] = ()
        self.spectra: dict[str, Spectrum] = {}
        self.red: dict[str, TestResult] = {}
        self.green: dict[str, None] = {}
        self.elsewhere: tuple[str, ...] = ()
        self.unreached = ""
        # Functions that a job on a test could not help.
        self.cleared: dict[str, set[Named]] = defaultdict(set)
        self.repairs: list[Repair] = []

    async def run(self) -> SuiteResult:
        while True:
            await self.survey()
            repaired = False
            while choice := self.choice():
                repaired |= await self.repair(*choice)
            # A test that hung, or brought its process down, hid those after it.
            if not (repaired and self.unreached):
                return self.concluded()

    async def survey(self) -> None:
        """Run the suite on the present texts; find out what each test entered."""
        self.observe(Stage("suite"))
        report = await self.session.run_suite(self.texts)
        await asyncio.to_thread(self.check, report)
        self.known = tuple(test.id for test in report.tests)
        self.spectra = await asyncio.to_thread(spectra, self.root, report, self.texts, self.scope)
        red = {test.id: test for test in report.tests if test.outcome in ("failed", "error")}
        self.elsewhere = tuple(name for name in red if not self.concerns(name))
        self.red = {name: test for name, test in red.items() if name not in self.elsewhere}
        self.green |= {test.id: None for test in report.tests if test.outcome == "passed"}
        self.green = {name: None for name in self.green if name not in red}
        missing = sum(test.outcome == "missing" for test in report.tests)
        self.unreached = f" {counted(missing, 'test')} not reached: {report.summary}" * bool(
            missing
        )

    def concerns(self, test: str) -> bool:
        """Whether the scope holds the test, or a function that the test entered."""
        path = self.root / test.partition("::")[0]
        inside = self.scope is None or path.is_relative_to(self.scope)
        return inside or bool(self.spectra[test].entered)

    def check(self, report: Report) -> None:
        """The suite could be run.

        Raises:
            EndError: there is none, or pytest itself failed.
        """
        if report.tests:
            return
        if not any(find_test_paths(self.root, self.texts)):
            raise EndError("no_test", f"There are no tests in {self.root}.")
        raise EndError("broken_test", f"The test suite cannot be run: {report.summary}")

    def choice(self) -> tuple[Named, tuple[str, ...]] | None:
        """The likeliest suspect, and the failing tests that blame it first; None: none is left."""
        green = [name for name in self.green if name in self.spectra]
        scores: dict[Named, float] = {}
        blaming: dict[Named, list[str]] = defaultdict(list)
        for test, ranked in suspects(self.spectra, self.red, green).items():
            cleared = self.cleared[test]
            left = [suspect for suspect in ranked if suspect.function not in cleared]
            if left and len(cleared) < _SUSPECTS:
                scores[left[0].function] = left[0].score
                blaming[left[0].function].append(test)
        if not scores:
            return None
        first = max(scores, key=lambda function: (scores[function], len(blaming[function])))
        return first, tuple(blaming[first][:_TESTS])

    async def repair(self, function: Named, tests: tuple[str, ...]) -> bool:
        """Work on a function; whether it was repaired, for some of the tests at least."""
        done = await self.job(function, tests)
        self.settle(function, tests, done)
        some = _turned_green(done, tests)
        if done.outcome != "failed" or not some:
            return done.outcome == "passed"
        # Other tests, which another function fails, must not stand in the way of these.
        done = await self.job(function, some)
        self.settle(function, some, done)
        return done.outcome == "passed"

    async def job(self, function: Named, tests: tuple[str, ...]) -> Result:
        """The ordinary job, on top of what was repaired before.

        Raises:
            OciError: no job can be done: there is no engine, say.
        """
        text = await asyncio.to_thread(self.text, function.path)
        module = await asyncio.to_thread(parse, text)
        target = module.named(function.qualname)
        if target is None:
            return Result("stale", f"{function.qualname} is no longer in {function.path.name}.")
        task = Task(
            root=self.root,
            path=function.path,
            module=module,
            target=target,
            kind="generate" if module.is_stub(target) else "fix",
            tests=tests,
            feedback=feedback_lines(module, target),
            buffers={path: text for path, text in self.texts.items() if path != function.path},
            green=_selected(self.green, self.known),
        )

        def observe(event: Event) -> None:
            self.observe(replace(event, label=task.label) if isinstance(event, Stage) else event)

        self.observe(Suspected(task.label, tests))
        result = await self.session.run(task, observe, self.session.new_job_id())
        self.repairs.append(Repair(task, result))
        if result.outcome == "error":
            raise OciError(result.message)
        if result.text is not None:
            self.old.setdefault(function.path, text)
            self.texts[function.path] = result.text
        return result

    def text(self, path: Path) -> str:
        """A file's text without its byte-order mark, line ends as they are.

        Raises:
            TargetError: it cannot be read.
        """
        if path in self.texts:
            return self.texts[path]
        try:
            return path.read_bytes().decode("utf-8").removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
        except (OSError, UnicodeDecodeError) as error:
            raise TargetError(f"{path} cannot be read: {error}") from None

    def settle(self, function: Named, tests: Iterable[str], done: Result) -> None:
        """What a job's end tells of the tests."""
        for test in tests:
            if done.outcome in ("passed", "already_passing"):
                del self.red[test]
                self.green[test] = None
            else:
                self.cleared[test].add(function)

    # -- the end ---------------------------------------------------------------------------

    def concluded(self) -> SuiteResult:
        repaired = self.repaired()
        words = f"{counted(len(repaired), 'function')} repaired ({_listed(repaired)})"
        if self.red or self.unreached:
            failing = _listed([self.why(test) for test in self.red.values()])
            parts = [f"{words}."] * bool(repaired) + [f"Still failing: {failing}."] * bool(failing)
            return self.result("failed", (" ".join(parts) + self.besides()).strip())
        passing = counted(len(self.green), "test")
        if repaired:
            return self.result("passed", f"{words}; {passing} passed.{self.besides()}")
        where = f" No failing test enters a function of {self.scope.name}." if self.scope else ""
        return self.result("already_passing", f"{passing} passed.{where}{self.besides()}")

    def repaired(self) -> list[str]:
        done = (repair for repair in self.repairs if repair.result.outcome == "passed")
        return list(dict.fromkeys(repair.function for repair in done))

    def why(self, test: TestResult) -> str:
        if self.spectra[test.id].entered:
            return test.id
        return f"{test.id} (it entered no function that may be changed)"

    def besides(self) -> str:
        """What the user should know beside it, sentences with a space before each."""
        other = f" Failing elsewhere: {_listed(self.elsewhere)}." if self.elsewhere else ""
        return other + self.unreached

    def result(self, outcome: Outcome, message: str) -> SuiteResult:
        """The result with all that was repaired so far."""
        changes = tuple(Change(path, old, self.texts[path]) for path, old in self.old.items())
        attempts: list[Attempt] = []
        for repair in self.repairs:
            attempts += repair.result.attempts
        whole = Result(
            outcome=outcome,
            message=message,
            attempts=tuple(attempts),
            diff="".join(
                unified_diff(change.path.relative_to(self.root).as_posix(), change.old, change.new)
                for change in changes
            ),
            tests=tuple(dict.fromkeys(test for one in self.repairs for test in one.task.tests)),
            model=next((one.result.model for one in self.repairs if one.result.model), ""),
            seconds=time.monotonic() - self.started,
        )
        return SuiteResult(whole, changes, tuple(self.repairs), tuple(self.red.values()))


def _turned_green(result: Result, tests: Collection[str]) -> tuple[str, ...]:
    """Those tests, some but not all, that the best attempt passed; else none."""
    best = max((set(a.green).intersection(tests) for a in result.attempts), key=len, default=set())
    return tuple(test for test in tests if test in best) if len(best) < len(tests) else ()


def _selected(green: Collection[str], known: Iterable[str]) -> tuple[str, ...]:
    """Node ids of the green tests, a file or a function whose tests are all green as one."""
    other = {name for test in known if test not in green for name in _around(test)}
    chosen = (next(n for n in _around(test) if n not in other) for test in green)
    return tuple(dict.fromkeys(chosen))


def _around(test: str) -> tuple[str, ...]:
    """The file's, the function's and the test's own node id."""
    whole = test.partition("[")[0]
    return whole.partition("::")[0], whole, test


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:_NAMED])
    more = len(names) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown
