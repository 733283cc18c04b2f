"""The verifier: keeps kernels ready, runs one test run in each, and reports."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from oci_lsp.errors import SandboxError
from oci_lsp.settings import VerifySettings
from oci_lsp.verify import confirm, hints, interpreter, isolation, layer, reporting, wire
from oci_lsp.verify.isolation import Consent
from oci_lsp.verify.kernel import Kernel, KernelGoneError, Plan
from oci_lsp.verify.standby import Need, Standbys
from oci_lsp.verify.verdict import Report, Run


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
            InterpreterError: the one that the settings name does not exist, or is broken.
        """
        self.root = root.resolve()
        self.settings = settings
        self.interpreter = interpreter.find_interpreter(self.root, settings)
        self._consent = consent
        self._plan: Plan | None = None
        self._deciding = asyncio.Lock()
        self._closed = False
        self._standbys = Standbys(self.root, settings, self.interpreter, idle_seconds)

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
    def kernels_started(self) -> int:
        """How many kernels were started so far, ahead or for a run that found none."""
        return self._standbys.started

    @property
    def standbys_taken(self) -> int:
        """How many runs, or parts of runs, found a kernel that was started ahead."""
        return self._standbys.taken

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

        Slow third-party modules that the files in `sources` import, themselves or through other
        modules of the project, are imported ahead. Kernels that are older than what is saved are
        replaced.

        Raises:
            SandboxError, ConsentError: no sandbox can be had.
        """
        plan = await self._decide()
        await self._standbys.keep(plan, (path.resolve() for path in sources))

    async def ready(self) -> None:
        """Wait until the standby kernels that were asked for have started."""
        await self._standbys.ready()

    async def run(self, run: Run) -> Report:
        """Run the tests in a kernel of their own, which ends with the call, cancelled or not.

        Raises:
            SandboxError, ConsentError: no sandbox can be had, or no kernel starts.
            InterpreterError: the project's Python is broken or has no pytest.
        """
        start = time.perf_counter()
        run = self._checked(run)
        judgement = await self._attempt(run)
        if judgement["silent"] and await self._depends_on_it(run):
            count = len(judgement["tests"])
            summary = f"{count} test{'s' if count > 1 else ''} passed (called out of sight)."
            judgement |= {"verdict": "passed", "summary": summary}
        if run.confirm and judgement["verdict"] == "passed":
            judgement = await confirm.confirmed(judgement, partial(self._attempt, run))
        report = reporting.report(judgement, run, self.root, time.perf_counter() - start)
        advice = "" if report.verdict == "passed" else self._hint(report)
        return dataclasses.replace(report, summary=f"{report.summary} {advice}".rstrip())

    def _hint(self, report: Report) -> str:
        return hints.hint(report.tests, report.summary, self.root, self.interpreter, self.settings)

    async def close(self) -> None:
        """End every kernel and wait for its end."""
        self._closed = True
        await self._standbys.close()

    # -- one attempt -----------------------------------------------------------------------

    async def _attempt(self, run: Run, variant: wire.Variant = "plain") -> dict[str, Any]:
        kernel = await self._take(run)
        try:
            judgement = await kernel.verify(wire.request(run, self.root, kernel.root, variant))
        except KernelGoneError as error:
            judgement = _gone(error, run)
        finally:
            self._standbys.retire(kernel)
        seen: dict[str, Any] = wire.moved(judgement, {str(kernel.root): str(self.root)})
        return seen

    async def _depends_on_it(self, run: Run) -> bool:
        """Whether the tests are red without the function's body, each time: then they do depend on
        it, in another process perhaps, where the probe cannot see."""
        for _ in range(2):
            control = await self._attempt(run, "control")
            if control["verdict"] not in ("failed", "crashed", "timed_out") or "gone" in control:
                return False
        return True

    async def _take(self, run: Run) -> Kernel:
        plan = await self._decide()
        layered = layer.foreign(self.root, run.files) if plan.overlay else frozenset()
        candidate = run.candidate.path if run.candidate is not None else None
        need = Need(run.files, _seeds(run, self.root), layered, candidate)
        return await self._standbys.take(plan, need)

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


def _seeds(run: Run, root: Path) -> tuple[Path, ...]:
    """The files that the run imports first."""
    first = [run.candidate.path] if run.candidate is not None else []
    first += [run.snippet_path] if run.snippet_path is not None else []
    tests = [root / node_id.partition("::")[0] for node_id in run.node_ids]
    return tuple(dict.fromkeys((*first, *tests)))


def _gone(error: KernelGoneError, run: Run) -> dict[str, Any]:
    if error.timed_out:
        verdict, summary = "timed_out", f"The tests did not end within {run.timeout:g} s."
    else:
        verdict, summary = "crashed", f"The kernel was brought down ({error})."
    return {
        "verdict": verdict,
        "summary": summary,
        "tests": [],
        "silent": False,
        "printed": "",
        "functions": [],
        "gone": True,
    }
