"""What the client can do: one named question for each optional part of the protocol that we use."""

from __future__ import annotations

from dataclasses import dataclass

from lsprotocol import types as lsp


@dataclass(frozen=True)
class Client:
    """A client's abilities, as it told them in `initialize`; what it did not tell it has not."""

    capabilities: lsp.ClientCapabilities

    @property
    def code_action(self) -> lsp.CodeActionClientCapabilities:
        found = self.capabilities.text_document and self.capabilities.text_document.code_action
        return found or lsp.CodeActionClientCapabilities()

    @property
    def takes_code_actions(self) -> bool:
        """Whether it takes more than bare commands from `textDocument/codeAction`."""
        return self.code_action.code_action_literal_support is not None

    @property
    def takes_disabled_actions(self) -> bool:
        return bool(self.code_action.disabled_support)

    @property
    def takes_llm_tag(self) -> bool:
        tags = self.code_action.tag_support
        return tags is not None and lsp.CodeActionTag.LlmGenerated in tags.value_set
