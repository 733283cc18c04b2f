"""What a job is given, what it tells while it runs, and what it ends with."""

from __future__ import annotations

import difflib
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from oci_lsp.engine.client import Delta, Queued, Request, Usage
from oci_lsp.source.functions import CommentBlock, Function, Module
from oci_lsp.verify.verdict import Report, Run

Kind = Literal["fix", "generate"]
Outcome = Literal[
    "passed", "failed", "already_passing", "no_test", "broken_test", "stale", "cancelled", "error"
]
Limit = Literal["attempts", "turns", "seconds", "tokens"]
Verdict = Literal["passed", "failed", "vacuous", "regressed", "timed_out", "crashed", "rejected"]
Author = Literal["oci-lsp", "model", "user"]


class Engine(Protocol):
    """The model's side, as the loop sees it; `oci_lsp.engine.client.EngineClient` is one."""

    model: str

    def stream(self, request: Request) -> AsyncGenerator[Delta | Usage | Queued]: ...


class Verifier(Protocol):
    """The kernels' side, as the loop sees it; `oci_lsp.verify.pool.Verifier` is one."""

    @property
    def note(self) -> str: ...

    async def prepare(self, sources: Iterable[Path] = ()) -> None: ...

    async def run(self, run: Run) -> Report: ...


@dataclass(frozen=True)
class Diagnostic:
    """A problem that some tool reported; `line` is 0-based in the file."""

    line: int
    message: str
    source: str = ""


@dataclass(frozen=True)
class Message:
    """One turn of the conversation; `author` tells whose words a `user` message carries."""

    role: Literal["system", "user", "assistant"]
    content: str
    author: Author = "oci-lsp"


@dataclass(frozen=True)
class Task:
    """A snapshot of everything a job works on; the editor may change meanwhile.

    Attributes:
        root: the project's folder, a real path.
        path: the file's real path, inside `root`.
        module: the buffer as it was when the job was asked for.
        tests: what the user named as the test: pytest node ids or snippets.
        feedback: the user's words, oldest first.
        buffers: unsaved texts of other files by real path.
        conversation: messages of the job that this one continues; empty for a new one.
        green: node ids of tests that pass today and must go on to; empty: those that reference
            the function are looked for.
    """

    root: Path
    path: Path
    module: Module
    target: Function | CommentBlock
    kind: Kind
    tests: tuple[str, ...] = ()
    feedback: tuple[str, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    buffers: Mapping[Path, str] = field(default_factory=dict)
    conversation: tuple[Message, ...] = ()
    green: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What the job works on, for the user's eyes."""
        if isinstance(self.target, Function):
            return self.target.qualname
        return f"the comment in line {self.target.line + 1}"


@dataclass(frozen=True)
class Attempt:
    """One candidate and what became of it; `turn` and `number` count from 1.

    `code` is what was put into the file, `reply` the whole of what the model wrote. The token
    counts are None where the engine did not tell before the stream was closed. `green` are the ids
    of the tests that passed.
    """

    turn: int
    number: int
    verdict: Verdict
    code: str
    summary: str
    feedback: str
    generate_seconds: float
    verify_seconds: float
    prompt_tokens: int | None
    completion_tokens: int | None
    green: tuple[str, ...] = ()
    reply: str = ""

    def as_json(self) -> dict[str, Any]:
        """The figures that `--json` prints."""
        return {
            "turn": self.turn,
            "verdict": self.verdict,
            "generate_seconds": round(self.generate_seconds, 3),
            "verify_seconds": round(self.verify_seconds, 3),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "summary": self.summary,
        }


@dataclass(frozen=True)
class Result:
    """How a job ended. `text` is the whole new file where the outcome is `passed`, else None."""

    outcome: Outcome
    message: str
    limit: Limit | None = None
    attempts: tuple[Attempt, ...] = ()
    text: str | None = None
    diff: str = ""
    tests: tuple[str, ...] = ()
    regressions: tuple[str, ...] = ()
    model: str = ""
    seconds: float = 0.0
    messages: tuple[Message, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "outcome": self.outcome,
            "limit": self.limit,
            "attempts": [attempt.as_json() for attempt in self.attempts],
            "diff": self.diff,
            "tests": list(self.tests),
            "regressions": list(self.regressions),
            "model": self.model,
            "seconds": round(self.seconds, 3),
            "message": self.message,
        }


@dataclass(frozen=True)
class Stage:
    """The job entered a stage; `attempt` counts from 1, 0 before the first."""

    name: Literal[
        "suite", "baseline", "isolation", "engine", "generating", "testing", "regressions"
    ]
    attempt: int = 0
    of: int = 0
    turn: int = 0
    detail: str = ""
    label: str = ""
    """The function that it is about, where there are several."""
    fraction: float | None = None
    """How much of it is done (0..1), where that is known."""

    def __str__(self) -> str:
        words = {
            "suite": "running the test suite",
            "baseline": "running the test on today's code",
            "isolation": "isolation",
            "engine": "waiting for the engine",
            "generating": "generating",
            "testing": "testing",
            "regressions": "running the other tests",
        }
        head = f"{self.label}: " if self.label else ""
        head += f"attempt {self.attempt}/{self.of}: " if self.attempt else ""
        share = "" if self.fraction is None else f" {self.fraction:.0%}"
        return head + words[self.name] + (f" ({self.detail}{share})" if self.detail else "")


@dataclass(frozen=True)
class Token:
    """A piece of a candidate's text as it comes; `index` is 0-based within the turn.

    The last one of a candidate that was written to its end is marked, and may be empty.
    """

    index: int
    text: str
    last: bool = False


@dataclass(frozen=True)
class Attempted:
    """A candidate got its verdict."""

    attempt: Attempt


@dataclass(frozen=True)
class Baseline:
    """The test ran on today's code."""

    report: Report


@dataclass(frozen=True)
class Suspected:
    """Of several functions, the one that is worked on next, and the failing tests that blame it."""

    label: str
    tests: tuple[str, ...]


Event = Stage | Token | Attempted | Baseline | Suspected
Observer = Callable[[Event], None]


# What patch takes for a line: a form feed or a lone carriage return ends none.
_LINES = re.compile(r"[^\n]*\n|[^\n]+")


def unified_diff(path: str, old: str, new: str) -> str:
    """A unified diff that `patch -p1` and `git apply` take; `path` is relative to the root."""
    lines: list[str] = []
    for line in difflib.unified_diff(
        _LINES.findall(old),
        _LINES.findall(new),
        f"a/{path}",
        f"b/{path}",
    ):
        lines.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return "".join(lines)


def counted(number: int, noun: str) -> str:
    """`1 attempt`, `2 attempts`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
