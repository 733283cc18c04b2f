"""An editor for tests: a real client of a real server process, with buffers of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union
from urllib.parse import unquote, urlsplit

import psutil
from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient
from pygls.protocol import default_converter

SECONDS = 60.0
_WIDTH = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}


def capabilities(
    *,
    encodings: Sequence[str] | None = None,
    document_changes: bool = True,
    progress: bool = True,
    literals: bool = True,
    configuration: bool = False,
    show_document: bool = False,
    disabled: bool = False,
    llm_tag: bool = False,
    creates: bool = False,
    own: dict[str, Any] | None = None,
    annotations: bool = False,
    lens_refresh: bool = False,
) -> lsp.ClientCapabilities:
    """What a client says of itself; `own`: which of the server's own requests it answers."""
    kinds = lsp.ClientCodeActionKindOptions(["quickfix", "refactor"])
    support = lsp.ClientCodeActionLiteralOptions(kinds) if literals else None
    return lsp.ClientCapabilities(
        experimental={"oci_lsp": own} if own else None,
        general=lsp.GeneralClientCapabilities(
            position_encodings=[lsp.PositionEncodingKind(e) for e in encodings]
            if encodings
            else None
        ),
        workspace=lsp.WorkspaceClientCapabilities(
            apply_edit=True,
            configuration=configuration,
            workspace_edit=lsp.WorkspaceEditClientCapabilities(
                document_changes=document_changes,
                resource_operations=[lsp.ResourceOperationKind.Create] if creates else None,
                change_annotation_support=lsp.ChangeAnnotationsSupportOptions()
                if annotations
                else None,
            ),
            code_lens=lsp.CodeLensWorkspaceClientCapabilities(lens_refresh or None),
        ),
        window=lsp.WindowClientCapabilities(
            work_done_progress=progress,
            show_document=lsp.ShowDocumentClientCapabilities(show_document),
        ),
        text_document=lsp.TextDocumentClientCapabilities(
            code_action=lsp.CodeActionClientCapabilities(
                code_action_literal_support=support,
                disabled_support=disabled or None,
                tag_support=lsp.CodeActionTagOptions([lsp.CodeActionTag.LlmGenerated])
                if llm_tag
                else None,
            )
        ),
    )


@functools.cache
def converter() -> Any:
    """pygls' own, which takes every code action with a command for a bare command.

    One for all clients: a fresh one spends half a second on the first messages.
    """
    made = default_converter()

    def structure(item: Any, _: Any) -> Any:
        if isinstance(item.get("command"), str):
            return made.structure(item, lsp.Command)
        return made.structure(item, lsp.CodeAction)

    made.register_structure_hook(lsp.Command | lsp.CodeAction, structure)
    made.register_structure_hook(Union[lsp.Command, lsp.CodeAction], structure)  # noqa: UP007
    return made


@dataclass(frozen=True)
class Sent:
    """An edit as the server sent it; `version` is None where it came as plain `changes`."""

    uri: str
    version: int | None
    edits: tuple[lsp.TextEdit, ...]
    note: lsp.ChangeAnnotation | None = None


def _sent(edit: lsp.WorkspaceEdit) -> list[Sent]:
    """The files that an edit touches."""
    if edit.document_changes is None:
        return [Sent(uri, None, tuple(edits)) for uri, edits in (edit.changes or {}).items()]
    return [_sent_to(edit, change) for change in edit.document_changes]


def _sent_to(edit: lsp.WorkspaceEdit, change: Any) -> Sent:
    assert isinstance(change, lsp.TextDocumentEdit)
    plain, notes = [], set()
    for one in change.edits:
        assert isinstance(one, lsp.TextEdit | lsp.AnnotatedTextEdit)
        plain.append(lsp.TextEdit(one.range, one.new_text))
        notes.add(getattr(one, "annotation_id", None))
    (name,) = notes
    note = (edit.change_annotations or {})[name] if name is not None else None
    return Sent(change.text_document.uri, change.text_document.version, tuple(plain), note)


