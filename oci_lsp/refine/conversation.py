"""Which conversation the user's words go on with: the last one on the function, if it fits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oci_lsp import history
from oci_lsp.errors import HistoryError
from oci_lsp.refine.task import Message, Result, Task
from oci_lsp.refine.transcript import Transcript
from oci_lsp.source.feedback import code_of
from oci_lsp.source.functions import CommentBlock, Function
from oci_lsp.source.lines import normalise


def last_conversation(
    task: Task, remembered: Iterable[tuple[Task, Result]] = ()
) -> tuple[Message, ...]:
    """The messages of the last job that spoke of the task's function; reads the history.

    Empty where there is none, or where the function is no longer what that job found or made.

    Args:
        remembered: earlier jobs on the function, the newest first, for where no history is kept.
    """
    kept = (Transcript.of("", *job) for job in remembered)
    for transcripts in (_on_disk(task), kept):
        for earlier in transcripts:
            if earlier.result.messages and _same_function(earlier, task):
                return earlier.result.messages if _fits(earlier, task) else ()
    return ()


def _on_disk(task: Task) -> Iterator[Transcript]:
    """The file's transcripts, the newest first; those that cannot be read are passed over."""
    for entry in history.entries():
        if entry.path == str(task.path):
            try:
                yield Transcript.read(history.load(entry.file))
            except HistoryError:
                continue


def _same_function(earlier: Transcript, task: Task) -> bool:
    if isinstance(task.target, CommentBlock):
        return not earlier.qualname and _fits(earlier, task)
    # What was made from a comment has only its code to be known by.
    return earlier.qualname == task.target.qualname or (
        not earlier.qualname and _made(earlier, task)
    )


def _fits(earlier: Transcript, task: Task) -> bool:
    """Whether the target is what the earlier job found, or what it made."""
    if _made(earlier, task):
        return True
    try:
        before = earlier.task()
    except HistoryError:
        return False
    return code_of(before.module, before.target) == code_of(task.module, task.target)


def _made(earlier: Transcript, task: Task) -> bool:
    if not isinstance(task.target, Function):
        return False
    codes = [a.code for a in earlier.result.attempts if a.verdict == "passed"]
    return any(normalise(code).rstrip() == code_of(task.module, task.target) for code in codes)
