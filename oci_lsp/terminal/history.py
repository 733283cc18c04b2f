"""`oci-lsp history`: what earlier jobs did, and their conversations as data."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from oci_lsp import history
from oci_lsp.errors import ConsentError, HistoryError
from oci_lsp.history import Entry
from oci_lsp.refine.task import counted
from oci_lsp.refine.transcript import Transcript, markdown
from oci_lsp.settings import Settings, from_command_line
from oci_lsp.terminal.ask import asker

# What a model or a test wrote must not move the cursor, nor turn the text round, in a terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)")


def run(options: argparse.Namespace) -> int:
    """`history list`, `show`, `replay`, `export`, `clear`; gives the exit status.

    Raises:
        OciError: no such job, it cannot be replayed, no consent.
    """
    # A wrong word must be told; of the actions only `replay` goes by settings.
    from_command_line(Settings(), options.assignments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A model may write half an emoji, which no encoding has.
        sys.stdout.reconfigure(errors="backslashreplace")
    if options.action == "list":
        return _list(as_json=options.json)
    if options.action == "show":
        return _show(options.job, as_json=options.json)
    if options.action == "replay":
        from oci_lsp.terminal import replay

        return replay.run(_transcript(options.job), options)
    if options.action == "export":
        return _export(options.jobs, options.output)
    return _clear(yes=options.yes)


def write(text: str) -> None:
    """A line on stdout; a terminal gets no control characters."""
    if sys.stdout.isatty():
        text = _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    print(text)


def _list(*, as_json: bool) -> int:
    jobs = list(history.entries())
    if as_json:
        write(json.dumps([job.as_json() for job in jobs], indent=2))
        return 0
    if not jobs:
        print("No job has been recorded yet.", file=sys.stderr)
        return 0
    rows = [("id", "when", "target", "outcome", "attempts", "model")]
    rows += [
        (job.id, _when(job.created), _place(job), job.outcome, str(job.attempts), job.model)
        for job in jobs
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        write("  ".join(cells).rstrip())
    return 0


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _place(job: Entry) -> str:
    """The target from here; one of a project elsewhere by its whole path."""
    whole = Path(job.root) / job.target
    return str(whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole)


def _transcript(words: str) -> Transcript:
    return Transcript.read(history.load(history.find(words).file))


def _show(words: str, *, as_json: bool) -> int:
    file = history.find(words).file
    records = history.load(file)
    if as_json:
        write(json.dumps(records, indent=2))
    else:
        write(markdown(Transcript.read(records)).rstrip("\n"))
    return 0


def _export(words: Sequence[str], output: Path | None) -> int:
    from oci_lsp.refine.code_feedback import conversation

    conversations = [conversation(job) for job in (_named(words) if words else _all())]
    kept = [one for one in conversations if one is not None]
    text = json.dumps(kept, indent=2) + "\n"
    if output is None:
        write(text.rstrip("\n"))
    else:
        try:
            descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise HistoryError(f"{output} cannot be written: {error.strerror}") from error
    told = f"{counted(len(kept), 'conversation')} exported"
    if left := len(conversations) - len(kept):
        told += f"; {counted(left, 'job')} without an answer of the model left out"
    print(f"{told}.", file=sys.stderr)
    return 0


def _named(words: Sequence[str]) -> Iterator[Transcript]:
    return (_transcript(word) for word in words)


def _all() -> Iterator[Transcript]:
    """Every job that can be read, the oldest first."""
    for job in reversed(list(history.entries())):
        try:
            yield Transcript.read(history.load(job.file))
        except HistoryError as error:
            print(f"left out: {job.id}: {error.message}", file=sys.stderr)


def _clear(*, yes: bool) -> int:
    count = sum(1 for _ in history.entries())
    question = f"Delete {counted(count, 'transcript')}? They cannot be had back."

    async def answer() -> bool:
        return await asker(yes=yes)(question)

    if not asyncio.run(answer()):
        raise ConsentError("Nothing was deleted", "To delete without a question: --yes.")
    print(f"{counted(history.clear(), 'transcript')} deleted.")
    return 0
