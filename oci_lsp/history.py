"""Transcripts of jobs on disk: one JSON-lines file each, private to the user, bounded.

The first line of a file tells the job in few words; what is long or private comes after it, so
that a list of jobs reads first lines only. A file that cannot be read (cut short, of another
version, not ours) is passed over: looking back must never fail for it.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeGuard

from oci_lsp.errors import HistoryError
from oci_lsp.paths import history_dir, pages_dir
from oci_lsp.settings import HistorySettings

Record = dict[str, Any]

# All transcripts together; the newest stays whatever its size.
_MOST_BYTES = 256 * 1024**2
_NAME = re.compile(r"\d{8}-\d{6}\.\d{6}-(?P<id>\w+)\.jsonl")
# Writing one takes less than a second: an older one was left by a process that was killed.
_ABANDONED_SECONDS = 60.0
# The year 5138.
_FAR_FUTURE = 1e11
# The first line has some hundred bytes; a file that is not ours may have one without an end.
_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True)
class Entry:
    """One job as a list shows it; what its first line lacks is empty.

    Attributes:
        file: its transcript.
        created: when the job ended, seconds since the epoch.
        root, path: the project's folder and the source file, absolute.
        target: what the job worked on, as the command line takes it, relative to the root.
        attempts: how many candidates got a verdict.
        seconds: how long the job took.
    """

    id: str
    file: Path
    created: float
    root: str = ""
    path: str = ""
    target: str = ""
    kind: str = ""
    outcome: str = ""
    model: str = ""
    attempts: int = 0
    seconds: float = 0.0

    def as_json(self) -> Record:
        """The object that `history list --json` prints."""
        return {**vars(self), "file": str(self.file)}


def save(job_id: str, records: Iterable[Record], settings: HistorySettings) -> Path | None:
    """Write one job's records, and delete the oldest transcripts beyond the limits.

    The name sorts by time. The file appears whole or not at all; None where history is off.

    Raises:
        OSError: the disk is full or the folder cannot be written.
        OciError: the folder cannot be had.
    """
    if not settings.enabled:
        return None
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S.%f")
    path = history_dir() / f"{stamp}-{job_id}.jsonl"
    # ASCII, so that half a surrogate pair is written and read like any other text.
    _write(path, (json.dumps(record) + "\n" for record in records))
    _prune(settings.keep)
    return path


def load(path: Path) -> list[Record]:
    """The records of one transcript, the job's own first; lines that are none are left out.

    Raises:
        HistoryError: the file cannot be read, or it does not begin with a job.
    """
    try:
        lines = path.read_text("utf-8", errors="replace").split("\n")
    except OSError as error:
        raise HistoryError(f"{path} cannot be read: {error.strerror}") from error
    records = [record for line in lines if (record := _record(line)) is not None]
    if not records or records[0]["type"] != "job":
        raise HistoryError(
            f"{path} is not a transcript of oci-lsp, or it is damaged", "It can be deleted."
        )
    return records


def entries() -> Iterator[Entry]:
    """The jobs, the newest first."""
    return (entry for file in _files() if (entry := _entry(file)))


def find(words: str) -> Entry:
    """The job that an id, the unambiguous beginning of one, or `last` stands for.

    Raises:
        HistoryError: there is none, or more than one; near ones are named.
    """
    known = list(entries())
    if not known:
        raise HistoryError(
            "No job has been recorded yet",
            "Each fix is, in an editor and by `oci-lsp fix`, unless history.enabled is false.",
        )
    if words == "last":
        return known[0]
    found = [entry for entry in known if words and entry.id.startswith(words)]
    if len(found) == 1:
        return found[0]
    if found:
        raise HistoryError(
            f"{len(found)} jobs begin with {words!r}", f"Write more of it:\n{_listed(found[:10])}"
        )
    near = difflib.get_close_matches(words, [entry.id for entry in known], n=3)
    shown = [entry for entry in known if entry.id in near] or known[:3]
    raise HistoryError(
        f"There is no job {words!r}",
        f"{'Near it' if near else 'The last ones'}:\n{_listed(shown)}\n"
        "`oci-lsp history list` lists them all.",
    )


def clear() -> int:
    """Delete every transcript and every page, and say how many transcripts there were.

    Raises:
        HistoryError: one could not be deleted.
    """
    transcripts = _files()
    pages = [path for path in pages_dir().iterdir() if path.is_file()]
    for path in (*transcripts, *_partials(), *pages):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise HistoryError(f"{path} could not be deleted: {error.strerror}") from error
    return len(transcripts)


def is_time(value: object) -> TypeGuard[float]:
    """Whether a value is seconds since the epoch, of a year that calendars can show."""
    return isinstance(value, int | float) and 0 <= value < _FAR_FUTURE


def _files() -> list[Path]:
    """Our transcripts, the newest first; whatever else lies there is left alone."""
    named = (path for path in history_dir().iterdir() if _NAME.fullmatch(path.name))
    return sorted((path for path in named if path.is_file()), reverse=True)


def _partials() -> list[Path]:
    """Files that are being written, or were when their process was killed."""
    return list(history_dir().glob("*.partial"))


def _write(path: Path, pieces: Iterable[str]) -> None:
    partial = path.with_name(f"{path.name}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(
            descriptor, "w", encoding="utf-8", errors="backslashreplace", newline=""
        ) as file:
            file.writelines(pieces)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _prune(keep: int) -> None:
    """Delete what lies beyond the limits; another window may be doing the same."""
    room = _MOST_BYTES
    for index, path in enumerate(_files()):
        with contextlib.suppress(OSError):
            room -= path.stat().st_size
            if index >= keep or (index and room < 0):
                path.unlink()
    for path in _partials():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()


def _written(path: Path) -> float:
    """When a file was written; another window may have removed it."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _record(line: str) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("type"), str) else None


def _entry(file: Path) -> Entry | None:
    try:
        with file.open("rb") as stream:
            job = _record(stream.readline(_HEAD_BYTES).decode("utf-8", errors="replace"))
    except OSError:
        return None
    named = _NAME.fullmatch(file.name)
    if named is None or job is None or job["type"] != "job":
        return None
    words = {
        name: value
        for name in ("root", "path", "target", "kind", "outcome", "model")
        if isinstance(value := job.get(name), str)
    }
    created, seconds, attempts = (job.get(name) for name in ("created", "seconds", "attempts"))
    return Entry(
        id=named["id"],
        file=file,
        created=created if is_time(created) else _written(file),
        attempts=attempts if isinstance(attempts, int) else 0,
        seconds=seconds if isinstance(seconds, int | float) else 0.0,
        **words,
    )


def _listed(jobs: Iterable[Entry]) -> str:
    return "\n".join(f"  {job.id}  {job.outcome}  {job.target}" for job in jobs)
