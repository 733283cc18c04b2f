"""`oci-lsp fix` and `oci-lsp generate`: one job on a file of the disk."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

from oci_lsp.errors import OciError, TargetError
from oci_lsp.refine.conversation import last_conversation
from oci_lsp.refine.session import Session
from oci_lsp.refine.task import Kind, Result, Task
from oci_lsp.settings import Settings
from oci_lsp.source.functions import CommentBlock, Function, Module, feedback_lines, parse
from oci_lsp.source.target import find_root, offset_of_line, target_at, target_named
from oci_lsp.terminal.ask import asker, prompter
from oci_lsp.terminal.asking import ask_for_test, pin_tests
from oci_lsp.terminal.ending import end_on_sigterm
from oci_lsp.terminal.files import SourceFile
from oci_lsp.terminal.settings import in_force
from oci_lsp.terminal.show import Progress, show_result

EXIT = {
    "passed": 0,
    "already_passing": 0,
    "failed": 1,
    "stale": 1,
    "no_test": 2,
    "broken_test": 2,
    "error": 2,
    "cancelled": 130,
}


def _locate(words: str, kind: Kind) -> tuple[SourceFile, Module, Function | CommentBlock]:
    """The file and what FILE::QUALNAME or FILE:LINE points at in it.

    Raises:
        TargetError: malformed, no such file, no such function.
    """
    name, colons, qualname = words.partition("::")
    if colons:
        file = SourceFile.read(name)
        module = parse(file.text)
        return file, module, target_named(module, qualname.replace("::", "."))
    if lined := re.fullmatch(r"(.+):(\d+)", words):
        file = SourceFile.read(lined.group(1))
        module = parse(file.text)
        return file, module, target_at(module, offset_of_line(file.text, int(lined.group(2))))
    example = "FILE::QUALNAME, for example src/shop.py::Cart.total"
    if kind == "generate":
        example += ", or FILE:LINE, for example src/shop.py:12"
    raise TargetError(f"{words}: what to {kind} is missing", f"Write {example}.")


def run(options: argparse.Namespace) -> int:
    """Run `fix` or `generate` and give the exit status.

    Raises:
        OciError: the words on the command line cannot be followed (with `--json`: printed).
    """
    return answered(options, _run)


def answered(options: argparse.Namespace, work: Callable[[argparse.Namespace], int]) -> int:
    """The exit status of `work`; with `--json` what it raises is an object, too.

    Raises:
        OciError: the words cannot be followed, and no `--json` is among them.
    """
    try:
        return work(options)
    except OciError as error:
        if not options.json:
            raise
        print(json.dumps(Result("error", str(error)).as_json(), indent=2))
        return EXIT["error"]


def _run(options: argparse.Namespace) -> int:
    if options.target is None:
        raise TargetError("What to fix is missing", "Write FILE::QUALNAME, or --failing.")
    file, module, target = _locate(options.target, options.command)
    if options.apply:
        file.check_writable()
    root = find_root(file.path)
    settings, messages = in_force(root, options)
    task = Task(
        root=root,
        path=file.path,
        module=module,
        target=target,
        kind=options.command,
        tests=tuple(_relative(test, root) for test in options.test),
        feedback=(
            *((options.feedback,) if options.feedback else ()),
            *feedback_lines(module, target),
        ),
    )
    if options.go_on:
        task = _continued(task)
    with Progress(verbose=options.verbose) as progress:
        for message in messages:
            progress.note(message)
        try:
            work = _job(task, settings, progress, yes=options.yes, pin=options.pin)
            result = asyncio.run(work)
        except (KeyboardInterrupt, asyncio.CancelledError):
            result = Result("cancelled", f"Cancelled: {task.label} is as it was.")
    result = _apply(result, file) if options.apply else result
    if options.json:
        print(json.dumps(result.as_json(), indent=2))
    else:
        show_result(result)
    return EXIT[result.outcome]


def _relative(test: str, root: Path) -> str:
    """A node id given from the current folder, as one from the project's root."""
    path, colons, rest = test.partition("::")
    if not (path.endswith(".py") or colons) or "\n" in test or ">>>" in test:
        return test
    with contextlib.suppress(ValueError, OSError):
        here = Path(path).resolve()
        if here.exists():
            return here.relative_to(root).as_posix() + colons + rest
    return test


def _continued(task: Task) -> Task:
    """The task as the next turn of the last conversation on its function.

    Raises:
        TargetError: there is none, or nothing was said.
    """
    if not task.feedback:
        raise TargetError(
            f"What should be different in {task.label} was not said", "Give --feedback TEXT."
        )
    messages = last_conversation(task)
    if not messages:
        raise TargetError(
            f"There is no conversation on {task.label} to go on with, or it was changed since",
            "Leave --continue out: the words then begin a new one.",
        )
    return dataclasses.replace(task, conversation=messages)


async def _job(
    task: Task, settings: Settings, progress: Progress, *, yes: bool, pin: bool
) -> Result:
    end_on_sigterm()
    around = {"before": progress.pause, "after": progress.resume}
    prompt = prompter(**around)
    asked: Task | Result = task if prompt is None else await ask_for_test(task, prompt)
    if isinstance(asked, Result):
        return asked
    async with Session(task.root, settings, asker(yes=yes, **around)) as session:
        result = await session.run(asked, progress, session.new_job_id())
    if result.outcome != "passed":
        return result
    # Only a test that the user was asked for is asked about: nobody else thinks of pins.
    ask = asker(yes=False, **around) if asked is not task else None
    pinned = await pin_tests(asked, wanted=pin, ask=ask)
    return dataclasses.replace(result, message=f"{result.message} {pinned}".strip())


def _apply(result: Result, file: SourceFile) -> Result:
    if result.text is None:
        return result
    try:
        written = file.write(result.text)
    except OSError as error:
        message = f"{file.path} could not be written: {error.strerror}. The diff is above."
        return dataclasses.replace(result, outcome="error", message=message)
    if not written:
        message = (
            f"{file.path} changed meanwhile and was left as it is. The change that "
            "passed is shown above; run the command again, or put it in by hand."
        )
        return dataclasses.replace(result, outcome="stale", message=message)
    return dataclasses.replace(result, message=f"{result.message} {file.path.name} is changed.")
