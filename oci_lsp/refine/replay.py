"""Running a job's candidates again, against the tests as the project has them now; no model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from oci_lsp import __version__
from oci_lsp.errors import HistoryError, RejectedReplyError
from oci_lsp.refine.task import Attempt, Observer, Stage, Verdict, Verifier
from oci_lsp.refine.transcript import Transcript, deciding
from oci_lsp.refine.trial import Trials
from oci_lsp.settings import Settings
from oci_lsp.source.functions import Function, parse
from oci_lsp.source.splice import splice


@dataclass(frozen=True)
class Again:
    """A candidate that was run again; `summary` tells its verdict now in a sentence."""

    attempt: Attempt
    now: Verdict
    summary: str

    @property
    def same(self) -> bool:
        return self.now == self.attempt.verdict


class Replay:
    """Replays one job: `start` once, then `attempts`.

    A candidate is put into the file as it was, so that it is the same candidate; everything else of
    the project, its tests above all, is what is on the disk.

    Raises:
        HistoryError: there is nothing to replay, or the project has gone.
    """

    def __init__(
        self, transcript: Transcript, verifier: Verifier, settings: Settings, observe: Observer
    ) -> None:
        self._transcript = transcript
        self._verifier = verifier
        self._settings = settings
        self._observe = observe
        self.task = transcript.task()
        if not transcript.result.attempts:
            raise HistoryError(
                f"{transcript.id} ended with no candidate ({transcript.result.outcome})",
                "`oci-lsp history show` tells why.",
            )
        if not transcript.root.is_dir():
            raise HistoryError(
                f"The project {transcript.root} is no longer there",
                "Put it back in its place to replay this job.",
            )
        self._trials = Trials(self.task, verifier, settings, observe)

    async def start(self) -> tuple[str, ...]:
        """Find the tests and run them on the code that the job began with.

        Gives what is not as it was then, a sentence each.

        Raises:
            HistoryError: there is no test any more, or it cannot be run.
            OciError: no kernel could be started.
        """
        trials = self._trials
        if (await asyncio.to_thread(trials.select)).empty:
            raise HistoryError(
                f"There is no test for {self._transcript.target} any more",
                f"Then it was: {', '.join(self._transcript.result.tests)}",
            )
        await self._verifier.prepare(trials.files)
        self._observe(Stage("baseline"))
        report = await trials.baseline()
        if report is not None and trials.leave_out_skipped(report):
            report = await trials.baseline()
        if report is not None and report.verdict == "broken":
            told = report.feedback or report.summary
            raise HistoryError(f"The test cannot be run: {told}")
        changes = await asyncio.to_thread(self._changes)
        if report is not None and report.verdict == "passed":
            changes.append("The code that the job began with passes now.")
        return tuple(changes)

    async def attempts(self) -> AsyncGenerator[Again]:
        """Each candidate in the order of the job, with its verdict now.

        Raises:
            OciError: a kernel could not be started.
        """
        recorded = self._transcript.result.attempts
        for attempt in recorded:
            stage = Stage("testing", attempt.number, len(recorded), attempt.turn)
            trial = await self._trials.examine(attempt.reply, stage)
            yield Again(attempt, trial.verdict, trial.summary)

    def _changes(self) -> list[str]:
        then, now = self._transcript, deciding(self._settings)
        changes = [change] if (change := self._file_changed()) else []
        if then.result.tests != self._trials.labels:
            changes.append(
                f"The tests differ. Then: {', '.join(then.result.tests)}. "
                f"Now: {', '.join(self._trials.labels)}."
            )
        if then.unsaved:
            changes.append(
                f"The job saw what was not saved yet in {', '.join(then.unsaved)}; the replay "
                "sees what is on the disk."
            )
        differing = [
            f"{name} was {value!r} and is {now[name]!r}"
            for name, value in then.settings.items()
            if name.startswith("verify.") and name in now and now[name] != value
        ]
        if differing:
            changes.append(f"Settings differ: {'; '.join(differing)}.")
        if (version := then.versions.get("oci-lsp")) != __version__:
            changes.append(f"The job was oci-lsp {version}'s; this is {__version__}.")
        return changes

    def _file_changed(self) -> str:
        """Whether the file is not as the job saw it; "" where it is."""
        then, target, name = self.task.module.text, self.task.target, self.task.path.name
        try:
            now = self.task.path.read_bytes().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError):
            change = f"{name} is gone or cannot be read"
        else:
            if now == then:
                return ""
            if now in self._passed_texts():
                change = f"{name} holds the edit of this job"
            elif not isinstance(target, Function):
                change = f"{name} has changed since"
            elif (found := parse(now).named(target.qualname)) is None:
                change = f"{name} has changed since, and {target.qualname} is gone"
            elif found.span.of(now) == target.span.of(then):
                change = f"{name} has changed since, {target.qualname} has not"
            else:
                change = f"{target.qualname} has changed since"
        return f"{change}. The candidates run in the file as it was."

    def _passed_texts(self) -> set[str]:
        """The file with each candidate that passed then."""
        texts: set[str] = set()
        for attempt in self._transcript.result.attempts:
            if attempt.verdict == "passed":
                try:
                    spliced = splice(
                        self.task.module,
                        self.task.target,
                        attempt.reply,
                        keep_signature=not self.task.feedback,
                    )
                except RejectedReplyError:
                    continue
                texts.add(spliced.text)
        return texts
