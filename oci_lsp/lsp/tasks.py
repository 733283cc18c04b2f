"""From a request and the editor's buffers to a task: a snapshot the loop can work on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from oci_lsp.errors import OciError, TargetError
from oci_lsp.lsp.arguments import Arguments
from oci_lsp.lsp.documents import Document
from oci_lsp.refine.conversation import last_conversation
from oci_lsp.refine.task import Diagnostic, Kind, Result, Task
from oci_lsp.source.functions import CommentBlock, Function, feedback_lines
from oci_lsp.source.target import find_root


@dataclass(frozen=True)
class Order:
    """A request that can be followed: what to do, and the buffer it was asked for."""

    kind: Kind
    document: Document
    target: Function | CommentBlock
    arguments: Arguments
    earlier: tuple[tuple[Task, Result], ...] | None = None
    """Remembered jobs on the target, the newest first; None: no conversation goes on."""
    run_only: bool = False
    """Run the tests on today's code, and change nothing."""

    @property
    def label(self) -> str:
        """The target for the user's eyes."""
        if isinstance(self.target, Function):
            return self.target.qualname
        return f"the comment in line {self.target.line + 1}"

    @property
    def words(self) -> tuple[str, ...]:
        """The user's words: those of the request, then those in `# oci:` comments."""
        given = self.arguments.feedback.strip()
        return (*((given,) if given else ()), *feedback_lines(self.document.module, self.target))


def file_of(document: Document) -> Path:
    """The real path of a buffer's file, which need not exist yet.

    Raises:
        TargetError: the buffer belongs to no file, or to one that cannot be written.
    """
    path = document.path
    if path is None:
        raise TargetError(
            f"{document.name} is not a file on this machine, so its tests cannot be run",
            "Save it into your project first.",
        )
    path = path.resolve()
    if path.exists() and not os.access(path, os.W_OK):
        raise TargetError(f"{path} is read-only", "Make it writable first.")
    return path


def build(order: Order, path: Path, folder: Path | None, others: Iterable[Document]) -> Task:
    """The task of an order; reads the disk.

    Args:
        path: the file, from `file_of`.
        folder: the workspace folder it lies in.
        others: the open buffers.

    Raises:
        OciError: the project cannot be found or read.
    """
    root = find_root(path, folder)
    try:
        buffers = unsaved(root, others)
    except OSError as error:
        raise OciError(f"The project in {root} cannot be read: {error}") from error
    buffers.pop(path, None)
    task = Task(
        root=root,
        path=path,
        module=order.document.module,
        target=order.target,
        kind=order.kind,
        tests=order.arguments.tests,
        feedback=order.words,
        diagnostics=tuple(
            Diagnostic(item.line, item.message, item.source) for item in order.arguments.diagnostics
        ),
        buffers=buffers,
    )
    if order.earlier is None:
        return task
    return dataclasses.replace(task, conversation=last_conversation(task, order.earlier))


def unsaved(root: Path, documents: Iterable[Document]) -> dict[Path, str]:
    """By real path the buffers of a project's files whose text is not what the disk has.

    Raises:
        OSError: the disk cannot be read.
    """
    found = {}
    for document in documents:
        if document.path is None:
            continue
        place = document.path.resolve()
        if not place.is_relative_to(root):
            continue
        try:
            saved = place.read_bytes().decode()
        except (FileNotFoundError, UnicodeDecodeError):
            saved = None
        if saved is None or saved.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}") != document.text:
            found[place] = document.text
    return found
