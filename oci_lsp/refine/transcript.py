"""A job's transcript: everything that is needed to read it, to run it again and to export it."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from oci_lsp import __version__
from oci_lsp.engine.client import public_address
from oci_lsp.errors import HistoryError
from oci_lsp.history import Record, is_time
from oci_lsp.refine.task import Attempt, Diagnostic, Kind, Message, Result, Task
from oci_lsp.settings import Settings, keys, value_of
from oci_lsp.source.functions import CommentBlock, Function, parse

_WHO: dict[str, str] = {"oci-lsp": "oci-lsp", "model": "The model", "user": "You, through oci-lsp"}
# What decides how a job goes. Not the engine's address, which may hold a password, nor its key.
_SECTIONS = ("engine", "refine", "verify")
_SECRET = ("engine.url", "engine.apiKeyEnv")

_Part = TypeVar("_Part", Attempt, Diagnostic, Message)


@dataclass(frozen=True)
class Transcript:
    """A job that has ended.

    Attributes:
        created: when it ended, seconds since the epoch.
        root, path: the project's folder and the file, absolute.
        target: the job's target as the command line takes it: `src/shop.py::Cart.total`, or
            `src/shop.py:12` for a comment; relative to the root.
        qualname: the target's qualified name; "" for a comment.
        start: offset of the target in `text`, 0-based.
        text: the file when the job was asked for; None where the record of it is lost.
        tests, feedback, diagnostics, green: what the job was given, see `Task`.
        unsaved: other files that the job saw as they were in the editor, relative to the root.
        settings: those that decide how a job goes, by dotted name; empty where not told.
    """

    id: str
    created: float
    versions: Mapping[str, str]
    root: Path
    path: Path
    target: str
    kind: Kind
    result: Result
    qualname: str = ""
    start: int = 0
    text: str | None = None
    tests: tuple[str, ...] = ()
    feedback: tuple[str, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    green: tuple[str, ...] = ()
    unsaved: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        job_id: str,
        task: Task,
        result: Result,
        settings: Settings | None = None,
        created: float | None = None,
    ) -> Transcript:
        """The transcript of a job that ended at `created`; by default now."""
        return cls(
            id=job_id,
            created=time.time() if created is None else created,
            versions={"oci-lsp": __version__, "python": platform.python_version()},
            root=task.root,
            path=task.path,
            target=f"{_relative(task.path, task.root)}{_within(task.target)}",
            kind=task.kind,
            result=result if settings is None else _without_address(result, settings),
            qualname=task.target.qualname if isinstance(task.target, Function) else "",
            start=task.target.span.start,
            text=task.module.text,
            tests=task.tests,
            feedback=task.feedback,
            diagnostics=task.diagnostics,
            green=task.green,
            unsaved=tuple(_relative(path, task.root) for path in task.buffers),
            settings={} if settings is None else deciding(settings),
        )

    @classmethod
    def read(cls, records: Iterable[Record]) -> Transcript:
        """The transcript that `records` made; what other versions wrote, or a lost line, is empty.

        Raises:
            HistoryError: there is no job among them, or it holds what no version writes.
        """
        of_type: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            of_type[record["type"]].append(record)
        job, task, end = (next(iter(of_type[name]), {}) for name in ("job", "task", "result"))
        try:
            result = Result(
                outcome=job["outcome"],
                message=end.get("message", ""),
                limit=job.get("limit"),
                attempts=_parts(Attempt, of_type["attempt"]),
                diff=end.get("diff", ""),
                tests=tuple(end.get("tests", ())),
                regressions=tuple(end.get("regressions", ())),
                model=job["model"],
                seconds=float(job["seconds"]),
                messages=_parts(Message, of_type["message"]),
            )
            return cls(
                id=job["id"],
                created=job["created"] if is_time(job["created"]) else 0.0,
                versions=dict(job["versions"]),
                root=Path(job["root"]),
                path=Path(job["path"]),
                target=job["target"],
                kind=job["kind"],
                result=result,
                qualname=task.get("qualname", ""),
                start=task.get("start", 0),
                text=task.get("text"),
                tests=tuple(task.get("tests", ())),
                feedback=tuple(task.get("feedback", ())),
                diagnostics=_parts(Diagnostic, task.get("diagnostics", ())),
                green=tuple(task.get("green", ())),
                unsaved=tuple(task.get("unsaved", ())),
                settings=dict(task.get("settings", {})),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise HistoryError(
                f"This transcript is damaged or of another version ({error})",
                "`oci-lsp history list` lists the others.",
            ) from error

    def records(self) -> Iterator[Record]:
        """The lines of the file: the job, what it was given, its end, messages, attempts."""
        result = self.result
        yield {
            "type": "job",
            "id": self.id,
            "created": self.created,
            "versions": dict(self.versions),
            "root": str(self.root),
            "path": str(self.path),
            "target": self.target,
            "kind": self.kind,
            "outcome": result.outcome,
            "limit": result.limit,
            "attempts": len(result.attempts),
            "model": result.model,
            "seconds": round(result.seconds, 3),
        }
        yield {
            "type": "task",
            "qualname": self.qualname,
            "start": self.start,
            "text": self.text,
            "tests": list(self.tests),
            "feedback": list(self.feedback),
            "diagnostics": [dataclasses.asdict(item) for item in self.diagnostics],
            "green": list(self.green),
            "unsaved": list(self.unsaved),
            "settings": dict(self.settings),
        }
        yield {
            "type": "result",
            "message": result.message,
            "diff": result.diff,
            "tests": list(result.tests),
            "regressions": list(result.regressions),
        }
        for message in result.messages:
            yield {"type": "message", **dataclasses.asdict(message)}
        for attempt in result.attempts:
            yield {"type": "attempt", **dataclasses.asdict(attempt)}

    def task(self) -> Task:
        """The job's task on the file as it was; the buffers of other files are not kept.

        Raises:
            HistoryError: the record of it is lost.
        """
        module = parse(self.text or "")
        target: Function | CommentBlock | None
        if self.qualname:
            named = (f for f in module.functions if f.qualname == self.qualname)
            target = next((f for f in named if f.span.start == self.start), None)
        else:
            target = module.comment_at(self.start) if self.text else None
        if target is None:
            raise HistoryError(
                f"The transcript {self.id} does not hold the file as it was",
                "It can be shown and exported, but not replayed.",
            )
        return Task(
            root=self.root,
            path=self.path,
            module=module,
            target=target,
            kind=self.kind,
            tests=self.tests,
            feedback=self.feedback,
            diagnostics=self.diagnostics,
            green=self.green,
        )


def deciding(settings: Settings) -> dict[str, Any]:
    """The settings that decide how a job goes, by dotted name, as JSON has them."""
    values = {
        key.name: value_of(settings, key)
        for key in keys().values()
        if key.section in _SECTIONS and key.name not in _SECRET
    }
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def markdown(transcript: Transcript) -> str:
    """The transcript as a page: what was said, by whom, and what each candidate did."""
    result = transcript.result
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(transcript.created))
    parts = [
        f"# {transcript.target}: {result.outcome}",
        result.message,
        f"`{transcript.path}`, {when}, job {transcript.id}",
        f"Model {result.model or 'not reached'}, {result.seconds:.1f} s, "
        f"tests: {', '.join(result.tests) or 'none'}",
    ]
    for message in result.messages:
        parts.append(f"## {_WHO.get(message.author, message.author)} ({message.role})")
        parts.append(message.content)
    for attempt in result.attempts:
        parts.append(
            f"## Attempt {attempt.number} (turn {attempt.turn}): {attempt.verdict}, "
            f"{attempt.generate_seconds:.1f} s to generate, {attempt.verify_seconds:.1f} s to test"
        )
        parts.append(f"{_fence(attempt.code)}python\n{attempt.code}\n{_fence(attempt.code)}")
        if attempt.feedback:
            fence = _fence(attempt.feedback)
            parts.append(f"{fence}\n{attempt.feedback}\n{fence}")
    if result.diff:
        parts.append("## The edit")
        parts.append(f"{_fence(result.diff)}diff\n{result.diff}{_fence(result.diff)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _fence(text: str) -> str:
    """A code fence longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return fence


def _without_address(result: Result, settings: Settings) -> Result:
    """An engine that failed is named in the message, with whatever its address holds."""
    url = public_address(settings.engine.url)
    message = result.message.replace(url, "engine.url") if url else result.message
    return dataclasses.replace(result, message=message)


def _relative(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _within(target: Function | CommentBlock) -> str:
    return f"::{target.qualname}" if isinstance(target, Function) else f":{target.line + 1}"


def _parts(kind: type[_Part], records: Iterable[Record]) -> tuple[_Part, ...]:
    """The records as objects; what is unknown in them, or lacks a field, is left out."""
    names = {item.name for item in dataclasses.fields(kind)}
    made: list[_Part] = []
    for record in records:
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in record.items()
            if name in names
        }
        try:
            made.append(kind(**known))
        except TypeError:
            continue
    return tuple(made)