class Editor:
    """Buffers by path, what the server said, and how it is answered."""

    def __init__(self, root: Path, client: LanguageClient | None = None) -> None:
        self.root = root
        self.client = client or LanguageClient("test-editor", "1", converter_factory=converter)
        self.encoding = "utf-16"
        self.texts: dict[str, str] = {}
        self.versions: dict[str, int] = {}
        self.messages: list[str] = []
        self.logged: list[str] = []
        self.traced: list[lsp.LogTraceParams] = []
        self.diagnostics: dict[str, list[lsp.Diagnostic]] = {}
        self.lens_refreshes = 0
        self.tokens: list[Any] = []
        self.progress: list[dict[str, Any]] = []
        self.edits: list[Sent] = []
        self.shown: list[str] = []
        self.finished: dict[str, dict[str, Any]] = {}
        self.configuration: dict[str, Any] | None = None
        self.questions: list[str] = []
        self.buttons: list[list[str]] = []
        self.answers: list[str | None] = []
        self.answer_to_questions: str | None = "No"
        # Cleared while the user thinks about the questions.
        self.decided = asyncio.Event()
        self.decided.set()
        # What the user answers to the next prompts and lists, in order.
        self.typed: list[Any] = []
        self.picks: list[Any] = []
        self.prompts: list[dict[str, Any]] = []
        self.refusal: str | None = None
        self.on_edit: list[Any] = []
        self.on_question: list[Any] = []
        self.pid = 0
        self.seconds_to_initialize = 0.0
        on = self.client.feature
        on(lsp.WINDOW_WORK_DONE_PROGRESS_CREATE)(lambda params: self.tokens.append(params.token))
        on(lsp.PROGRESS)(lambda params: self.progress.append(_plain(params.value)))
        on(lsp.WORKSPACE_APPLY_EDIT)(lambda params: self._apply(params))
        on(lsp.WORKSPACE_CONFIGURATION)(lambda p: [self.configuration] * len(p.items))
        on(lsp.CLIENT_REGISTER_CAPABILITY)(lambda params: None)
        on(lsp.WINDOW_SHOW_MESSAGE)(lambda params: self.messages.append(params.message))
        on(lsp.WINDOW_LOG_MESSAGE)(lambda params: self.logged.append(params.message))
        on(lsp.LOG_TRACE)(lambda params: self.traced.append(params))
        on(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(lambda params: self._diagnosed(params))
        on(lsp.WORKSPACE_CODE_LENS_REFRESH)(lambda params: self._refresh())
        on(lsp.WINDOW_SHOW_MESSAGE_REQUEST)(functools.partial(self._question))
        on(lsp.WINDOW_SHOW_DOCUMENT)(lambda params: self._show(params))
        on("oci_lsp/input")(lambda params: self._own(params, self.typed))
        on("oci_lsp/pick")(lambda params: self._own(params, self.picks))
        on("oci_lsp/jobFinished")(lambda params: self._finished(params))

    # -- what the server asks ------------------------------------------------------------

    async def _question(self, params: lsp.ShowMessageRequestParams) -> lsp.MessageActionItem | None:
        self.questions.append(params.message)
        self.buttons.append([action.title for action in params.actions or ()])
        for hook in self.on_question:
            hook()
        await self.decided.wait()
        answer = self.answers.pop(0) if self.answers else self.answer_to_questions
        return lsp.MessageActionItem(answer) if answer else None

    def _own(self, params: Any, answers: list[Any]) -> Any:
        self.prompts.append(_plain(params))
        return answers.pop(0)

    def _diagnosed(self, params: lsp.PublishDiagnosticsParams) -> None:
        self.diagnostics[params.uri] = list(params.diagnostics)

    def _refresh(self) -> None:
        self.lens_refreshes += 1

    def _show(self, params: lsp.ShowDocumentParams) -> lsp.ShowDocumentResult:
        self.shown.append(params.uri)
        return lsp.ShowDocumentResult(True)

    def _finished(self, params: Any) -> None:
        plain = _plain(params)
        self.finished[plain["jobId"]] = plain

    def _apply(self, params: lsp.ApplyWorkspaceEditParams) -> lsp.ApplyWorkspaceEditResult:
        changes = params.edit.document_changes or ()
        if any(isinstance(change, lsp.CreateFile) for change in changes):
            return self._create(changes)
        sent = _sent(params.edit)
        self.edits += sent
        for hook in self.on_edit:
            hook()
        self.on_edit.clear()
        if self.refusal is not None:
            return lsp.ApplyWorkspaceEditResult(False, failure_reason=self.refusal)
        if any(one.version not in (None, self.versions.get(one.uri)) for one in sent):
            return lsp.ApplyWorkspaceEditResult(False, failure_reason="old version")
        for one in sent:
            if one.uri not in self.texts:
                self.open(str(Path(unquote(urlsplit(one.uri).path)).relative_to(self.root)))
            self._put(one.uri, _edited(self.texts[one.uri], one.edits, self.encoding))
        return lsp.ApplyWorkspaceEditResult(True)

    def _create(self, changes: Iterable[Any]) -> lsp.ApplyWorkspaceEditResult:
        """Make files as VS Code does: empty on the disk, the text in a buffer."""
        for change in changes:
            path = Path(unquote(urlsplit(getattr(change, "uri", "")).path))
            if isinstance(change, lsp.CreateFile):
                if self.refusal is not None or path.exists():
                    return lsp.ApplyWorkspaceEditResult(False, failure_reason=self.refusal)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            else:
                (edit,) = change.edits
                name = unquote(urlsplit(change.text_document.uri).path)
                self.open(str(Path(name).relative_to(self.root)), edit.new_text)
        return lsp.ApplyWorkspaceEditResult(True)

    # -- what the user does --------------------------------------------------------------

    def uri(self, name: str) -> str:
        return (self.root / name).as_uri()

    def text(self, name: str) -> str:
        return self.texts[self.uri(name)]

    def open(self, name: str, text: str | None = None) -> str:
        """Open a file (or a buffer with other text than the file's) and give its URI."""
        uri = self.uri(name)
        self.texts[uri] = (self.root / name).read_bytes().decode() if text is None else text
        self.versions[uri] = 1
        item = lsp.TextDocumentItem(uri, "python", 1, self.texts[uri])
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))
        return uri

    def type(self, name: str, old: str, new: str) -> None:
        """Replace the first `old` in the buffer, and tell the server as an editor does."""
        uri = self.uri(name)
        text = self.texts[uri]
        at = text.index(old)
        here = lsp.Range(self.position(text, at), self.position(text, at + len(old)))
        self.texts[uri] = text[:at] + new + text[at + len(old) :]
        self._changed(uri, lsp.TextDocumentContentChangePartial(here, new))

    def _put(self, uri: str, text: str) -> None:
        self.texts[uri] = text
        self._changed(uri, lsp.TextDocumentContentChangeWholeDocument(text))

    def _changed(self, uri: str, change: lsp.TextDocumentContentChangeEvent) -> None:
        self.versions[uri] += 1
        identifier = lsp.VersionedTextDocumentIdentifier(self.versions[uri], uri)
        params = lsp.DidChangeTextDocumentParams(identifier, [change])
        self.client.text_document_did_change(params)

    def position(self, text: str, offset: int) -> lsp.Position:
        """The position of an offset, in the negotiated units."""
        *before, last = re.split(r"\r\n|\r|\n", text[:offset])
        codec, width = _WIDTH[self.encoding]
        return lsp.Position(len(before), len(last.encode(codec)) // width)

    async def actions(
        self,
        name: str,
        marker: str,
        *,
        only: Sequence[str] | None = None,
        diagnostics: Sequence[lsp.Diagnostic] = (),
        through: str = "",
    ) -> list[Any]:
        """The code actions at a marker, or in a selection from one to the end of another."""
        text = self.text(name)
        start = text.index(marker)
        end = text.index(through) + len(through) if through else start
        here = lsp.Range(self.position(text, start), self.position(text, end))
        found = await self.client.text_document_code_action_async(
            lsp.CodeActionParams(
                lsp.TextDocumentIdentifier(self.uri(name)),
                here,
                lsp.CodeActionContext(list(diagnostics), only=list(only) if only else None),
            )
        )
        return list(found or ())

    async def lenses(self, name: str) -> list[tuple[int, str, lsp.Command]]:
        """The code lenses of a buffer: line, title and command."""
        found = await self.client.text_document_code_lens_async(
            lsp.CodeLensParams(lsp.TextDocumentIdentifier(self.uri(name)))
        )
        return [
            (lens.range.start.line, lens.command.title, lens.command)
            for lens in found or ()
            if lens.command
        ]

    async def execute(self, command: str, *arguments: Any) -> Any:
        """Run a command; what it answers."""
        return _plain(
            await self.client.workspace_execute_command_async(
                lsp.ExecuteCommandParams(command, list(arguments))
            )
        )

    async def start(self, command: str, name: str, qualname: str, **more: Any) -> str:
        """Start a job on a function; its id."""
        argument = {"uri": self.uri(name), "qualifiedName": qualname, **more}
        return str((await self.execute(f"oci_lsp.{command}", argument))["jobId"])

    async def ended(self, job_id: str) -> dict[str, Any]:
        """What `oci_lsp/jobFinished` said of a job."""
        await self.until(lambda: job_id in self.finished, f"the end of {job_id}")
        return self.finished[job_id]

    async def job(self, command: str, name: str, qualname: str, **more: Any) -> dict[str, Any]:
        """Start a job and wait for its end."""
        return await self.ended(await self.start(command, name, qualname, **more))

    async def until(self, condition: Any, what: str, seconds: float = SECONDS) -> None:
        """Wait until something holds."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"never: {what}; {self.messages}, {self.stages()}") from None

    async def stage(self, words: str) -> None:
        """Wait until the progress bar says so."""
        await self.until(lambda: any(words in stage for stage in self.stages()), words)

    def stages(self) -> list[str]:
        """What the progress bars have said, in order."""
        return [str(value.get("message", "")) for value in self.progress]

    def descendants(self) -> list[psutil.Process]:
        """Processes that the server has started, and theirs."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    @property
    def server(self) -> asyncio.subprocess.Process:
        """The server's process."""
        assert self.client._server
        return self.client._server

    def send_raw(self, body: bytes) -> None:
        """Send a message as it is."""
        assert self.server.stdin
        self.server.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    # -- life ----------------------------------------------------------------------------

    async def begin(
        self,
        options: Any,
        client: lsp.ClientCapabilities,
        *words: str,
        log: Path,
        info: lsp.ClientInfo | None = None,
    ) -> None:
        started = asyncio.get_running_loop().time()
        await self.client.start_io(
            sys.executable, "-m", "oci_lsp", "--log-file", str(log), *words, cwd=str(self.root)
        )
        self.pid = self.server.pid
        result = await self.client.initialize_async(
            lsp.InitializeParams(
                process_id=os.getpid(),
                capabilities=client,
                client_info=info,
                root_uri=self.root.as_uri(),
                workspace_folders=[lsp.WorkspaceFolder(self.root.as_uri(), "root")],
                initialization_options=options,
            )
        )
        self.seconds_to_initialize = asyncio.get_running_loop().time() - started
        self.encoding = str(result.capabilities.position_encoding or "utf-16")
        self.client.initialized(lsp.InitializedParams())

    async def leave(self) -> None:
        """Shut the server down as the protocol wants it, or see that it is gone."""
        server = self.server
        if server.returncode is None:
            with contextlib.suppress(TimeoutError, RuntimeError):
                await asyncio.wait_for(self.client.shutdown_async(None), 20)
            self.client.exit(None)
            try:
                await asyncio.wait_for(server.wait(), 20)
            except TimeoutError:
                server.kill()
                raise
        await self.client.stop()


@contextlib.asynccontextmanager
async def editor(
    root: Path,
    url: str = "",
    *words: str,
    client: lsp.ClientCapabilities | None = None,
    options: dict[str, Any] | None = None,
    configuration: dict[str, Any] | None = None,
    speaking: LanguageClient | None = None,
    trusted: bool | None = True,
    client_info: lsp.ClientInfo | None = None,
) -> AsyncIterator[Editor]:
    """An editor with its server, on a project; `options` are merged into the settings.

    `client` is what the editor says of itself, `speaking` what speaks for it; `trusted` is what it
    says of the folder, None: nothing.
    """
    tree: dict[str, Any] = {
        "engine": {"url": url, "model": "scripted"},
        "refine": {"candidates": 1, "turns": 2},
        **({} if trusted is None else {"trusted": trusted}),
        **(options or {}),
    }
    made = Editor(root, speaking)
    made.configuration = configuration
    log = root.parent / f"{root.name}.log"
    await made.begin(tree, client or capabilities(), *words, log=log, info=client_info)
    try:
        yield made
    finally:
        await made.leave()


def _edited(text: str, edits: Iterable[Any], encoding: str) -> str:
    """The text after a client's own, independent reading of the edits."""
    codec, width = _WIDTH[encoding]
    ends = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]

    def offset(position: lsp.Position) -> int:
        if position.line >= len(ends):
            return len(text)
        start = ends[position.line]
        units = text[start:].encode(codec)[: position.character * width]
        return start + len(units.decode(codec))

    places = sorted(
        ((offset(e.range.start), offset(e.range.end), e.new_text) for e in edits), reverse=True
    )
    for start, end, new in places:
        text = text[:start] + new + text[end:]
    return text


def _plain(value: Any) -> Any:
    """Data as JSON has it, whatever named tuples pygls made of it."""
    if hasattr(value, "_asdict"):
        return {key: _plain(item) for key, item in value._asdict().items()}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
