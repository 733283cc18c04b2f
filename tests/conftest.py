"""Fixtures for all tests: private folders, so that no test touches the user's own state."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _private_state(tmp_path_factory, monkeypatch):
    """Transcripts and logs go to a folder of the test; the cache of models stays the user's."""
    monkeypatch.setenv("OCI_LSP_STATE_DIR", str(tmp_path_factory.mktemp("state")))
