"""The verifier: keeps kernels ready, runs one test run in each, and reports."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
import sysconfig
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from oci_lsp.errors import ConsentError, SandboxError
from oci_lsp.settings import VerifySettings
from oci_lsp.verify import feedback, imports, interpreter, sandbox, workspace
from oci_lsp.verify.kernel import Kernel, KernelGoneError, Plan
from oci_lsp.verify.verdict import Report, Run, TestResult

Consent = Callable[[str], Awaitable[bool]]


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
            judgement = await kernel.verify(_request(run, self.root, kernel.root, control=control))
        except KernelGoneError as error:
            judgement = _gone(error, run)
        finally:
            self._in_use.discard(kernel)
            self._retire(kernel)
        moved: dict[str, Any] = _moved(judgement, {str(kernel.root): str(self.root)})
        return moved

    async def _take(self, run: Run) -> Kernel:
        plan = await self._decide()
        layered = workspace.foreign(self.root, run.files) if plan.overlay else frozenset()
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
            if kernel.alive and layered <= kernel.layered <= run.files.keys():
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

    # -- isolation -------------------------------------------------------------------------

    async def _decide(self) -> Plan:
        async with self._deciding:
            if self._closed:
                raise SandboxError("The verifier is closed")
            if self._plan is None:
                self._plan = await self._probe()
            return self._plan

    async def _probe(self) -> Plan:
        if not self.root.is_dir():
            raise SandboxError(f"{self.root} is not a folder", "Open the project's folder.")
        readable = (*_own_paths(), *interpreter.needed_paths(self.interpreter))
        plan = Plan(self.root, self.settings, self.interpreter, readable, None, overlay=False)
        folder = await asyncio.to_thread(workspace.private_folder)
        reasons = ["bubblewrap was not found"] if not sandbox.find_bwrap() else []
        try:
            for bwrap in sandbox.find_bwrap():
                layout = sandbox.Layout(self.root, folder, readable)
                reason = await sandbox.probe(bwrap, layout, self.settings)
                if not reason:
                    return dataclasses.replace(plan, bwrap=bwrap, overlay=True)
                reasons.append(f"{bwrap}: {reason}")
                # The overlay may be at fault: some file systems cannot be a lower layer.
                copy = folder / "copy"
                copy.mkdir(exist_ok=True)
                layout = dataclasses.replace(layout, copy=copy)
                if not await sandbox.probe(bwrap, layout, self.settings):
                    return dataclasses.replace(plan, bwrap=bwrap, overlay=False)
        finally:
            await asyncio.to_thread(workspace.remove, folder)
        await self._agree_to_reduced("; ".join(reasons))
        return plan

    async def _agree_to_reduced(self, reason: str) -> None:
        if self.settings.isolation == "reduced":
            return
        advice = sandbox.advice(reason)
        refused = f"No sandbox can be had on this machine ({reason})"
        if self.settings.isolation == "strict":
            raise SandboxError(refused, advice)
        question = (
            f"{refused}. {advice} Run the tests with reduced isolation instead: in a copy of the"
            " project, with limits and a clean environment, but able to read and write your files"
            " and to use the network?"
        )
        if self._consent is None or not await self._consent(question):
            raise ConsentError(refused, f"{advice} Or set verify.isolation to reduced.")


def _own_paths() -> list[Path]:
    package = Path(__file__).resolve().parents[2]
    own = [Path(sys.prefix), Path(sys.base_prefix), package, Path(sysconfig.get_path("purelib"))]
    own += interpreter.needed_paths(Path(sys.executable))
    return [path for path in dict.fromkeys(own) if path != Path("/")]


def _request(run: Run, root: Path, seen: Path, *, control: bool) -> dict[str, Any]:
    """What the supervisor is asked, in paths as its driver sees them."""

    def there(path: Path) -> str:
        return str(seen / path.relative_to(root))

    candidate = run.candidate
    return {
        "files": {there(path): text for path, text in run.files.items()},
        "guarded": [there(path) for path in _guarded(run, root)],
        "node_ids": list(run.node_ids),
        "snippets": [dataclasses.asdict(snippet) for snippet in run.snippets],
        "snippet_path": there(run.snippet_path) if run.snippet_path else None,
        "candidate": None
        if candidate is None
        else {
            "path": there(candidate.path),
            "name": candidate.name,
            "qualname": candidate.qualname,
            "lines": list(candidate.lines),
        },
        "control": control,
        "moved": {} if seen == root else {str(root): str(seen)},
        "timeout": run.timeout,
    }


def _guarded(run: Run, root: Path) -> list[Path]:
    """Test files and the conftest.py files above them; the candidate's own file is excepted."""
    found: dict[Path, None] = {}
    for node_id in run.node_ids:
        path = root / node_id.partition("::")[0]
        found[path] = None
        for folder in path.parents:
            if folder == root or root in folder.parents:
                found[folder / "conftest.py"] = None
    excepted = run.candidate.path if run.candidate is not None else None
    return [path for path in found if path != excepted]


def _gone(error: KernelGoneError, run: Run) -> dict[str, Any]:
    if error.timed_out:
        verdict, summary = "timed_out", f"The tests did not end within {run.timeout:g} s."
    else:
        verdict, summary = "crashed", f"The kernel was brought down ({error})."
    return {"verdict": verdict, "summary": summary, "tests": [], "silent": False, "printed": ""}


def _moved(value: Any, paths: Mapping[str, str]) -> Any:
    """The judgement with the copy's paths replaced by the project's own."""
    if isinstance(value, str):
        for copy, real in paths.items():
            value = value.replace(copy, real)
        return value
    if isinstance(value, dict):
        return {key: _moved(item, paths) for key, item in value.items()}
    return [_moved(item, paths) for item in value] if isinstance(value, list) else value


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
