"""`oci-lsp demo`: plays the editor over LSP on a copy of the demo project."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from importlib import resources
from pathlib import Path
from typing import Any, Union

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pygls.lsp.client import LanguageClient
from pygls.protocol import default_converter
from pygls.workspace import TextDocument
from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax

from oci_lsp import __version__
from oci_lsp.engine import catalogue, devices
from oci_lsp.errors import OciError
from oci_lsp.settings import Settings, as_tree
from oci_lsp.terminal import models

# The functions to close, as an editor's user would point at them, and the action to pick.
STEPS = (
    ("shop/stats.py", "def median", "refactor.rewrite.fix"),
    ("shop/cart.py", "def total", "refactor.rewrite.fix"),
    ("shop/text.py", "def slugify", "refactor.rewrite.generate"),
)
JOB_SECONDS = 600.0
# The smallest models need a turn more now and then.
TURNS = 4


def run(settings: Settings, assignments: Sequence[str], *, yes: bool, keep: bool) -> int:
    """Play the demo and give the exit status: 0 when the project's tests pass at the end.

    Raises:
        OciError: no engine can be had, or the server fails.
    """
    console = Console(highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="oci-lsp-demo-")).resolve()
    project = folder / "shop-demo"
    with resources.as_file(resources.files("oci_lsp.demo") / "project") as source:
        shutil.copytree(source, project, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    console.print(f"[bold]The demo project[/] lies in {project}")
    try:
        before = _pytest(project)
        console.print(f"Its tests today: [red]{escape(before[1])}[/]\n")
        try:
            asyncio.run(_play(project, settings, assignments, console, yes=yes))
        except (TimeoutError, JsonRpcException) as error:
            raise OciError(f"The server failed: {error or 'no answer in time'}") from error
        status, line = _pytest(project)
        colour = "green" if status == 0 else "red"
        console.print(f"[bold]pytest, run from outside:[/] [{colour}]{escape(line)}[/]")
        return 0 if status == 0 else 1
    finally:
        if keep:
            console.print(f"Kept: {project}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _pytest(project: Path) -> tuple[int, str]:
    """Exit status and last line of the project's own test run."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["no output"]
    return done.returncode, lines[-1]


def _with_starter(settings: Settings) -> Settings:
    """`auto` takes what is local, however small; a demo shows the model that a user would get."""
    if settings.engine.url or settings.engine.model != "auto":
        return settings
    device = devices.detect(settings.engine)
    candidates = (catalogue.starter(device), catalogue.choose(device))
    best = max(candidates, key=lambda entry: entry.quality)
    return dataclasses.replace(
        settings,
        engine=dataclasses.replace(settings.engine, model=best.name),
        refine=dataclasses.replace(settings.refine, turns=max(settings.refine.turns, TURNS)),
    )


async def _play(
    project: Path,
    settings: Settings,
    assignments: Sequence[str],
    console: Console,
    *,
    yes: bool,
) -> None:
    settings = _with_starter(settings)
    await models.ready(settings, yes=yes)
    editor = _Editor(console)
    async with AsyncExitStack() as stack:
        words = [word for item in assignments for word in ("--set", item)]
        await editor.start_io(sys.executable, "-m", "oci_lsp", *words, "serve", "--stdio")
        stack.push_async_callback(editor.leave)
        started = time.monotonic()
        await editor.initialize_async(
            lsp.InitializeParams(
                capabilities=_capabilities(),
                workspace_folders=[lsp.WorkspaceFolder(project.as_uri(), project.name)],
                root_uri=project.as_uri(),
                initialization_options={"trusted": True, **as_tree(settings)},
            )
        )
        editor.initialized(lsp.InitializedParams())
        console.print(f"[bold]Server[/] answered after {time.monotonic() - started:.2f} s\n")
        for name, marker, kind in STEPS:
            await editor.pick(project / name, marker, kind)


def _capabilities() -> lsp.ClientCapabilities:
    edit = lsp.WorkspaceEditClientCapabilities(document_changes=True)
    return lsp.ClientCapabilities(
        workspace=lsp.WorkspaceClientCapabilities(apply_edit=True, workspace_edit=edit),
        window=lsp.WindowClientCapabilities(work_done_progress=True),
        text_document=lsp.TextDocumentClientCapabilities(
            code_action=lsp.CodeActionClientCapabilities(
                code_action_literal_support=lsp.ClientCodeActionLiteralOptions(
                    lsp.ClientCodeActionKindOptions(["quickfix", "refactor.rewrite"])
                )
            )
        ),
    )


