"""Recorded editors: what each says of itself, and whether it is asked for that only.

Recordings: pytest-lsp's own, and those in clients/, made by scripts/record_client.py. pytest-lsp's
client also checks by itself what it is sent; a warning of its is an error in our tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lsprotocol import converters
from lsprotocol import types as lsp
from pytest_lsp import LanguageClient, client_capabilities
from pytest_lsp.protocol import LanguageClientProtocol

from tests.lsp.editor import converter

OURS = Path(__file__).parent / "clients"
THEIRS = ("visual-studio-code@v1.65.2", "neovim@v0.11.0", "emacs@v29.1")
RECORDED = (*THEIRS, *sorted(path.name for path in OURS.glob("*.json")))


def recorded(name: str) -> lsp.ClientCapabilities:
    """The capabilities of a recorded client."""
    if not name.endswith(".json"):
        return client_capabilities(name)
    tree = json.loads((OURS / name).read_text("utf-8"))["capabilities"]
    return converters.get_converter().structure(tree, lsp.ClientCapabilities)


def offered(client: lsp.ClientCapabilities) -> dict[str, Any]:
    """What of it decides about the form of an answer."""
    code_action = client.text_document and client.text_document.code_action
    edit = client.workspace and client.workspace.workspace_edit
    window = client.window
    encodings = client.general and client.general.position_encodings
    return {
        "literals": bool(code_action and code_action.code_action_literal_support),
        "versions": bool(edit and edit.document_changes),
        "progress": bool(window and window.work_done_progress),
        "documents": bool(window and window.show_document and window.show_document.support),
        "encoding": str((encodings or ["utf-16"])[0]),
    }


class Noting(LanguageClientProtocol):
    """Notes what the server asks for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked: list[tuple[str, Any]] = []

    def _handle_request(self, msg_id: Any, method_name: str, params: Any) -> None:
        self.asked.append((method_name, params))
        super()._handle_request(msg_id, method_name, params)


def speaker(client: lsp.ClientCapabilities) -> tuple[LanguageClient, Noting]:
    """A client of pytest-lsp's that checks what it is sent, and its protocol."""
    made = LanguageClient(protocol_cls=Noting, converter_factory=converter)
    made.capabilities = client
    assert isinstance(made.protocol, Noting)
    return made, made.protocol


def was_offered(client: lsp.ClientCapabilities, method: str, params: Any) -> bool:
    """Whether the client said that it can be asked this."""
    workspace = client.workspace or lsp.WorkspaceClientCapabilities()
    window = client.window or lsp.WindowClientCapabilities()
    if method == lsp.WORKSPACE_APPLY_EDIT:
        form = workspace.workspace_edit
        edit = params.edit
        made = any(isinstance(c, lsp.CreateFile) for c in edit.document_changes or ())
        if made and lsp.ResourceOperationKind.Create not in (
            (form and form.resource_operations) or ()
        ):
            return False
        return bool(
            workspace.apply_edit
            and (edit.document_changes is None or (form and form.document_changes))
            and (edit.change_annotations is None or (form and form.change_annotation_support))
        )
    if method == lsp.CLIENT_REGISTER_CAPABILITY:
        changes = workspace.did_change_configuration
        asked = {registration.method for registration in params.registrations}
        return asked == {lsp.WORKSPACE_DID_CHANGE_CONFIGURATION} and bool(
            changes and changes.dynamic_registration
        )
    if method.startswith("oci_lsp/"):
        own = (client.experimental or {}).get("oci_lsp", {})
        return bool(own.get(method.removeprefix("oci_lsp/")))
    return bool(
        {
            lsp.WINDOW_SHOW_MESSAGE_REQUEST: True,  # every client must be able to ask
            lsp.WORKSPACE_CODE_LENS_REFRESH: workspace.code_lens
            and workspace.code_lens.refresh_support,
            lsp.WINDOW_WORK_DONE_PROGRESS_CREATE: window.work_done_progress,
            lsp.WINDOW_SHOW_DOCUMENT: window.show_document and window.show_document.support,
            lsp.WORKSPACE_CONFIGURATION: workspace.configuration,
        }.get(method)
    )


def check_action(client: lsp.ClientCapabilities, action: Any) -> lsp.Command:
    """The command of an action, in the form and with the properties that the client knows."""
    ours = client.text_document and client.text_document.code_action
    if not (ours and ours.code_action_literal_support):
        assert isinstance(action, lsp.Command)
        return action
    assert isinstance(action, lsp.CodeAction)
    assert action.disabled is None or ours.disabled_support
    assert action.is_preferred is None or ours.is_preferred_support
    assert action.data is None or ours.data_support
    assert getattr(action, "tags", None) is None or getattr(ours, "tag_support", None)
    assert action.command
    return action.command
