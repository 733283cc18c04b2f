"""The model's replies as they come: the greedy candidate's live, the others' when they end."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from oci_lsp.refine.task import Token
from oci_lsp.terminal.working import Working
from oci_lsp.verify.wire import visible


class Tokens:
    """Writes replies to the terminal, and keeps other lines from breaking into a live one."""

    def __init__(self, working: Working) -> None:
        self._working = working
        self._batch = ""
        self._live = False
        self._in_line = False
        self._pieces: defaultdict[int, list[str]] = defaultdict(list)
        self._held: list[tuple[str, bool]] = []

    def batch(self, name: str) -> None:
        """The model begins with a batch of candidates; the same name again is no new one."""
        if name != self._batch:
            self.close()
            self._batch = name

    def piece(self, token: Token) -> None:
        """A piece of a candidate, or its end."""
        if token.index == 0:
            self._greedy(token)
            return
        self._pieces[token.index].append(token.text)
        if token.last:
            text = "".join(self._pieces.pop(token.index))
            self.line(f"{self._head(token.index)}\n[dim]{_escaped(text)}[/]", markup=True)

    def line(self, text: str, *, markup: bool = False) -> None:
        """Print a line, after the live candidate's end if there is one."""
        if self._live:
            self._held.append((text, markup))
        else:
            self._working.line(text, markup=markup)

    def close(self) -> None:
        """End the live candidate, which may have been cancelled, and print what waited for it."""
        if not self._live:
            return
        self._live = False
        if self._in_line:
            self._working.console.print()
        self._working.resume()
        for text, markup in self._held:
            self._working.line(text, markup=markup)
        self._held.clear()

    def _greedy(self, token: Token) -> None:
        if not self._live:
            # A bar and a line that is not whole cannot share a terminal.
            self._working.pause()
            self._live = True
            self._print(f"{self._head(0)}\n")
        if token.text:
            self._print(visible(token.text), style="dim")
            self._in_line = not token.text.endswith("\n")
        if token.last:
            self.close()

    def _head(self, index: int) -> str:
        return f"{self._batch}, candidate {index + 1}:"

    def _print(self, text: str, **style: Any) -> None:
        self._working.console.print(text, end="", markup=False, soft_wrap=True, **style)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(visible(text.rstrip("\n")))
