"""Notices where the definition that was asked for ends: what a model adds to it is of no use."""

from __future__ import annotations

import re

# With what a line at the function's own indentation may go on with the reply's code: another
# definition, a decorator, an import, a comment, the end of a bracket or of a text.
_WORDS = ("def", "class", "async", "import", "from", "if", "try", "else", "except", "finally")
_SIGNS = "@#)]}\"'"
_WORD = re.compile(r"\w+")
_FENCES = ("```", "~~~")


class DefinitionWatch:
    """Passes a reply's text on until a line no longer belongs to the definition of `name`.

    That is a line after the function's body that is indented no deeper than its `def` and is not
    the beginning of more code of the kind that a reply may hold. Such a line is not passed on. With
    an empty name, and from a class on, everything is passed on.
    """

    def __init__(self, name: str) -> None:
        self._definition = re.compile(
            rf"(?P<indent>[ \t]*)(?:async[ \t]+)?def[ \t]+{re.escape(name)}\b"
        )
        self._name = name
        self._line = ""
        # The part of the line that is held back until it is known whether it belongs.
        self._held = ""
        self._belongs: bool | None = None
        self._indent: int | None = None
        self._in_body = False
        self._in_string = ""
        self._fenced = False
        self.stopped = False

    def add(self, text: str) -> str:
        """What of the held back and the new text may be passed on; sets `stopped`."""
        if not self._name:
            return text
        passed = ""
        for character in text:
            if character == "\n":
                self._end_line()
                passed += self._held + character
                self._held = ""
                continue
            self._line += character
            self._held += character
            if self._belongs is None:
                self._belongs = self._judge()
            if self._belongs:
                passed += self._held
                self._held = ""
            elif self._belongs is False:
                self.stopped = True
                self._held = ""
                return passed
        return passed

    def finish(self) -> str:
        """The text held back when the reply ended."""
        held, self._held = self._held, ""
        return held

    def _judge(self) -> bool | None:
        """Whether the line belongs to the reply's code; None: too little of it has come."""
        if not self._name or self._indent is None or not self._in_body or self._in_string:
            return True
        text = self._line.lstrip(" \t")
        if not text:
            return None
        if len(self._line) - len(text) > self._indent or text[0] in _SIGNS:
            return True
        if any(fence.startswith(text[:3]) for fence in _FENCES):
            return self._fenced if len(text) >= 3 else None
        word = _WORD.match(text)
        if word is None:
            return False
        if word.end() == len(text):
            # It may still grow into another one.
            return None if any(known.startswith(text) for known in _WORDS) else False
        return word[0] in _WORDS

    def _end_line(self) -> None:
        line, self._line, self._belongs = self._line, "", None
        stripped = line.strip()
        if stripped.startswith("class ") and not self._in_string:
            # Which of several functions of that name is meant, and what a class holds besides, is
            # not for us to say.
            self._name = ""
        if self._indent is None:
            if stripped.startswith(_FENCES):
                self._fenced = True
            elif match := self._definition.match(line):
                self._indent = len(match["indent"])
        elif stripped and not self._in_string and len(line) - len(line.lstrip()) > self._indent:
            self._in_body = True
        self._follow_string(line)

    def _follow_string(self, line: str) -> None:
        """Keep track of triple quotes: within a text no line says anything."""
        # Three quotes within another kind of quotes are no text's beginning.
        plain = line.replace('\'"""\'', "").replace("\"'''\"", "")
        for quotes in re.findall(r'"""|\'\'\'', plain):
            if not self._in_string:
                self._in_string = quotes
            elif quotes == self._in_string:
                self._in_string = ""
