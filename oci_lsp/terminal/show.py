"""What a job shows in a terminal while it runs: progress on stderr, the result on stdout."""

from __future__ import annotations

import sys
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax

from oci_lsp.refine.task import Attempted, Baseline, Event, Result, Stage, Suspected, Token, counted
from oci_lsp.terminal.tokens import Tokens
from oci_lsp.terminal.working import Working

_COLOURS = {"passed": "green", "already_passing": "green", "cancelled": "yellow"}


class Progress:
    """Shows a job's events; a context manager.

    Args:
        verbose: show the tokens as they come.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self._working = Working()
        self._tokens = Tokens(self._working)
        self._verbose = verbose

    def __enter__(self) -> Self:
        self._working.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._tokens.close()
        self._working.__exit__(*error)

    def pause(self) -> None:
        """Take the bar away, so that a question can be asked."""
        self._working.pause()

    def resume(self) -> None:
        """Show the bar again."""
        self._working.resume()

    def note(self, message: str) -> None:
        """Tell something beside the job's events."""
        self._tokens.line(message)

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Token):
            if self._verbose:
                self._tokens.piece(event)
        elif isinstance(event, Stage):
            self._stage(event)
        elif isinstance(event, Suspected):
            tests = counted(len(event.tests), "failing test")
            self._tokens.line(f"{event.label}: {tests}, {event.tests[0]}")
        elif isinstance(event, Baseline):
            self._tokens.line(f"today: {event.report.summary}")
        elif isinstance(event, Attempted):
            attempt = event.attempt
            colour = _COLOURS.get(attempt.verdict, "red")
            seconds = f"{attempt.generate_seconds:.1f} s + {attempt.verify_seconds:.1f} s"
            self._tokens.line(
                f"attempt {attempt.number} (turn {attempt.turn}, {seconds}): "
                f"[{colour}]{attempt.verdict}[/]"
                + ("" if attempt.verdict == "passed" else f": {escape(attempt.summary)}"),
                markup=True,
            )

    def _stage(self, stage: Stage) -> None:
        if stage.name == "engine" and stage.detail:
            self._working.step(stage.detail, stage.fraction)
            return
        if stage.turn:
            about = f"{stage.label}: " if stage.label else ""
            self._tokens.batch(f"{about}turn {stage.turn}")
        if stage.attempt:
            tried = (stage.attempt - 1) / stage.of
            self._working.step(str(stage), tried, whole="attempts")
        else:
            self._working.step(str(stage))


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
