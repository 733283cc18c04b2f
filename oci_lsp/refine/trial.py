"""One candidate: spliced into a copy of the file, tested there, and held against other tests."""

from __future__ import annotations

import asyncio
import builtins
import keyword
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from oci_lsp.errors import RejectedReplyError
from oci_lsp.refine.regressions import Regressions, covers
from oci_lsp.refine.runs import Runs
from oci_lsp.refine.task import Observer, Stage, Task, Verdict, Verifier
from oci_lsp.settings import Settings, read_pyproject
from oci_lsp.source.feedback import code_of, named_tests
from oci_lsp.source.functions import Function
from oci_lsp.source.generated import wanted_name as named_in
from oci_lsp.source.lines import normalise
from oci_lsp.source.splice import Spliced, splice
from oci_lsp.source.tests import Selection, find_tests
from oci_lsp.verify.verdict import Report, Run

_CALLED = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\s*\(")


@dataclass(frozen=True)
class Trial:
    """What became of a candidate; `text` is the whole file with it, "" where it was rejected."""

    verdict: Verdict
    summary: str
    feedback: str
    code: str
    seconds: float = 0.0
    text: str = ""
    green: tuple[str, ...] = ()
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


def select(task: Task) -> Selection:
    """The tests that decide about a task, with those that the user's words name; may be empty.

    Raises:
        TestsError: the user named one that does not exist.
    """
    found, named = _find(task, task.tests), named_in_words(task)
    if named.empty:
        return found
    return Selection(
        tuple(dict.fromkeys((*found.node_ids, *named.node_ids))),
        (*found.snippets, *named.snippets),
        "request" if found.empty else found.origin,
    )


def named_in_words(task: Task) -> Selection:
    """The tests that the user's words to the model name.

    Raises:
        TestsError: one of them does not exist.
    """
    named = named_tests(task.feedback)
    return _find(task, named) if named else Selection((), (), "none")


def _find(task: Task, requested: Sequence[str]) -> Selection:
    pins = read_pyproject(task.root)[0].get("tests", {})
    return find_tests(
        task.root,
        task.path,
        task.module,
        task.target,
        requested=requested,
        pins=pins if isinstance(pins, Mapping) else {},
        buffers=task.buffers,
    )


class Trials:
    """Runs candidates of one task; equal ones once."""

    def __init__(
        self, task: Task, verifier: Verifier, settings: Settings, observe: Observer
    ) -> None:
        self.task = task
        self._verifier = verifier
        self._runs = Runs(task, settings.verify)
        self._others = Regressions(task, verifier, self._runs, settings.refine)
        self._observe = observe
        self._seen: dict[str, Trial] = {}
        self._spliced: dict[str, Spliced | RejectedReplyError] = {}
        self._today: Run | None = None
        self._told = False

    @property
    def selection(self) -> Selection:
        """The tests that decide; empty before `select`."""
        return self._runs.selection

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know beside the last verdict, a sentence each."""
        return self._others.notes

    @property
    def labels(self) -> tuple[str, ...]:
        """The selected tests for the user's eyes; lines count from 1."""
        snippets = (
            f"the {item.kind} given" if item.given else f"{item.kind} in line {item.line + 1}"
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
        self._runs.selection = select(self.task)
        return self.selection

    def leave_out_skipped(self, report: Report) -> tuple[str, ...]:
        """Deselect those found tests that today's code has skipped; says which, with the reason.

        They can tell nothing, and no candidate can make them pass. A test that the user named
        stays, and so does the selection where nothing else is in it.
        """
        skipped = {t.id: t for t in report.tests if t.outcome in ("skipped", "xfailed")}
        if not skipped or self.selection.origin not in ("reference", "docstring"):
            return ()
        kept: list[str] = []
        for chosen in self.selection.node_ids:
            own = [test.id for test in report.tests if covers(chosen, test.id)]
            left = [name for name in own if name not in skipped]
            kept += [chosen] if len(left) == len(own) else left
        if not kept and not self.selection.snippets:
            return ()
        self._runs.selection = replace(self.selection, node_ids=tuple(kept))
        return tuple(
            f"{name} ({'expected to fail' if test.outcome == 'xfailed' else test.message})"
            for name, test in skipped.items()
        )

    async def baseline(self) -> Report | None:
        """The test on today's code; None where nothing can be run yet (a nameless comment)."""
        target = self.task.target
        if isinstance(target, Function):
            text = self.task.module.text
            return await self._on_today(
                self._runs.today(
                    text, self._runs.of(text, target.span, target.name, target.qualname)
                )
            )
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
        found = self._runs.of(spliced.text, spliced.function, spliced.name, spliced.qualname)
        return await self._on_today(self._runs.today(spliced.text, found))

    async def _on_today(self, run: Run) -> Report:
        self._today = run
        report = await self._run(run)
        self._runs.took(report, today=True)
        return report

    async def baseline_again(self) -> Report | None:
        """The same run as the baseline's once more: a test that differs is flaky."""
        return None if self._today is None else await self._run(self._today)

    async def _run(self, run: Run) -> Report:
        """Run tests; say once where they are isolated less than usual, known after the first."""
        report = await self._verifier.run(run)
        if self._verifier.note and not self._told:
            self._told = True
            self._observe(Stage("isolation", detail=self._verifier.note))
        return report

    def seen(self, reply: str) -> bool:
        """Whether this reply's code was tried before."""
        try:
            return self._splice(reply).text in self._seen
        except RejectedReplyError:
            return False

    def is_today(self, reply: str) -> bool:
        """Whether today's code is what an earlier reply made of it."""
        try:
            return normalise(self._splice(reply).code) == code_of(
                self.task.module, self.task.target
            )
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
            return Trial("rejected", error.message, str(error), reply.strip())
        if spliced.text in self._seen:
            return self._seen[spliced.text]
        if spliced.text == self.task.module.text:
            summary = "the function is unchanged"
            words = f"{summary}, and it is wrong"
            trial = Trial("rejected", summary, words, spliced.code, unchanged=True)
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
            try:
                self._spliced[reply] = splice(module, target, reply, keep_signature=keep)
            except RejectedReplyError as error:
                self._spliced[reply] = error
        found = self._spliced[reply]
        if isinstance(found, RejectedReplyError):
            raise found
        return found

    async def _test(self, spliced: Spliced, stage: Stage) -> Trial:
        started = time.monotonic()
        report = await self._run(self._runs.candidate(spliced))
        self._runs.took(report, today=False)
        verdict: Verdict = "failed" if report.verdict == "broken" else report.verdict
        summary, feedback = report.summary, report.feedback
        regressions: tuple[str, ...] = ()
        if verdict == "passed" and await self._others.find():
            self._observe(Stage("regressions", stage.attempt, stage.of, stage.turn))
            other = await self._others.turned_red(spliced.text)
            if other is not None:
                verdict, summary = "regressed", other.summary
                regressions = tuple(test.id for test in other.tests)
                feedback = f"The test passes, but {other.feedback}"
        return Trial(
            verdict=verdict,
            summary=summary,
            feedback=feedback,
            code=spliced.code,
            seconds=time.monotonic() - started,
            text=spliced.text,
            green=tuple(test.id for test in report.tests if test.outcome == "passed"),
            regressions=regressions,
        )
