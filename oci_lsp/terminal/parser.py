"""The parser of the command line: a wrong word is told with the nearest right one."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

_COLUMNS = 78


class Parser(argparse.ArgumentParser):
    """Tells the wrong word, the nearest right one, and where all of them are listed."""

    def __init__(self, **options: Any) -> None:
        # Examples keep their lines, so the description must bring its own.
        options["formatter_class"] = argparse.RawDescriptionHelpFormatter
        options["description"] = textwrap.fill(options.get("description") or "", _COLUMNS)
        super().__init__(**options)
        self._given: list[str] = []

    def examples(self, *lines: str) -> None:
        """Show these command lines at the end of `--help`."""
        self.epilog = "\n".join(["examples:" if len(lines) > 1 else "example:", *_indented(lines)])

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but what nobody knows is told by the command that it was given to."""
        self._given = list(sys.argv[1:] if args is None else args)
        found, rest = super().parse_known_args(self._given, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        near = self._near(message)
        advice = f"Did you mean {near}? " if near else ""
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}\n{advice}`{self.prog} --help` lists what there is.\n")

    def _near(self, message: str) -> str:
        if found := re.search(r"invalid choice: '(.*?)' ", message):
            choices = [str(choice) for action in self._actions for choice in action.choices or ()]
            return _nearest(found[1], choices) or self._near_option(self._before(found[1]))
        if found := re.search(r"unrecognized arguments: (-\S*)", message):
            return self._near_option([found[1]])
        return ""

    def _before(self, word: str) -> list[str]:
        """The words before one: the value of a mistyped option is taken for a command."""
        return self._given[: self._given.index(word)] if word in self._given else []

    def _near_option(self, words: Sequence[str]) -> str:
        names = [word.partition("=")[0] for word in words if word.startswith("-")]
        near = [_nearest(name, self._option_string_actions) for name in names]
        return next((one for one, name in zip(near, names, strict=True) if one != name), "")


def _nearest(word: str, known: Iterable[str]) -> str:
    return "".join(difflib.get_close_matches(word, list(known), 1))


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]
