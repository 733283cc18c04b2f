"""The loop: generate, execute, refine (Zheng et al. 2024, "OpenCodeInterpreter"), until it passes.

A turn is a batch of candidates, one greedy and the others sampled. Each is spliced into a copy of
the file and tested in a kernel; the first that passes ends the job. Where all fail, what the best
one did goes back to the model, with the user's own words, and the next turn begins.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from oci_lsp.engine.client import Request
from oci_lsp.errors import OciError, TestsError
from oci_lsp.refine import prompt
from oci_lsp.refine.surroundings import Surroundings
from oci_lsp.refine.task import (
    Attempt,
    Attempted,
    Engine,
    Event,
    Limit,
    Message,
    Observer,
    Outcome,
    Result,
    Stage,
    Task,
    Verdict,
    Verifier,
    counted,
    unified_diff,
)
from oci_lsp.refine.today import EndError, Today, check_source
from oci_lsp.refine.trial import Trial, Trials, named_in_words, wanted_name
from oci_lsp.refine.turn import Reply, replies
from oci_lsp.settings import Settings
from oci_lsp.source.functions import Function
from oci_lsp.source.testsource import test_source

Connect = Callable[[], Awaitable[Engine]]


def _nobody(event: Event) -> None:
    """Nobody watches."""


async def refine(
    task: Task,
    connect: Connect,
    verifier: Verifier,
    settings: Settings,
    observe: Observer = _nobody,
    finished: Callable[[Result], None] = lambda result: None,
    surroundings: Surroundings | None = None,
) -> Result:
    """Work on a task until its test passes or a limit ends it.

    `connect` finds or starts the engine, once the baseline has shown that there is something to do.
    `finished` is given the result on every way out, a cancellation's too. Every failure becomes an
    outcome. `surroundings` gathers the context; by default as the settings say.

    Raises:
        asyncio.CancelledError: the caller cancelled; the model and the kernel were stopped.
    """
    around = surroundings or Surroundings(task, settings.refine.context_tokens)
    job = _Job(task, connect, verifier, settings, observe, around)
    result: Result | None = None
    try:
        async with job.deadline:
            result = await job.run()
    except EndError as end:
        result = job.result(end.outcome, str(end))
    except TimeoutError:
        if not job.deadline.expired():
            raise
        result = job.failed("seconds", f"{settings.refine.seconds:g} seconds")
    except TestsError as error:
        result = job.result("broken_test", str(error))
    except OciError as error:
        result = job.result("error", str(error))
    except Exception as error:
        result = job.result("error", f"A fault in oci-lsp: {type(error).__name__}: {error}")
        raise
    finally:
        await job.close()
        finished(result or job.result("cancelled", f"Cancelled: {task.label} is as it was."))
    return result


class _Job:
    """The state of one job; `run` is the loop, the other methods are its steps."""

    def __init__(
        self,
        task: Task,
        connect: Connect,
        verifier: Verifier,
        settings: Settings,
        observe: Observer,
        surroundings: Surroundings,
    ) -> None:
        self.task = task
        self.surroundings = surroundings
        self.limits = settings.refine
        self.trials = Trials(task, verifier, settings, observe)
        self.today = Today(task, self.trials, observe)
        self.verifier = verifier
        self.observe = observe
        self.started = time.monotonic()
        # Set once the model is ready: a first download is not the job's time.
        self.deadline = asyncio.timeout(None)
        self.engine: Engine | None = None
        self.connect = connect
        self.standby: asyncio.Task[None] | None = None
        self.attempts: list[Attempt] = []
        # Replies equal to an earlier one, which are not run again.
        self.repeats = 0
        self.messages: list[Message] = list(task.conversation)
        self.regressions: tuple[str, ...] = ()
        self.tokens = 0
        self.name = ""
        self.tests = ""
        self.around = ""
        # What was said before this message is kept for the transcript, but no longer sent.
        self.since = 0

    async def run(self) -> Result:
        # Reading a project and a long file takes its time: whoever shares this thread goes on.
        await asyncio.to_thread(check_source, self.task)
        await asyncio.to_thread(self.today.select_tests)
        self.name = wanted_name(self.task, self.trials.selection)
        self.surroundings.start(self.trials.selection)
        failure = await self.today.failure()
        await self.surroundings.ready()
        await asyncio.to_thread(self.open_conversation, failure)
        self.engine = await self.connected()
        for turn in range(1, self.limits.turns + 1):
            tried: list[tuple[Reply, Trial]] = []
            request = self.request(turn)
            queued = functools.partial(self.queued, turn)
            async with aclosing(replies(self.engine, request, self.observe, queued)) as batch:
                async for reply in batch:
                    trial = await self.attempt(reply, turn)
                    if trial.verdict == "passed":
                        await self.today.check_red_twice()
                        return self.passed(reply, trial)
                    tried.append((reply, trial))
                    if self.limit():
                        break
            self.report(turn, tried)
            if reached := self.limit():
                return self.failed(*reached)
        return self.failed("turns", counted(self.limits.turns, "turn"))

    def open_conversation(self, failure: str) -> None:
        self.tests = test_source(
            self.task.root,
            self.trials.selection,
            {**self.task.buffers, self.task.path: self.task.module.text},
            limit=prompt.TESTS_LIMIT,
        )
        self.around = self.surroundings.context(self.trials.selection).text
        if self.messages:
            self.go_on(failure)
            return
        self.messages.extend(prompt.opening(self.task, self.name, self.tests, failure, self.around))

    def go_on(self, failure: str) -> None:
        """Continue the conversation of an earlier job with the user's words."""
        words = self.task.feedback
        named = named_in_words(self.task)
        tests = test_source(self.task.root, named, self.task.buffers, limit=prompt.TESTS_LIMIT)
        last = self.messages[-1]
        if last.role == "user":
            # That job had failed: its last message says how.
            self.messages[-1] = prompt.with_feedback(last, words, tests)
            return
        # Today's failure says nothing of a reply that passed and was not put in.
        passed = not failure or not self.trials.is_today(last.content)
        self.messages.append(
            prompt.again(
                self.name,
                passed=passed,
                failure="" if passed else failure,
                feedback=words,
                tests=tests,
            )
        )

    async def connected(self) -> Engine:
        self.observe(Stage("engine"))
        engine = await self.connect()
        self.deadline.reschedule(asyncio.get_running_loop().time() + self.limits.seconds)
        return engine

    def request(self, turn: int) -> Request:
        self.observe(self.generating(turn))
        if turn == 1:
            self.today.look_again()
        self.standby = asyncio.create_task(
            self.verifier.prepare(self.trials.files), name="oci-lsp standby"
        )
        target, limits = self.task.target, self.limits
        count = min(limits.candidates, limits.attempts - len(self.attempts))
        return Request(
            messages=[
                {"role": m.role, "content": m.content}
                for index, m in enumerate(self.messages)
                if m.role == "system" or index >= self.since
            ],
            n=count,
            temperature=limits.temperature if count > 1 else 0.0,
            top_p=limits.top_p,
            max_tokens=max(1, min(limits.max_tokens, (limits.tokens - self.tokens) // count)),
            seed=limits.seed + turn,
            greedy_first=count > 1,
            stop_after_definition=self.name,
            prediction=self.task.module.text[target.span.start : target.span.end]
            if isinstance(target, Function)
            else None,
        )

    def attempts_allowed(self) -> int:
        return min(self.limits.attempts, self.limits.candidates * self.limits.turns)

    async def attempt(self, reply: Reply, turn: int) -> Trial:
        number = len(self.attempts) + 1
        self.tokens += reply.completion_tokens
        repeated = await asyncio.to_thread(self.trials.seen, reply.text)
        stage = Stage("testing", number, self.attempts_allowed(), turn)
        trial = await self.trials.examine(reply.text, stage)
        if repeated:
            self.repeats += 1
        else:
            attempt = Attempt(
                turn=turn,
                number=number,
                verdict=trial.verdict,
                code=trial.code,
                summary=trial.summary,
                feedback=trial.feedback,
                generate_seconds=reply.seconds,
                verify_seconds=trial.seconds,
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
                green=trial.green,
                reply=reply.text,
            )
            self.attempts.append(attempt)
            self.observe(Attempted(attempt))
            if trial.regressions:
                self.regressions = tuple(dict.fromkeys((*self.regressions, *trial.regressions)))
        if trial.verdict != "passed":
            self.observe(self.generating(turn))
        return trial

    def generating(self, turn: int) -> Stage:
        """What the model works on: the next attempt; says how many replies were no new ones."""
        of = self.attempts_allowed()
        repeated = f"{counted(self.repeats, 'repeat')} not run" if self.repeats else ""
        return Stage("generating", min(len(self.attempts) + 1, of), of, turn, repeated)

    def queued(self, turn: int, ahead: int) -> None:
        """Show the place in the engine's queue."""
        stage = self.generating(turn)
        if ahead:
            stage = replace(stage, detail=f"{counted(ahead, 'request')} before this one")
        self.observe(stage)

    def limit(self) -> tuple[Limit, str] | None:
        """The limit that is reached, and in words."""
        if len(self.attempts) >= self.limits.attempts:
            return "attempts", counted(self.limits.attempts, "attempt")
        if self.tokens >= self.limits.tokens:
            return "tokens", f"{self.limits.tokens} tokens"
        return None

    def report(self, turn: int, tried: list[tuple[Reply, Trial]]) -> None:
        """Put the best candidate of a failed turn and what it did into the conversation.

        Where the turn told hardly anything new, a next one does not see that candidate: a small
        model goes on to repeat what it sees.
        """
        if not tried:
            return
        reply, best = max(
            tried, key=lambda pair: (_rank(pair[1].verdict, pair[1].green), -pair[0].index)
        )
        self.messages.append(Message("assistant", reply.text.strip(), "model"))
        new = sum(attempt.turn == turn for attempt in self.attempts)
        stuck = best.unchanged or (turn > 1 and 2 * new <= len(tried))
        goes_on = turn < self.limits.turns and not self.limit()
        if stuck and goes_on and isinstance(self.task.target, Function):
            self.since = len(self.messages)
            self.messages.append(prompt.afresh(self.task, self.name, self.tests, self.around))
            return
        others = [t.code for _, t in tried if t.verdict != "rejected" and t.code != best.code]
        self.messages.append(
            prompt.again(self.name, passed=False, failure=best.feedback, tried=others)
        )

    def passed(self, reply: Reply, trial: Trial) -> Result:
        self.messages.append(Message("assistant", reply.text.strip(), "model"))
        message = f"{self.task.label}: {self.what_passed()} passed"
        message += f" on attempt {len(self.attempts)}."
        if self.task.diagnostics:
            message += " The diagnostic itself was not checked."
        message = " ".join((message + self.today.left_out, *self.trials.notes))
        return self.result("passed", message, text=trial.text)

    def what_passed(self) -> str:
        labels = self.trials.labels
        # A snippet may hold many asserts or examples: it is no "1 test".
        one_snippet = len(labels) == 1 and self.trials.selection.snippets
        return labels[0] if one_snippet else counted(len(labels), "test")

    def failed(self, limit: Limit, words: str) -> Result:
        return self.result("failed", self.summary(words), limit=limit)

    def summary(self, limit: str) -> str:
        message = f"{self.task.label} is as it was: no candidate passed within {limit}"
        if not self.attempts:
            return f"{message}."
        best = max(self.attempts, key=lambda attempt: _rank(attempt.verdict, attempt.green))
        made = counted(len(self.attempts), "attempt")
        if self.repeats:
            made += f", {counted(self.repeats, 'repeat')} not run again"
        return f"{message} ({made}). The best one: {best.summary}"

    def result(
        self, outcome: Outcome, message: str, *, limit: Limit | None = None, text: str | None = None
    ) -> Result:
        old = self.task.module.text
        path = self.task.path.relative_to(self.task.root).as_posix()
        return Result(
            outcome=outcome,
            message=message,
            limit=limit,
            attempts=tuple(self.attempts),
            text=text,
            diff="" if text is None else unified_diff(path, old, text),
            tests=self.trials.labels,
            regressions=self.regressions,
            model=self.engine.model if self.engine else "",
            seconds=time.monotonic() - self.started,
            messages=tuple(self.messages),
        )

    async def close(self) -> None:
        """Stop what the job started and nobody awaits any more."""
        ending: list[Awaitable[None]] = [self.today.close(), self.surroundings.close()]
        if self.standby is not None:
            self.standby.cancel()
            ending.append(self.standby)
        await asyncio.gather(*ending, return_exceptions=True)


def _rank(verdict: Verdict, green: Sequence[str]) -> tuple[int, int]:
    """Nearer to right ranks higher: one that ran before one that could not, then tests passed."""
    ran = {"rejected": 0, "crashed": 1, "timed_out": 1, "vacuous": 1}.get(verdict, 2)
    return ran, len(green)
