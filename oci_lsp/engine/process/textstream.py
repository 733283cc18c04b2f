"""Turns a row's tokens into text as they come, and notices where the text has to end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from oci_lsp.engine.process.definition import DefinitionWatch

_REPLACEMENT = "�"
_OPENING = re.compile(r" {0,3}(`{3,}|~{3,})[^`\n]*")


class Detokenizer:
    """Decodes tokens one by one; holds back what may be part of a character still to come.

    Tokens are pieces of bytes, and some tokenizers drop or add a space at the start of a text, so
    a token's text is what it adds to the text of the tokens shortly before it.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        # Tokens before `_read` have been given out; those from `_context` on are decoded with.
        self._context = 0
        self._read = 0

    def _decode(self, tokens: Sequence[int]) -> str:
        text = self._tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    def add(self, token: int) -> str:
        """The text that is certain after this token; often empty within a long character."""
        self._tokens.append(token)
        return self._advance(final=False)

    def finish(self) -> str:
        """What is left; an unfinished character comes as U+FFFD."""
        return self._advance(final=True)

    def _advance(self, *, final: bool) -> str:
        before = self._decode(self._tokens[self._context : self._read])
        after = self._decode(self._tokens[self._context :])
        if len(after) <= len(before) or (after.endswith(_REPLACEMENT) and not final):
            return ""
        self._context = self._read
        self._read = len(self._tokens)
        return after[len(before) :]


class StopWatch:
    """Passes text on until a stop text appears, or the code that was asked for has ended.

    A stop text is not passed on; the fence that closes a block is. Text that may turn out to be
    the beginning of a stop text is held back.

    Args:
        stops: the stop texts.
        after_code: stop where the first fenced code block closes.
        definition: name of a function whose definition's end stops the text too; empty: none.
    """

    def __init__(
        self, stops: Sequence[str] = (), *, after_code: bool = False, definition: str = ""
    ) -> None:
        self._definition = DefinitionWatch(definition)
        self._stops = tuple(stop for stop in stops if stop)
        self._after_code = after_code
        self._held = ""
        self._line = ""
        self._fence = ""
        self.stopped = False

    def add(self, text: str) -> str:
        """What of the held back and the new text may be passed on; sets `stopped`."""
        if self.stopped:
            return ""
        text = self._held + text
        self._held = ""
        # The stop that is complete first counts, as if the text came letter by letter.
        ends = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.stopped = True
            text = text[: min(ends)[1]]
        elif keep := self._beginning_of_a_stop(text):
            self._held = text[-keep:]
            text = text[:-keep]
        if (end := self._code_end(text)) is not None:
            self.stopped = True
            text = text[:end]
        text = self._definition.add(text)
        if self._definition.stopped:
            self.stopped = True
        elif self.stopped:
            text += self._definition.finish()
        return text

    def finish(self) -> str:
        """The text held back when the tokens ended without a stop."""
        text, self._held = self._held, ""
        return self._definition.add(text) + self._definition.finish()

    def _beginning_of_a_stop(self, text: str) -> int:
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for count in range(min(longest, len(text)), 0, -1):
            tail = text[-count:]
            if any(stop.startswith(tail) for stop in self._stops):
                return count
        return 0

    def _code_end(self, text: str) -> int | None:
        """Where in the text the first code block closes (just after the fence)."""
        if not self._after_code:
            return None
        for position, character in enumerate(text):
            if character == "\n":
                if not self._fence and (match := _OPENING.fullmatch(self._line)):
                    self._fence = match[1]
                self._line = ""
                continue
            self._line += character
            # Four spaces or more make it part of the code, say of a docstring.
            if (
                self._fence
                and self._line.lstrip(" ") == self._fence
                and (len(self._line) - len(self._fence) < 4)
            ):
                return position + 1
        return None
