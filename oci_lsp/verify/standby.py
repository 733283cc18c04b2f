"""Standby kernels: started ahead, as old as the project's files, each for one verdict."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from oci_lsp.errors import InterpreterError, OciError, SandboxError
from oci_lsp.settings import VerifySettings
from oci_lsp.verify.freshness import Fingerprint
from oci_lsp.verify.kernel import Kernel, Plan, PreloadError
from oci_lsp.verify.preload import Planner, Preload

_log = logging.getLogger(__name__)
_MEGABYTE = 1 << 20
# The next one is not started beside a test that is over at once.
_REFILL_SECONDS = 0.3
_UNKNOWN = Fingerprint(0, complete=False)


@dataclass(frozen=True)
class Need:
    """What a run needs of its kernel.

    Attributes:
        files: texts that are laid over the project.
        seeds: the tests' files and the file under test.
        layered: those of the files that are of another owner than ours.
        candidate: whose text differs from one run to the next.
    """

    files: Mapping[Path, str] = field(default_factory=dict)
    seeds: tuple[Path, ...] = ()
    layered: frozenset[Path] = frozenset()
    candidate: Path | None = None

    def of_any_candidate(self) -> Need:
        """What other candidates for the same function need: one's imports are not another's."""
        files = {path: text for path, text in self.files.items() if path != self.candidate}
        return replace(self, files=files)


@dataclass
class _Standby:
    state: Fingerprint
    preload: Preload
    task: asyncio.Task[Kernel]

    @property
    def usable(self) -> bool:
        """Whether it starts, or has started and lives."""
        if not self.task.done():
            return True
        return not self.task.cancelled() and not self.task.exception() and self.task.result().alive


class Standbys:
    """Starts the kernels of one project, ahead where it can, and ends all that it has started."""

    def __init__(
        self,
        root: Path,
        settings: VerifySettings,
        python: Path,
        idle_seconds: float,
    ) -> None:
        self.started = 0
        self.taken = 0
        self._settings = settings
        self._planner = Planner(root, python)
        self._looking = asyncio.Lock()
        self._ready: deque[_Standby] = deque()
        self._need = Need()
        self._wanted = False
        self._closed = False
        self._light = False
        self._too_large = False
        self._refused: frozenset[str] = frozenset()
        self._mine: set[Kernel] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._idle_seconds = idle_seconds
        self._timers: dict[Callable[[Plan], None], asyncio.TimerHandle] = {}

    async def keep(self, plan: Plan, seeds: Iterable[Path]) -> None:
        """Start standbys up to `verify.standby`, for runs that import the seeds first; those that
        are no longer right are ended."""
        self._wanted = True
        seeds = tuple(dict.fromkeys(seeds))
        if seeds and set(seeds) != set(self._need.seeds):
            self._need = Need(seeds=seeds, layered=self._need.layered)
        self._later(self._idle_seconds, self._end_all, plan)
        await self._fill(plan)

    async def ready(self) -> None:
        """Wait until those that start have started, or failed."""
        while starting := [one.task for one in self._ready if not one.task.done()]:
            await asyncio.wait(starting)

    async def take(self, plan: Plan, need: Need) -> Kernel:
        """A kernel that nobody else has, right for the present state of the project.

        Raises:
            SandboxError: none starts.
            InterpreterError: the project's Python is broken or has no pytest.
        """
        self._need = need.of_any_candidate()
        state, preload = await self._look(need)
        self._later(self._idle_seconds, self._end_all, plan)
        while self._ready:
            standby = self._ready.popleft()
            if not self._is_right(plan, standby, state, preload):
                self._discard(standby)
                continue
            kernel = await self._awaited(standby)
            # Its layer holds copies as old as itself: each must be written anew by this run.
            if kernel is not None and (
                kernel.alive
                and need.layered <= kernel.layered <= need.files.keys()
                and kernel.current
            ):
                self._later(_REFILL_SECONDS, self._refill, plan)
                self.taken += 1
                return kernel
            if kernel is not None:
                self.retire(kernel)
        kernel = await self._start(plan, preload, need.layered)
        self._later(_REFILL_SECONDS, self._refill, plan)
        return kernel

    def retire(self, kernel: Kernel) -> None:
        """Kill at once; what remains to be done must not keep a verdict waiting."""
        kernel.kill()
        self._mine.discard(kernel)
        self._beside(kernel.reap())

    async def close(self) -> None:
        """End every kernel and wait for its end."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        while self._ready:
            self._discard(self._ready.popleft())
        while self._background or self._mine:
            for kernel in self._mine:  # at work: who waits for its verdict retires it
                kernel.kill()
            await asyncio.wait([*self._background, asyncio.create_task(asyncio.sleep(0.02))])

    # -- one standby -----------------------------------------------------------------------

    def _is_right(
        self, plan: Plan, standby: _Standby, state: Fingerprint, preload: Preload
    ) -> bool:
        return (
            standby.usable
            and standby.state == state
            and state != _UNKNOWN
            # In a copy every file must be known to be what it is on disk.
            and (state.complete or not plan.copies)
            and standby.preload.serves(preload)
        )

    async def _awaited(self, standby: _Standby) -> Kernel | None:
        """Its kernel; None if it did not start."""
        try:
            return await asyncio.shield(standby.task)
        except asyncio.CancelledError:
            self._discard(standby)
            raise
        except InterpreterError:
            raise
        except (OciError, OSError, RuntimeError) as error:
            _log.warning("A standby kernel did not start: %s", error)
            return None

    async def _look(self, need: Need) -> tuple[Fingerprint, Preload]:
        async with self._looking:
            return await asyncio.to_thread(self._looked, need)

    def _looked(self, need: Need) -> tuple[Fingerprint, Preload]:
        try:
            return self._planner.find(need.files, need.seeds)
        except OSError as error:  # a folder that may not be looked into, say
            _log.warning("No kernel is kept ahead: %s", error)
            return _UNKNOWN, Preload()

    async def _start(self, plan: Plan, preload: Preload, layered: frozenset[Path]) -> Kernel:
        """A kernel whose imports ahead cannot be told from a run's own."""
        while True:
            now = preload.without(preload.names if self._light else self._refused)
            if self._closed:
                raise SandboxError("The verifier is closed")
            kernel = Kernel(plan, layered, now)
            self._mine.add(kernel)
            self.started += 1
            try:
                await kernel.start()
            except PreloadError:
                self.retire(kernel)
                if not now.names:
                    raise
                self._refused |= set(now.names)
                continue
            except BaseException:
                self.retire(kernel)
                raise
            if not kernel.refused and not self._closed:
                return kernel
            _log.info("Not imported ahead: %s", ", ".join(kernel.refused))
            self._refused |= set(kernel.refused)
            self.retire(kernel)

    async def _start_small(self, plan: Plan, preload: Preload, layered: frozenset[Path]) -> Kernel:
        """A kernel that may wait: with less imported ahead if it is too large for that."""
        while True:
            kernel = await self._start(plan, preload, layered)
            try:
                used = await asyncio.to_thread(kernel.memory)
            except BaseException:
                self.retire(kernel)
                raise
            share = self._settings.standby_memory_mb // max(1, self._settings.standby)
            if used <= share * _MEGABYTE:
                return kernel
            _log.info("A standby kernel uses %d MB, more than its %d", used // _MEGABYTE, share)
            self.retire(kernel)
            if not kernel.preload.names:
                self._too_large = True
                raise SandboxError(
                    f"A kernel with nothing imported ahead uses more than {share} MB"
                )
            self._light = True

    async def _fill(self, plan: Plan) -> None:
        state, preload = await self._look(self._need)
        kept = [one for one in self._ready if self._is_right(plan, one, state, preload)]
        for one in self._ready:
            if one not in kept:
                self._discard(one)
        self._ready = deque(kept)
        count = 0 if self._too_large else self._settings.standby
        if (plan.copies and not state.complete) or state == _UNKNOWN:
            count = 0
        while len(self._ready) < count and not self._closed and self._wanted:
            task = asyncio.create_task(self._start_small(plan, preload, self._need.layered))
            task.add_done_callback(_looked_at)
            self._ready.append(_Standby(state, preload, task))

    # -- beside the caller -----------------------------------------------------------------

    def _refill(self, plan: Plan) -> None:
        if self._wanted and not self._closed:
            self._beside(self._fill(plan))

    def _end_all(self, plan: Plan) -> None:
        self._wanted = False
        while self._ready:
            self._discard(self._ready.popleft())

    def _later(self, seconds: float, call: Callable[[Plan], None], plan: Plan) -> None:
        if call in self._timers:
            self._timers[call].cancel()
        self._timers[call] = asyncio.get_running_loop().call_later(seconds, call, plan)

    def _discard(self, standby: _Standby) -> None:
        standby.task.cancel()
        self._beside(self._ended(standby.task))

    async def _ended(self, task: asyncio.Task[Kernel]) -> None:
        with contextlib.suppress(asyncio.CancelledError, Exception):
            self.retire(await task)

    def _beside(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _looked_at(task: asyncio.Task[Kernel]) -> None:
    """Who takes the standby learns how it failed; where nobody does, nobody is told."""
    if not task.cancelled():
        task.exception()
