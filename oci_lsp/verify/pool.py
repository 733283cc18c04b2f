"""The verifier: keeps kernels ready, runs one test run in each, and reports."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from oci_lsp.errors import SandboxError
from oci_lsp.settings import VerifySettings
from oci_lsp.verify import feedback, imports, interpreter, isolation, layer, wire
from oci_lsp.verify.isolation import Consent
from oci_lsp.verify.kernel import Kernel, KernelGoneError, Plan
from oci_lsp.verify.verdict import Report, Run, TestResult


class Verifier:
    """Runs tests of one project. Use as an async context manager; close() leaves no process.

    Must be used from one event loop, in a thread that outlives it: kernels die with the thread
    that started them.
    """

    def __init__(
        self,
        root: Path,
        settings: VerifySettings,
        *,
        consent: Consent | None = None,
        idle_seconds: float = 300.0,
    ) -> None:
        """Find the interpreter; nothing is started. Standbys end when idle for `idle_seconds`.

        Raises:
            InterpreterError: the one that the settings name does not exist.
        """
        self.root = root.resolve()
        self.settings = settings
        self.interpreter = interpreter.find_interpreter(self.root, settings)
        self._consent = consent
        self._plan: Plan | None = None
        self._deciding = asyncio.Lock()
        self._standby: deque[asyncio.Task[Kernel]] = deque()
        self._reaping: set[asyncio.Task[None]] = set()
        self._in_use: set[Kernel] = set()
        self._layered: frozenset[Path] = frozenset()
        self._preload: frozenset[str] = frozenset()
        self._closed = False
        self._idle_seconds = idle_seconds
        self._idle: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def isolation(self) -> Literal["strict", "reduced"]:
        """Known after the first `prepare` or `run`; before it, what is hoped for."""
        return "reduced" if self._plan is not None and self._plan.bwrap is None else "strict"

    @property
    def note(self) -> str:
        """What is less than the full isolation, and why; empty: nothing, or not known yet."""
        return self._plan.note if self._plan is not None else ""

    @property
    def advice(self) -> str:
        """What to do to have the full isolation; empty where `note` is."""
        return self._plan.advice if self._plan is not None else ""

    async def prepare(self, sources: Iterable[Path] = ()) -> None:
        """Start standby kernels up to `verify.standby`; they start while the caller goes on.

        Slow third-party modules that the files in `sources` import are imported ahead. Where
        kernels test a copy of the project none is started: what is saved meanwhile would not be
        in it.

        Raises:
            SandboxError, ConsentError: no sandbox can be had.
        """
        self._preload |= imports.heavy_imports(imports.read(sources))
        plan = await self._decide()
        if plan.copies:
            return
        while len(self._standby) < self.settings.standby and not self._closed:
            self._standby.append(asyncio.create_task(self._started(plan)))
        self._end_standbys_later()

    async def run(self, run: Run) -> Report:
        """Run the tests in a kernel of their own, which ends with the call, cancelled or not.

        Raises:
            SandboxError, ConsentError: no sandbox can be had, or no kernel starts.
            InterpreterError: the project's Python is broken or has no pytest.
        """
        start = time.perf_counter()
        run = self._checked(run)
        self._end_standbys_later()
        judgement = await self._attempt(run, control=False)
        if judgement["silent"]:
            control = await self._attempt(run, control=True)
            # Red without the function's body: the tests do depend on it, in another process
            # perhaps, where the probe cannot see.
            if control["verdict"] in ("failed", "crashed", "timed_out"):
                count = len(judgement["tests"])
                summary = f"{count} test{'s' if count > 1 else ''} passed (called out of sight)."
                judgement |= {"verdict": "passed", "summary": summary}
        return _report(judgement, time.perf_counter() - start, self.interpreter)

    async def close(self) -> None:
        """End every kernel and wait for its end."""
        self._closed = True
        if self._idle is not None:
            self._idle.cancel()
        for kernel in tuple(self._in_use):
            kernel.kill()
        while self._standby:
            await self._discard(self._standby.popleft())
        while self._reaping:
            await asyncio.gather(*self._reaping, return_exceptions=True)

    def _end_standbys_later(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(self._idle_seconds, self._end_standbys)

    def _end_standbys(self) -> None:
        while self._standby:
            task = asyncio.create_task(self._discard(self._standby.popleft()))
            self._reaping.add(task)
            task.add_done_callback(self._reaping.discard)

    # -- one attempt -----------------------------------------------------------------------

    async def _attempt(self, run: Run, *, control: bool) -> dict[str, Any]:
        kernel = await self._take(run)
        self._in_use.add(kernel)
        try:
            judgement = await kernel.verify(
                wire.request(run, self.root, kernel.root, control=control)
            )
        except KernelGoneError as error:
            judgement = _gone(error, run)
        finally:
            self._in_use.discard(kernel)
            self._retire(kernel)
        seen: dict[str, Any] = wire.moved(judgement, {str(kernel.root): str(self.root)})
        return seen

    async def _take(self, run: Run) -> Kernel:
        plan = await self._decide()
        layered = layer.foreign(self.root, run.files) if plan.overlay else frozenset()
        self._layered = layered
        self._preload |= imports.heavy_imports(run.files.values())
        while self._standby:
            task = self._standby.popleft()
            try:
                kernel = await asyncio.shield(task)
            except asyncio.CancelledError:
                await self._discard(task)
                raise
            # Its layer holds copies as old as itself: each must be written anew by this run.
            if kernel.alive and layered <= kernel.layered <= run.files.keys() and kernel.current:
                return kernel
            self._retire(kernel)
        return await self._started(plan)

    async def _started(self, plan: Plan) -> Kernel:
        kernel = Kernel(plan, self._layered, self._preload)
        try:
            await kernel.start()
        except BaseException:
            self._retire(kernel)
            raise
        return kernel

    def _retire(self, kernel: Kernel) -> None:
        """Kill at once; what remains to be done must not keep a verdict waiting."""
        kernel.kill()
        task = asyncio.create_task(kernel.reap())
        self._reaping.add(task)
        task.add_done_callback(self._reaping.discard)

    async def _discard(self, task: asyncio.Task[Kernel]) -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            self._retire(await task)

    def _checked(self, run: Run) -> Run:
        """The run with real paths; buffers outside of the project are left out."""
        files = {path.resolve(): text for path, text in run.files.items()}
        candidate = run.candidate
        if candidate is not None:
            candidate = dataclasses.replace(candidate, path=candidate.path.resolve())
            if self.root not in candidate.path.parents:
                raise SandboxError(
                    f"{candidate.path} lies outside of the project {self.root}",
                    "Open the folder that holds it as the workspace.",
                )
        inside = {path: text for path, text in files.items() if self.root in path.parents}
        snippet_path = run.snippet_path.resolve() if run.snippet_path else None
        return dataclasses.replace(
            run, files=inside, candidate=candidate, snippet_path=snippet_path
        )

    async def _decide(self) -> Plan:
        async with self._deciding:
            if self._closed:
                raise SandboxError("The verifier is closed")
            if self._plan is None:
                self._plan = await isolation.decide(
                    self.root, self.settings, self.interpreter, self._consent
                )
            return self._plan


def _gone(error: KernelGoneError, run: Run) -> dict[str, Any]:
    if error.timed_out:
        verdict, summary = "timed_out", f"The tests did not end within {run.timeout:g} s."
    else:
        verdict, summary = "crashed", f"The kernel was brought down ({error})."
    return {"verdict": verdict, "summary": summary, "tests": [], "silent": False, "printed": ""}


def _report(judgement: Mapping[str, Any], seconds: float, python: Path) -> Report:
    names = [field.name for field in dataclasses.fields(TestResult)]
    tests = tuple(TestResult(**{name: test[name] for name in names}) for test in judgement["tests"])
    summary, verdict = judgement["summary"], judgement["verdict"]
    if verdict == "passed":
        return Report("passed", tests, summary, "", seconds)
    printed = judgement["printed"] if verdict in ("crashed", "broken") else ""
    text = feedback.compose(summary, tests, printed)
    if advice := feedback.hint(tests, summary, python):
        summary = f"{summary} {advice}"
    return Report(verdict, tests, summary, text, seconds)
