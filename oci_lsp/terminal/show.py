"""What a job shows in a terminal while it runs: progress on stderr, the result on stdout."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax

from oci_lsp.refine.task import Attempted, Baseline, Event, Result, Stage, Suspected, Token, counted

_COLOURS = {"passed": "green", "already_passing": "green", "cancelled": "yellow"}


class Progress:
    """Shows a job's events; a context manager. On a terminal one live line, else plain lines.

    Args:
        verbose: show the tokens as they come.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._verbose = verbose
        self._status = self._console.status("starting") if self._console.is_terminal else None
        if verbose:
            self._status = None
        self._candidate = -1
        self._last = ""

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pause()

    def pause(self) -> None:
        """Take the live line away, so that a question can be asked."""
        if self._status:
            self._status.stop()

    def resume(self) -> None:
        """Show the live line again."""
        if self._status:
            self._status.start()

    def note(self, message: str) -> None:
        """Tell something beside the job's events."""
        self._line(message)

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Token):
            self._token(event)
        elif isinstance(event, Stage):
            self._stage(str(event), live=bool(event.detail))
        elif isinstance(event, Suspected):
            tests = counted(len(event.tests), "failing test")
            self._line(f"{event.label}: {tests}, {event.tests[0]}")
        elif isinstance(event, Baseline):
            self._line(f"today: {event.report.summary}")
        elif isinstance(event, Attempted):
            attempt = event.attempt
            colour = _COLOURS.get(attempt.verdict, "red")
            seconds = f"{attempt.generate_seconds:.1f} s + {attempt.verify_seconds:.1f} s"
            self._line(
                f"attempt {attempt.number} (turn {attempt.turn}, {seconds}): "
                f"[{colour}]{attempt.verdict}[/]"
                + ("" if attempt.verdict == "passed" else f": {escape(attempt.summary)}"),
                markup=True,
            )

    def _stage(self, words: str, *, live: bool) -> None:
        if self._status:
            self._status.update(escape(words))
        elif words != self._last and not (
            live and self._last.split(" (")[0] == words.split(" (")[0]
        ):
            # A download's percentages would fill a log; its first line is enough there.
            self._line(words)
        self._last = words

    def _line(self, text: str, *, markup: bool = False) -> None:
        if self._candidate >= 0:
            self._console.print()
            self._candidate = -1
        self._console.print(text, markup=markup)

    def _token(self, token: Token) -> None:
        # Several candidates stream at once; only the first of a turn reads well live.
        if self._verbose and token.index == 0:
            self._candidate = token.index
            self._console.print(token.text, end="", markup=False, style="dim")


def show_result(result: Result) -> None:
    """The diff and the message; coloured where stdout is a terminal."""
    console = Console(highlight=False)
    if result.diff:
        if console.is_terminal:
            console.print(
                Syntax(result.diff.rstrip("\n"), "diff", background_color="default", word_wrap=True)
            )
        else:
            sys.stdout.write(result.diff)
    sys.stdout.flush()
    style = _COLOURS.get(result.outcome, "red")
    Console(stderr=True, highlight=False).print(result.message, style=style, markup=False)
