"""`oci-lsp fix --failing`: the test suite, and every function that its failures blame."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
from pathlib import Path

from oci_lsp.errors import TargetError
from oci_lsp.refine.session import Session
from oci_lsp.refine.suite import SuiteResult, fix_failing
from oci_lsp.refine.task import Outcome, Result
from oci_lsp.settings import Settings
from oci_lsp.source.target import find_root
from oci_lsp.terminal.ask import asker
from oci_lsp.terminal.ending import end_on_sigterm
from oci_lsp.terminal.files import SourceFile
from oci_lsp.terminal.jobs import EXIT, answered
from oci_lsp.terminal.settings import in_force
from oci_lsp.terminal.show import Progress, show_result


def run(options: argparse.Namespace) -> int:
    """Run `fix --failing` and give the exit status.

    Raises:
        OciError: the words on the command line cannot be followed (with `--json`: printed).
    """
    return answered(options, _run)


def _run(options: argparse.Namespace) -> int:
    scope = _scope(options)
    root = find_root(scope or Path())
    settings, messages = in_force(root, options)
    ended: list[SuiteResult] = []
    with Progress(verbose=options.verbose) as progress:
        for message in messages:
            progress.note(message)
        try:
            asyncio.run(_work(root, scope, settings, progress, ended, yes=options.yes))
        except (KeyboardInterrupt, asyncio.CancelledError):
            if not ended:
                ended.append(SuiteResult(Result("cancelled", "Cancelled.")))
    result = ended[0]
    if options.apply and result.whole.outcome != "cancelled":
        result = _apply(result)
    if options.json:
        print(json.dumps(result.as_json(root), indent=2))
    else:
        show_result(result.whole)
    return EXIT[result.whole.outcome]


def _scope(options: argparse.Namespace) -> Path | None:
    """The file or folder that was named; None: the project.

    Raises:
        TargetError: there is no such path, or words that do not go together.
    """
    if options.test or options.feedback or options.pin or options.go_on:
        raise TargetError(
            "--failing finds the tests itself: no --test, --feedback, --pin or --continue",
            "Name one function (FILE::QUALNAME) to give it a test or your words.",
        )
    if options.target is None:
        return None
    path = Path(options.target).resolve()
    if not path.exists():
        raise TargetError(
            f"There is no file or folder {options.target}",
            "With --failing, name a file or a folder, or nothing for the whole project.",
        )
    return path


async def _work(
    root: Path,
    scope: Path | None,
    settings: Settings,
    progress: Progress,
    ended: list[SuiteResult],
    *,
    yes: bool,
) -> None:
    end_on_sigterm()
    consent = asker(yes=yes, before=progress.pause, after=progress.resume)
    async with Session(root, settings, consent) as session:
        await fix_failing(session, progress, scope=scope, finished=ended.append)


def _apply(result: SuiteResult) -> SuiteResult:
    """Write all changed files, or none: they were tested together."""
    try:
        files = [SourceFile.read(str(change.path)) for change in result.changes]
        for file in files:
            file.check_writable()
    except TargetError as error:
        return _not_written(result, "error", str(error))
    for file, change in zip(files, result.changes, strict=True):
        if file.text != change.old:
            return _not_written(result, "stale", f"{change.path} changed meanwhile.")
    written: list[str] = []
    for file, change in zip(files, result.changes, strict=True):
        name = change.path.name
        try:
            if not file.write(change.new):
                return _not_written(result, "stale", f"{name} changed meanwhile.", written)
        except OSError as error:
            why = f"{name} could not be written: {error.strerror}."
            return _not_written(result, "error", why, written)
        written.append(name)
    if not written:
        return result
    message = f"{result.whole.message} Changed: {', '.join(written)}."
    return dataclasses.replace(result, whole=dataclasses.replace(result.whole, message=message))


def _not_written(
    result: SuiteResult, outcome: Outcome, why: str, written: list[str] | None = None
) -> SuiteResult:
    done = f"Only {', '.join(written)} was written" if written else "Nothing was written"
    message = f"{why} {done}; the diff above is what passed together. {result.whole.message}"
    whole = dataclasses.replace(result.whole, outcome=outcome, message=message)
    return dataclasses.replace(result, whole=whole)
