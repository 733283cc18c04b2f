"""Long work shows itself on stderr: a bar on a terminal, elsewhere a plain line now and then."""

from __future__ import annotations

import re
import threading
import time
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
)
from rich.text import Text

# Off a terminal: a log should tell that something goes on, and not fill.
EVERY_SECONDS = 15.0
# Less says nothing yet about the rest.
_FORESEEABLE = 0.05


class Working:
    """Shows one step at a time; a context manager.

    Args:
        every: seconds between two plain lines about the same step.
    """

    def __init__(self, *, every: float = EVERY_SECONDS) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._every = every
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._words = self._whole = ""
        self._fraction: float | None = None
        self._since = self._told = time.monotonic()
        self._paused = True
        self._bar: Progress | None = None
        self._beat: threading.Thread | None = None
        if self._console.is_terminal:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TaskProgressColumn(show_speed=False),
                _Clock(),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=None, foretold=False)

    def __enter__(self) -> Self:
        self.resume()
        if self._bar is None:
            self._beat = threading.Thread(target=self._run, name="oci-lsp still", daemon=True)
            self._beat.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.pause()
        self._ended.set()
        if self._beat is not None:
            self._beat.join()

    @property
    def console(self) -> Console:
        """Where it is shown; nothing may be written there but between `pause` and `resume`, or by
        `line`."""
        return self._console

    def pause(self) -> None:
        """Take the bar away and be silent, so that a question can be asked."""
        with self._lock:
            self._paused = True
        if self._bar is not None:
            self._bar.stop()

    def resume(self) -> None:
        """Show the bar again."""
        with self._lock:
            self._paused = False
            self._told = time.monotonic()
        if self._bar is not None and self._words:
            self._bar.start()

    def step(self, words: str, fraction: float | None = None, *, whole: str = "") -> None:
        """Show what is done now, and how much of it is behind us (0..1) where that is known.

        `whole` names the work that the step is a part of: the clock and the fraction are the
        whole's then, and how long it takes is not foretold.
        """
        with self._lock:
            # A count that went up is no other step.
            new = _bare(words) != _bare(self._words)
            other = whole != self._whole or (new and not whole)
            self._words, self._fraction, self._whole = words, fraction, whole
            if other:
                self._since = time.monotonic()
            if self._bar is None:
                if new and not self._paused:
                    self._told = time.monotonic()
                    self._console.print(words, markup=False, soft_wrap=True)
                return
            total = None if fraction is None else 1.0
            if other:
                # An old task's speed says nothing of this one, and its total cannot be taken away.
                self._bar.remove_task(self._task)
                self._task = self._bar.add_task(words, total=total, foretold=not whole)
            self._bar.update(self._task, total=total, completed=fraction, description=words)
            if not self._paused:
                self._bar.start()

    def line(self, text: str, *, markup: bool = False) -> None:
        """Print a line that stays, above the bar."""
        with self._lock:
            self._told = time.monotonic()
            self._console.print(text, markup=markup, soft_wrap=True)

    def _run(self) -> None:
        while not self._ended.wait(self._every / 10):
            with self._lock:
                now = time.monotonic()
                if self._paused or not self._words or now - self._told < self._every:
                    continue
                self._told = now
                share = "" if self._fraction is None else f"{self._fraction:.0%}, "
                seconds = now - self._since
                self._console.print(
                    f"{self._words} ({share}{seconds:.0f} s)", markup=False, soft_wrap=True
                )


class _Clock(ProgressColumn):
    """The time that a step has taken, and what is left where that can be foreseen."""

    def render(self, task: Task) -> Text:
        words = _time(task.elapsed or 0.0)
        left = task.time_remaining
        if left and task.fields["foretold"] and task.completed >= _FORESEEABLE:
            words += f", about {_time(left)} left"
        return Text(words, style="progress.elapsed")


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


def _bare(words: str) -> str:
    return re.sub(r"\d+", "", words)
