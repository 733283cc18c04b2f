"""The real 0.5B model in NF4, fetched once, in an engine of the test run's own."""

from __future__ import annotations

import asyncio
import shutil
import tempfile

import pytest

from oci_lsp.engine import lifecycle
from oci_lsp.settings import EngineSettings

MODEL = "qwen2.5-coder-0.5b"


@pytest.fixture(scope="session")
def real_engine():
    """Settings of the engine section; the engine is loaded, and ends with the test run."""
    # A folder of its own: an engine that the user runs is neither used nor stopped.
    folder = tempfile.mkdtemp(prefix="oci-e2e-")
    state = tempfile.mkdtemp(prefix="oci-e2e-state-")
    patch = pytest.MonkeyPatch()
    patch.setenv("OCI_LSP_RUNTIME_DIR", folder)
    patch.setenv("OCI_LSP_STATE_DIR", state)

    async def yes(question: str) -> bool:
        return True

    async def load() -> None:
        await (await lifecycle.connect(EngineSettings(model=MODEL), consent=yes)).aclose()

    asyncio.run(load())
    yield {"model": MODEL}
    asyncio.run(lifecycle.stop())
    patch.undo()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(state, ignore_errors=True)
