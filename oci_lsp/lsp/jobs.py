"""The jobs of a server: one per function at a time, few at once, the last ones remembered."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from oci_lsp.errors import OciError, TargetError
from oci_lsp.lsp.arguments import Arguments
from oci_lsp.lsp.sessions import Sessions
from oci_lsp.lsp.targets import Key, StaleError, key_of, locate

if TYPE_CHECKING:
    from oci_lsp.lsp.background import Background
    from oci_lsp.lsp.server import Server
    from oci_lsp.lsp.tasks import Order
    from oci_lsp.refine.task import Result, Task
    from oci_lsp.source.functions import CommentBlock, Function

Request = Literal["fix", "generate", "refine", "test"]

# Kernels and candidates of more jobs than this would only take the machine from each other.
_AT_ONCE = 3
_REMEMBERED = 50


@dataclass(frozen=True)
class Finished:
    """A job that ended; `task` is None where it never came to that."""

    job_id: str
    task: Task | None
    result: Result
    key: Key | None = None
    """Names the target as it was when the job ended; None where there was none."""
    picked: bool = False
    """The user was asked for the test, and gave one."""
    ended: float = field(default_factory=time.time)
    """Seconds since the epoch."""


class Jobs:
    """Starts, cancels and remembers jobs."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._running: dict[str, Background] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._finished: OrderedDict[str, Finished] = OrderedDict()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.sessions = Sessions(server.messages.ask)

    def start(self, request: Request, arguments: Arguments) -> str:
        """Begin a job and return its id at once.

        Whatever is wrong with the target ends the job with a message; a job that runs on the same
        function already stays the only one, and its id is returned.
        """
        from oci_lsp.lsp.job import Job

        job_id = uuid.uuid4().hex[:12]
        try:
            order = self._order(request, arguments)
        except OciError as error:
            self._spawn(self._refused(job_id, error))
            return job_id
        key = key_of(order.document.uri, order.target)
        return self._begin(Job(self._server, job_id, key, order))

    def start_failing(self, uri: str | None) -> str:
        """Begin a job on all that fails in a file or a folder, as `start` does."""
        from oci_lsp.lsp.failing import FailingJob, place

        job_id = uuid.uuid4().hex[:12]
        try:
            where = place(self._server, uri)
        except OciError as error:
            self._spawn(self._refused(job_id, error))
            return job_id
        return self._begin(FailingJob(self._server, job_id, where))

    def _begin(self, job: Background) -> str:
        if other := self._running_with(job.key):
            self._server.messages.warning(
                f"oci-lsp: a job on {job.label} runs already ({other.id})."
            )
            return other.id
        self._running[job.id] = job
        job.asyncio_task = self._spawn(self._run(job))
        return job.id

    def running_on(self, uri: str, target: Function | CommentBlock) -> Background | None:
        """The job that works on a function or a comment now."""
        return self._running_with(key_of(uri, target))

    def _running_with(self, key: Key) -> Background | None:
        return next((job for job in self._running.values() if job.key == key), None)

    def _order(self, request: Request, arguments: Arguments) -> Order:
        """What is asked for, or an error that tells the user why it can't be done."""
        from oci_lsp.lsp.tasks import Order
        from oci_lsp.source.functions import Function

        document = self._server.documents.get(arguments.uri or "")
        if document is None:
            raise TargetError(f"{arguments.uri} is not open in the editor", "Open it first.")
        target = locate(document, arguments)
        function = target if isinstance(target, Function) else None
        if request in ("fix", "test") and function is None:
            raise TargetError("There is no function here, but a comment", "Generate it instead.")
        if request == "test":
            return Order("fix", document, target, arguments, run_only=True)
        if request != "refine":
            return Order(request, document, target, arguments)
        stub = function is None or document.module.is_stub(function)
        order = Order("generate" if stub else "fix", document, target, arguments)
        if not order.words:
            raise TargetError(
                f"What should be different in {order.label} was not said",
                "Give `feedback`, or write a comment `# oci: ...` into the function.",
            )
        ended = self._ended_on(key_of(document.uri, target))
        earlier = tuple((job.task, job.result) for job in ended if job.task is not None)
        return dataclasses.replace(order, earlier=earlier)

    async def _run(self, job: Background) -> None:
        job.begin()
        try:
            finished = await job.run(self._slots)
        except asyncio.CancelledError:
            finished = job.cancelled()
        finally:
            self._running.pop(job.id, None)
        self._remember(finished)
        job.end(finished.result)
        if finished.picked and finished.task and finished.result.outcome == "passed":
            self._server.pins.offer(finished.task)

    async def _refused(self, job_id: str, error: OciError) -> None:
        from oci_lsp.refine.task import Result

        result = Result("stale" if isinstance(error, StaleError) else "error", str(error))
        self._remember(Finished(job_id, None, result))
        self.announce(job_id, result)

    def announce(self, job_id: str, result: Result) -> None:
        """Tell the client's program and the user how a job ended."""
        if self._server.leaving:
            return
        tree = result.as_json()
        keys = ("outcome", "limit", "attempts", "seconds", "diff", "message")
        params = {"jobId": job_id, **{key: tree[key] for key in keys}}
        self._server.protocol.notify("oci_lsp/jobFinished", params)
        good = result.outcome in ("passed", "already_passing", "cancelled")
        show = self._server.messages.info if good else self._server.messages.warning
        show(f"oci-lsp: {result.message}")

    def cancel(self, job_id: str) -> bool:
        """Stop a job; False where there never was one of that id. An ended one stays ended."""
        if job := self._running.get(job_id):
            job.cancel()
            return True
        return job_id in self._finished

    def finished(self, job_id: str | None) -> Finished | None:
        """A job that ended, the last of all without an id."""
        if job_id is None:
            return next(reversed(self._finished.values()), None)
        return self._finished.get(job_id)

    def last(self, key: Key) -> Finished | None:
        """The last job on a function that ended."""
        return next(self._ended_on(key), None)

    def _ended_on(self, key: Key) -> Iterator[Finished]:
        """The remembered jobs on a function, the last one first."""
        return (job for job in reversed(self._finished.values()) if job.key == key)

    def state(self) -> list[dict[str, Any]]:
        """The running jobs, for debugging."""
        return [
            {"jobId": job.id, "target": job.label, "stage": job.stage}
            for job in self._running.values()
        ]

    def _remember(self, finished: Finished) -> None:
        self._finished[finished.job_id] = finished
        while len(self._finished) > _REMEMBERED:
            self._finished.popitem(last=False)

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work, name="oci-lsp job")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Cancel every job and end every kernel."""
        # Not by `Job.cancel`: a client that leaves need not answer what it was asked before.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.sessions.close()
