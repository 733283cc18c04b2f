"""One candidate: spliced into a copy of the file, tested there, and held against other tests."""

from __future__ import annotations

import asyncio
import builtins
import keyword
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oci_lsp.errors import RejectedReplyError
from oci_lsp.refine.task import Observer, Stage, Task, Verdict, Verifier
from oci_lsp.settings import Settings, read_pyproject
from oci_lsp.source.functions import Function, Span
from oci_lsp.source.generated import wanted_name as named_in
from oci_lsp.source.lines import Lines
from oci_lsp.source.splice import Spliced, splice
from oci_lsp.source.tests import Selection, find_tests, referencing_tests
from oci_lsp.verify.verdict import Candidate, Report, Run, Snippet, TestResult

# Failing tests that a prompt tells of.
FAILURES = 3
# Candidates that loop for ever come in families, and each would be waited for. Once one has used up
# the time-out, the others get this part of it, or these seconds, or so many times what today's code
# took, whichever is most.
_PATIENCE = 0.25
_LEAST_SECONDS = 5.0
_TIMES_TODAYS = 4.0

_CALLED = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\s*\(")


@dataclass(frozen=True)
class Trial:
    """What became of a candidate; `text` is the whole file with it, "" where it was rejected."""

    verdict: Verdict
    summary: str
    feedback: str
    brief: str
    code: str
    seconds: float = 0.0
    text: str = ""
    passed_tests: int = 0
    regressions: tuple[str, ...] = field(default=())
    unchanged: bool = False


def wanted_name(task: Task, selection: Selection) -> str:
    """The name of the function to write: its own, the comment's, or what its examples call."""
    if isinstance(task.target, Function):
        return task.target.name
    if named := named_in(task.target):
        return named
    for snippet in selection.snippets:
        for called in _CALLED.finditer(snippet.text):
            if not (hasattr(builtins, called.group(1)) or keyword.iskeyword(called.group(1))):
                return called.group(1)
    return ""


def brief(report: Report) -> str:
    """How a run failed, for the model: what was called, what came, what was expected.

    The whole feedback, with frames and diffs, is for people: a small model finds the values in this
    sooner, and every token of a prompt is waited for.
    """
    failed = [test for test in report.tests if test.outcome != "passed" and test.message]
    lines = [f"{test.id.rpartition('::')[2]}: {test.message}" for test in failed[:FAILURES]]
    if len(failed) > FAILURES:
        lines.append(f"({len(failed) - FAILURES} more failed)")
    return "\n".join(lines) or report.summary


def _covers(selected: str, test: str) -> bool:
    """Whether a selected node id (a file, a class, a test) holds the other."""
    return test == selected or test.startswith((f"{selected}::", f"{selected}["))


class Trials:
    """Runs candidates of one task; equal ones once."""

    def __init__(
        self, task: Task, verifier: Verifier, settings: Settings, observe: Observer
    ) -> None:
        self.task = task
        self.selection = Selection((), (), "none")
        self._verifier = verifier
        self._verify = settings.verify
        self._regression_seconds = settings.refine.regression_seconds
        self._observe = observe
        self._seen: dict[str, Trial] = {}
        self._spliced: dict[str, Spliced] = {}
        self._hung = False
        self._todays_seconds = 0.0
        self._green_before: dict[str, bool] | None = None
        self._others: tuple[str, ...] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The selected tests for the user's eyes; lines count from 1."""
        given = self.selection.origin == "request"
        snippets = (
            f"the {item.kind} given" if given else f"{item.kind} in line {item.line + 1}"
            for item in self.selection.snippets
        )
        return (*self.selection.node_ids, *snippets)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that a run imports first: a standby kernel loads ahead what they need."""
        tests = (self.task.root / name.partition("::")[0] for name in self.selection.node_ids)
        return tuple(dict.fromkeys((self.task.path, *tests)))

    def select(self) -> Selection:
        """Find the test.

        Raises:
            TestsError: the user named one that does not exist.
        """
        pins = read_pyproject(self.task.root)[0].get("tests", {})
        self.selection = find_tests(
            self.task.root,
            self.task.path,
            self.task.module,
            self.task.target,
            requested=self.task.tests,
            pins=pins if isinstance(pins, Mapping) else {},
            buffers=self.task.buffers,
        )
        return self.selection

    async def baseline(self) -> Report | None:
        """The test on today's code; None where nothing can be run yet (a nameless comment)."""
        target = self.task.target
        if isinstance(target, Function):
            candidate = self._candidate(
                self.task.module.text, target.span, target.name, target.qualname
            )
            return await self._todays(self._run(self.task.module.text, candidate))
        name = wanted_name(self.task, self.selection)
        if not name:
            return None
        stub = f"def {name}(*args, **kwargs):\n    raise NotImplementedError\n"
        try:
            spliced = await asyncio.to_thread(
                splice, self.task.module, target, f"```python\n{stub}```", keep_signature=False
            )
        except RejectedReplyError:
            return None
        return await self._todays(self._run(spliced.text, self._spliced_candidate(spliced)))

    async def _todays(self, run: Run) -> Report:
        report = await self._verifier.run(run)
        self._todays_seconds = report.seconds
        return report

    def seen(self, reply: str) -> bool:
        """Whether this reply's code was tried before."""
        try:
            return self._splice(reply).text in self._seen
        except RejectedReplyError:
            return False

    async def examine(self, reply: str, stage: Stage) -> Trial:
        """Splice and test a reply; a repeated candidate gets its earlier verdict.

        Raises:
            OciError: the kernel could not be started.
        """
        try:
            spliced = await asyncio.to_thread(self._splice, reply)
        except RejectedReplyError as error:
            return Trial("rejected", error.message, str(error), str(error), reply.strip())
        if spliced.text in self._seen:
            return self._seen[spliced.text]
        if spliced.text == self.task.module.text:
            summary = "the function is unchanged"
            words = f"{summary}, and it is wrong"
            trial = Trial("rejected", summary, words, words, spliced.code, unchanged=True)
        else:
            self._observe(stage)
            trial = await self._test(spliced, stage)
        self._seen[spliced.text] = trial
        return trial

    def _splice(self, reply: str) -> Spliced:
        # The user's words may ask for another signature; without them it stays.
        keep = not self.task.feedback
        if reply not in self._spliced:
            module, target = self.task.module, self.task.target
            self._spliced[reply] = splice(module, target, reply, keep_signature=keep)
        return self._spliced[reply]

    async def _test(self, spliced: Spliced, stage: Stage) -> Trial:
        started = time.monotonic()
        run = self._run(spliced.text, self._spliced_candidate(spliced))
        report = await self._verifier.run(run)
        self._hung = self._hung or report.verdict == "timed_out"
        verdict: Verdict = "failed" if report.verdict == "broken" else report.verdict
        summary, feedback, short = report.summary, report.feedback, brief(report)
        regressions: tuple[str, ...] = ()
        if verdict == "passed":
            other = await self._regressions(spliced, stage)
            if other is not None:
                verdict = "regressed"
                regressions = tuple(test.id for test in other.tests)
                summary = "other tests turned red: " + ", ".join(regressions)
                feedback = f"The test passes, but {summary}.\n{other.feedback}"
                short = f"The test passes, but other tests turned red:\n{brief(other)}"
        return Trial(
            verdict=verdict,
            summary=summary,
            feedback=feedback,
            brief=short,
            code=spliced.code,
            seconds=time.monotonic() - started,
            text=spliced.text,
            passed_tests=sum(test.outcome == "passed" for test in report.tests),
            regressions=regressions,
        )

    async def _regressions(self, spliced: Spliced, stage: Stage) -> Report | None:
        """The report of the other tests if any of them was green before and is not now.

        The report's `tests` are then just those that turned red.
        """
        others = await asyncio.to_thread(self._other_tests)
        if not others:
            return None
        self._observe(Stage("regressions", stage.attempt, stage.of, stage.turn))
        run = self._run(spliced.text, None, node_ids=others, seconds=self._regression_seconds)
        report = await self._verifier.run(run)
        if report.verdict in ("passed", "vacuous"):
            return None
        if self._green_before is None:
            # Only now is it worth knowing which of them were green at all.
            before = await self._verifier.run(
                self._run(
                    self.task.module.text, None, node_ids=others, seconds=self._regression_seconds
                )
            )
            self._green_before = {test.id: test.outcome == "passed" for test in before.tests}
        now = {test.id: test for test in report.tests}
        turned = tuple(
            now[name]
            for name, green in self._green_before.items()
            if green and name in now and now[name].outcome != "passed"
        )
        turned += tuple(
            TestResult(name, "missing", message="it is no longer collected")
            for name, green in self._green_before.items()
            if green and name not in now
        )
        if not turned:
            return None
        return Report(
            verdict="failed",
            tests=turned,
            summary=report.summary,
            feedback=report.feedback,
            seconds=report.seconds,
        )

    def _other_tests(self) -> tuple[str, ...]:
        if self._others is None:
            target = self.task.target
            self._others = ()
            if isinstance(target, Function) and self._regression_seconds > 0:
                found = referencing_tests(
                    self.task.root,
                    self.task.path,
                    self.task.module,
                    target,
                    buffers=self.task.buffers,
                )
                self._others = tuple(
                    test
                    for test in found
                    if not any(_covers(chosen, test) for chosen in self.selection.node_ids)
                )
        return self._others

    def _spliced_candidate(self, spliced: Spliced) -> Candidate:
        return self._candidate(spliced.text, spliced.function, spliced.name, spliced.qualname)

    def _candidate(self, text: str, span: Span, name: str, qualname: str) -> Candidate:
        lines = Lines(text)
        rows = lines.row(span.start), lines.row(span.end)
        return Candidate(self.task.path, name, qualname, rows)

    def _run(
        self,
        text: str,
        candidate: Candidate | None,
        *,
        node_ids: tuple[str, ...] | None = None,
        seconds: float | None = None,
    ) -> Run:
        files: dict[Path, str] = {**self.task.buffers, self.task.path: text}
        own = node_ids is None
        return Run(
            files=files,
            node_ids=self.selection.node_ids if node_ids is None else node_ids,
            snippets=tuple(
                Snippet(item.kind, item.text, item.line) for item in self.selection.snippets if own
            ),
            snippet_path=self.task.path,
            candidate=candidate,
            original=self.task.module.text,
            timeout=self._timeout() if seconds is None else seconds,
        )

    def _timeout(self) -> float:
        whole = self._verify.timeout
        if not self._hung:
            return whole
        least = max(_LEAST_SECONDS, whole * _PATIENCE, self._todays_seconds * _TIMES_TODAYS)
        return min(whole, least)
