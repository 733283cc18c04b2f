"""Drafts: what a reply will probably say next, looked up in what it is likely to repeat.

A repair repeats most of the old function, so the next tokens can be guessed and checked several at
a time (Leviathan et al. 2023, "Fast Inference from Transformers via Speculative Decoding"; the
lookup is Saxena's "Prompt Lookup Decoding", 2023). A guess costs only time: the model's own choice
counts at every place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

# A deletion: so many tokens of the text may have been left out.
_SKIP = 12
# A text that was followed for so long is followed with the confidence of `_STEPS[-1]`.
_STEPS = (0, 1, 2, 4, 8, 16)
_NOWHERE = -1
# Signs that say nothing of where the reply has come to.
_GUESSES = ("line", "before", "replaced")

Clue = tuple[str, int]
"""Why a token is expected: how its place was found, and the length of the match since."""


class Corpus:
    """What a reply may repeat, as token ids.

    Args:
        prediction: what it is expected to repeat most of.
        prompt: what it answers.
        opening: how an earlier reply began.
        ends_line: whether a token ends a line.
    """

    def __init__(
        self,
        prediction: Sequence[int],
        prompt: Sequence[int],
        opening: Sequence[int] = (),
        ends_line: Callable[[int], bool] = lambda token: False,
    ) -> None:
        # A mark that is no token keeps a match from running over a border.
        self.tokens = [*prediction, _NOWHERE, *prompt, _NOWHERE, *opening]
        self.prediction = len(prediction)
        self.opening = len(self.tokens) - len(opening)
        self.ends_line = ends_line
        self._places: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for size in (2, 3):
            for end in range(size, len(self.tokens)):
                self._places[tuple(self.tokens[end - size : end])].append(end)

    def find(self, tail: Sequence[int], near: int) -> tuple[str, int] | None:
        """Where a text that ends in `tail` goes on, nearest to `near`: how it was found, and where.

        Prefers a longer match, then places of the prediction.
        """
        for size in (3, 2):
            if len(tail) >= size and (places := self._places.get(tuple(tail[-size:]))):
                best = min(places, key=lambda at: (at > self.prediction, abs(at - near)))
                return f"last {size}", best
        return None


class Follower:
    """Follows one reply through the corpus."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._at = corpus.opening
        self._how = "opening"
        self._run = 0
        # Where in the prediction the reply has come to, and how many tokens ago.
        self._reached = 0
        self._since = 0
        self._said: list[int] = []

    def add(self, token: int) -> None:
        """Take note of the reply's next token."""
        self._said.append(token)
        tokens = self._corpus.tokens
        if self._at < len(tokens) and tokens[self._at] == token:
            self._at += 1
            self._run += 1
        else:
            self._run = 0
            self._how, self._at = self._found_anew(token)
        self._since += 1
        if (self._how not in _GUESSES or self._run) and self._at <= self._corpus.prediction:
            self._reached, self._since = self._at, 0

    def _found_anew(self, token: int) -> tuple[str, int]:
        """How and where the text goes on, after a token that was not expected."""
        corpus = self._corpus
        if found := corpus.find(self._said[-3:], self._reached):
            return found
        ahead = corpus.tokens[self._reached : min(self._reached + _SKIP, corpus.prediction)]
        if self._reached == 0 and token not in ahead[:1]:
            # Not begun: it begins at the beginning of a line, after who knows how many words.
            return ("line" if corpus.ends_line(token) else "before"), 0
        if token in ahead:
            return "skipped", self._reached + ahead.index(token) + 1
        # Most likely what was said since stands for as many tokens of the text.
        return "replaced", min(self._reached + self._since + 1, corpus.prediction)

    def draft(self, count: int) -> list[tuple[int, Clue]]:
        """At most so many next tokens, each with the clue that led to it."""
        return list(self._ahead(count))

    def _ahead(self, count: int) -> Iterator[tuple[int, Clue]]:
        following = self._corpus.tokens[self._at : self._at + count]
        for step, token in enumerate(following):
            if token == _NOWHERE:
                return
            run = max(length for length in _STEPS if length <= self._run + step)
            yield token, (self._how if run < _STEPS[3] else "followed", run)


class Acceptance:
    """How often the model took a drafted token, by its clue; learned as it goes."""

    # What is believed before anything was seen: as from so many trials.
    _TRIALS = 4.0
    # Older trials count less by this factor a trial.
    _FORGET = 0.98

    def __init__(self) -> None:
        self._seen: dict[Clue, tuple[float, float]] = {}

    def chance(self, clue: Clue) -> float:
        """The chance that a token drafted by this clue is taken, the ones before it being taken."""
        taken, trials = self._seen.get(clue, (0.0, 0.0))
        how, run = clue
        prior = 0.8 if run or how in ("last 3", "opening") else 0.4
        return (taken + prior * self._TRIALS) / (trials + self._TRIALS)

    def note(self, clue: Clue, *, taken: bool) -> None:
        """Take note of a token that was checked."""
        before, trials = self._seen.get(clue, (0.0, 0.0))
        self._seen[clue] = before * self._FORGET + taken, trials * self._FORGET + 1
