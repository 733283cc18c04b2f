"""What the client can do: one named question for each optional part of the protocol that we use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lsprotocol import types as lsp


@dataclass(frozen=True)
class Client:
    """A client's abilities, as it told them in `initialize`; what it did not tell it has not."""

    capabilities: lsp.ClientCapabilities

    @property
    def _workspace(self) -> lsp.WorkspaceClientCapabilities:
        return self.capabilities.workspace or lsp.WorkspaceClientCapabilities()

    @property
    def _window(self) -> lsp.WindowClientCapabilities:
        return self.capabilities.window or lsp.WindowClientCapabilities()

    @property
    def _code_action(self) -> lsp.CodeActionClientCapabilities:
        found = self.capabilities.text_document and self.capabilities.text_document.code_action
        return found or lsp.CodeActionClientCapabilities()

    @property
    def takes_code_actions(self) -> bool:
        """Whether it takes more than bare commands from `textDocument/codeAction`."""
        return self._code_action.code_action_literal_support is not None

    @property
    def takes_disabled_actions(self) -> bool:
        return bool(self._code_action.disabled_support)

    @property
    def takes_llm_tag(self) -> bool:
        tags = self._code_action.tag_support
        return tags is not None and lsp.CodeActionTag.LlmGenerated in tags.value_set

    @property
    def takes_versioned_edits(self) -> bool:
        edits = self._workspace.workspace_edit
        return bool(edits and edits.document_changes)

    @property
    def creates_files(self) -> bool:
        """Whether an edit may make a file."""
        edits = self._workspace.workspace_edit
        operations = (edits and edits.resource_operations) or ()
        return self.takes_versioned_edits and lsp.ResourceOperationKind.Create in operations

    @property
    def takes_annotated_edits(self) -> bool:
        """Whether it knows edits that say what they are, and asks before those that need a yes."""
        edits = self._workspace.workspace_edit
        annotated = edits and edits.change_annotation_support
        return self.takes_versioned_edits and annotated is not None

    @property
    def refreshes_lenses(self) -> bool:
        lenses = self._workspace.code_lens
        return bool(lenses and lenses.refresh_support)

    @property
    def tells_configuration(self) -> bool:
        """Whether it answers `workspace/configuration`."""
        return bool(self._workspace.configuration)

    @property
    def registers_configuration_changes(self) -> bool:
        """Whether it must be asked to tell of changed settings."""
        changes = self._workspace.did_change_configuration
        return bool(changes and changes.dynamic_registration)

    @property
    def shows_progress(self) -> bool:
        return bool(self._window.work_done_progress)

    @property
    def shows_documents(self) -> bool:
        shown = self._window.show_document
        return bool(shown and shown.support)

    @property
    def _own_requests(self) -> Mapping[str, Any]:
        """Which requests of this server's own it answers: `experimental.oci_lsp`."""
        told = self.capabilities.experimental
        own = told.get("oci_lsp") if isinstance(told, Mapping) else None
        return own if isinstance(own, Mapping) else {}

    @property
    def takes_text(self) -> bool:
        """Whether it answers `oci_lsp/input`, with a line or more from its user."""
        return self._own_requests.get("input") is True

    @property
    def picks(self) -> bool:
        """Whether it answers `oci_lsp/pick`, with some of a list."""
        return self._own_requests.get("pick") is True
