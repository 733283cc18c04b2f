"""A job's transcript: as records for the history, as Markdown for the user's eyes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from oci_lsp import __version__
from oci_lsp.refine.task import Result, Task

_WHO = {"oci-lsp": "oci-lsp", "model": "The model", "user": "You, through oci-lsp"}


def records(job_id: str, task: Task, result: Result) -> Iterator[dict[str, Any]]:
    """The lines of a transcript: the job, then its messages, then its attempts."""
    yield {
        "type": "job",
        "id": job_id,
        "version": __version__,
        "created": time.time(),
        "root": str(task.root),
        "path": str(task.path),
        "target": task.label,
        "kind": task.kind,
        "feedback": list(task.feedback),
        **{k: v for k, v in result.as_json().items() if k != "attempts"},
    }
    for message in result.messages:
        yield {
            "type": "message",
            "role": message.role,
            "author": message.author,
            "content": message.content,
        }
    for attempt in result.attempts:
        yield {
            "type": "attempt",
            **attempt.as_json(),
            "code": attempt.code,
            "feedback": attempt.feedback,
        }


def markdown(task: Task, result: Result) -> str:
    """The transcript as a page: what was said, by whom, and what each candidate did."""
    parts = [
        f"# {task.label}: {result.outcome}",
        result.message,
        f"Model {result.model or 'not reached'}, {result.seconds:.1f} s, "
        f"tests: {', '.join(result.tests) or 'none'}",
    ]
    for message in result.messages:
        parts.append(f"## {_WHO[message.author]} ({message.role})")
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
    return "\n\n".join(parts) + "\n"


def _fence(text: str) -> str:
    """A code fence longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return fence
