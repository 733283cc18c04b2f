"""How many threads the CPU's work gets, by what the machine has left.

OpenMP's threads wait for each other many times a token, spinning. Where a core is missing, since
tests run beside the model, all wait for the one that has none: two threads beside one busy process
are three times slower than one thread. So the number follows what is measured.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

# A step this many times the quickest of its kind is a slow one; two in a row ask for a change.
_SLOW = 1.6
_SLOW_STEPS = 2
# Steps from which a number of threads is judged, after one that pays for the change.
_TRIAL_STEPS = 3
# Steps with fewer threads before more are tried again: at first, and at most after vain trials.
_WAIT, _LONGEST_WAIT = 12, 96
# The quickest step is forgotten by this factor a step: with the cache, steps grow longer.
_FORGET = 1.005
_SAMPLES, _SAMPLE_SECONDS = 3, 0.001


def busy_others(stat: Path = Path("/proc/stat")) -> int:
    """Runnable threads of the machine besides the one that asks; 0 where it can't be read."""
    if _cores() != os.cpu_count():
        return 0  # the machine's figures say nothing of the part of it that is ours
    lowest: int | None = None
    for _ in range(_SAMPLES):
        with contextlib.suppress(OSError, ValueError, StopIteration):
            lines = stat.read_text().splitlines()
            running = next(int(x.split()[1]) for x in lines if x.startswith("procs_running "))
            lowest = running - 1 if lowest is None else min(lowest, running - 1)
        time.sleep(_SAMPLE_SECONDS)
    return max(0, lowest or 0)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Threads:
    """Sets the number of threads, told of each step's time.

    Args:
        most: threads that an idle machine is worth; 1 or less leaves nothing to choose.
        use: sets the number for the calling thread.
        busy: how many others want a core just now.
        cores: of the machine; found out by default.
    """

    def __init__(
        self,
        most: int,
        use: Callable[[int], None],
        busy: Callable[[], int] = busy_others,
        cores: int | None = None,
    ) -> None:
        self._cores = cores or _cores()
        self._levels = tuple(sorted({n for n in (most, most - 1, most // 2, 1) if n > 0}))
        self._use = use
        self._busy = busy
        self._level = len(self._levels) - 1
        self._recent: deque[float] = deque(maxlen=_TRIAL_STEPS)
        self._quickest: dict[tuple[int, int], float] = {}
        self._rows = 0
        # While a number is on trial: the level to return to, and how long its steps took.
        self._rival: tuple[int, float] | None = None
        self._skip = False
        self._steps = 0
        self._wait = _WAIT

    @property
    def count(self) -> int:
        """The number in use."""
        return self._levels[self._level]

    def begin(self) -> None:
        """Choose for work that begins (the threads are at rest), by who else is busy."""
        if len(self._levels) == 1:
            return
        free = max(1, self._cores - self._busy())
        fitting = [i for i, count in enumerate(self._levels) if count <= free]
        self._rival = None
        self._wait = _WAIT
        self._change(fitting[-1])

    def step(self, rows: int, seconds: float) -> None:
        """Take note of a step over so many rows, and change the number if that seems to pay."""
        if len(self._levels) == 1:
            return
        if rows != self._rows:
            self._rows = rows
            self._recent.clear()
            if self._rival is not None:  # the two would be judged on unequal work
                level, _ = self._rival
                self._rival = None
                self._change(level)
                return
        if self._skip:
            self._skip = False
            # The first step after a change pays for the change, unless it has lost already.
            if self._rival is None or seconds <= _SLOW * self._rival[1]:
                return
        self._recent.append(seconds)
        self._steps += 1
        quickest = self._reference(rows, seconds)
        if self._rival is not None:
            self._judge(*self._rival)
            return
        slow = list(self._recent)[-_SLOW_STEPS:]
        if self._level > 0 and len(slow) == _SLOW_STEPS and min(slow) > _SLOW * quickest:
            self._try(self._level - 1, statistics.mean(slow))
        elif self._level < len(self._levels) - 1 and self._steps >= self._wait:
            self._try(self._level + 1, statistics.median(self._recent))

    def _reference(self, rows: int, seconds: float) -> float:
        """The quickest step of this kind so far; one with more rows can't have cost less."""
        kind = self._level, rows
        own = self._quickest.get(kind, seconds) * _FORGET
        wider = (s for (at, n), s in self._quickest.items() if at == self._level and n > rows)
        self._quickest[kind] = min(own, seconds, *wider)
        return self._quickest[kind]

    def _try(self, level: int, seconds: float) -> None:
        self._rival = self._level, seconds
        self._change(level)

    def _judge(self, level: int, seconds: float) -> None:
        """Keep the number on trial if it is quicker than the one before."""
        # One clear loss is enough: a trial of a bad number is paid for in full.
        lost = self._recent[-1] > _SLOW * seconds
        if len(self._recent) < _TRIAL_STEPS and not lost:
            return
        self._rival = None
        if not lost and statistics.median(self._recent) < seconds:
            self._wait = _WAIT
            self._steps = 0
            return
        self._wait = min(self._wait * 2, _LONGEST_WAIT)
        if level > self._level:
            # Fewer threads are no quicker: the machine as a whole is slower than it was.
            self._quickest.clear()
        self._change(level)

    def _change(self, level: int) -> None:
        if level != self._level:
            self._skip = True
        self._level = level
        self._recent.clear()
        self._steps = 0
        self._use(self._levels[level])