class _Editor(LanguageClient):
    """An editor with one open file at a time; it saves what the server's edit made."""

    def __init__(self, console: Console) -> None:
        super().__init__("oci-lsp-demo", __version__, converter_factory=_converter)
        self.console = console
        self.documents: dict[str, TextDocument] = {}
        self.finished: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._last = ""
        self._left = False
        # pygls marks the functions that it is given, which bound methods do not allow.
        answers: dict[str, Any] = {
            lsp.WINDOW_WORK_DONE_PROGRESS_CREATE: lambda params: None,
            lsp.PROGRESS: lambda params: self._progress(params),
            lsp.WORKSPACE_APPLY_EDIT: lambda params: self._apply(params),
            lsp.WORKSPACE_CONFIGURATION: lambda params: [None] * len(params.items),
            lsp.CLIENT_REGISTER_CAPABILITY: lambda params: None,
            lsp.WINDOW_SHOW_MESSAGE: lambda params: None,
            lsp.WINDOW_LOG_MESSAGE: lambda params: None,
            "oci_lsp/jobFinished": lambda params: self.finished.put_nowait(_plain(params)),
        }
        for method, answer in answers.items():
            self.feature(method)(answer)

    async def server_exit(self, server: asyncio.subprocess.Process) -> None:
        """A server that dies must end the demo, not leave it waiting."""
        if not self._left:
            self.finished.put_nowait({"outcome": "error", "message": "The server died."})

    async def leave(self) -> None:
        """Close the editor."""
        self._left = True
        try:
            await asyncio.wait_for(self.shutdown_async(None), 10)
            self.exit(None)
        finally:
            await self.stop()  # type: ignore[no-untyped-call]

    async def pick(self, path: Path, marker: str, kind: str) -> None:
        """Put the cursor on a line, pick the action of a kind, wait for the job, save."""
        text = await asyncio.to_thread(path.read_text, "utf-8")
        uri = path.as_uri()
        line = text[: text.index(marker)].count("\n")
        character = len(text.splitlines()[line]) - 1
        document = TextDocument(uri, text, version=1, language_id="python")
        self.documents[uri] = document
        self.text_document_did_open(
            lsp.DidOpenTextDocumentParams(lsp.TextDocumentItem(uri, "python", 1, text))
        )
        here = lsp.Position(line, character)
        actions = await self.text_document_code_action_async(
            lsp.CodeActionParams(
                lsp.TextDocumentIdentifier(uri),
                lsp.Range(here, here),
                lsp.CodeActionContext([], only=[kind]),
            )
        )
        action = next((item for item in actions or [] if isinstance(item, lsp.CodeAction)), None)
        if action is None or action.command is None:
            raise OciError(f"The server offers no {kind} on {marker!r} in {path.name}")
        self.console.print(f"[bold]{path.name}[/], line {line + 1}: {escape(action.title)}")
        await self.workspace_execute_command_async(
            lsp.ExecuteCommandParams(action.command.command, action.command.arguments)
        )
        result = await asyncio.wait_for(self.finished.get(), JOB_SECONDS)
        for number, attempt in enumerate(result.get("attempts") or [], 1):
            verdict = attempt["verdict"]
            colour = "green" if verdict == "passed" else "yellow"
            tail = "" if verdict == "passed" else f": {escape(attempt['summary'])}"
            self.console.print(f"  attempt {number}: [{colour}]{verdict}[/]{tail}")
        if diff := result.get("diff"):
            self.console.print(
                Syntax(diff.rstrip("\n"), "diff", background_color="default", word_wrap=True)
            )
        colour = "green" if result["outcome"] == "passed" else "red"
        self.console.print(f"  [{colour}]{escape(result['message'])}[/]\n")
        await asyncio.to_thread(path.write_text, document.source, "utf-8")

    def _progress(self, params: lsp.ProgressParams) -> None:
        value = _plain(params.value)
        # An editor has one line for it, where the seconds count up; here each would be a new one.
        message = (value.get("message") or "").partition(" \N{MIDDLE DOT} ")[0]
        if value["kind"] != "end" and message and message != self._last:
            self._last = message
            self.console.print(f"  {message}", style="dim", markup=False)

    def _apply(self, params: lsp.ApplyWorkspaceEditParams) -> lsp.ApplyWorkspaceEditResult:
        for change in params.edit.document_changes or []:
            if not isinstance(change, lsp.TextDocumentEdit):
                return lsp.ApplyWorkspaceEditResult(applied=False, failure_reason="not text")
            document = self.documents[change.text_document.uri]
            if change.text_document.version not in (None, document.version):
                return lsp.ApplyWorkspaceEditResult(applied=False, failure_reason="stale version")
            edits = [e for e in change.edits if isinstance(e, lsp.TextEdit)]
            # Bottom up, so that no edit moves another's place.
            for edit in sorted(edits, key=lambda e: _key(e.range.start), reverse=True):
                document.apply_change(
                    lsp.TextDocumentContentChangePartial(range=edit.range, text=edit.new_text)
                )
            document.version = (document.version or 0) + 1
        return lsp.ApplyWorkspaceEditResult(applied=True)


def _converter() -> Any:
    """pygls' own takes every code action that has a command for a bare command."""
    converter = default_converter()  # type: ignore[no-untyped-call]

    def structure(item: Any, _: Any) -> Any:
        bare = isinstance(item.get("command"), str)
        return converter.structure(item, lsp.Command if bare else lsp.CodeAction)

    converter.register_structure_hook(lsp.Command | lsp.CodeAction, structure)
    converter.register_structure_hook(Union[lsp.Command, lsp.CodeAction], structure)  # noqa: UP007
    return converter


def _key(position: lsp.Position) -> tuple[int, int]:
    return position.line, position.character


def _plain(value: Any) -> Any:
    """Data as JSON has it, whatever named tuples pygls made of it."""
    if hasattr(value, "_asdict"):
        return {key: _plain(item) for key, item in value._asdict().items()}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
