"""Settings that change while the server runs: kernels started for the old ones end."""

from __future__ import annotations

from lsprotocol import types as lsp

from tests.lsp.editor import capabilities, editor
from tests.projects import fenced, write
from tests.scripted_engine import ScriptedEngine

BUGGY = "def add(a, b):\n    return a - b\n"
RIGHT = BUGGY.replace("-", "+")
TEST = "from calc import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n"


async def test_idle_kernels_end_with_the_settings_that_they_were_started_for(tmp_path):
    root = write(tmp_path / "p", {"calc.py": BUGGY, "test_calc.py": TEST})
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        first = {"verify": {"memoryMb": 2048}}
        asks = capabilities(configuration=True)
        async with editor(root, engine.url, client=asks, configuration=first) as ed:
            ed.open("calc.py")
            assert (await ed.job("fixFunction", "calc.py", "add"))["outcome"] == "passed"
            await ed.until(ed.descendants, "standby kernels")
            before = {process.pid for process in ed.descendants()}
            # Whatever else changes in an editor's settings ends nothing.
            ed.client.workspace_did_change_configuration(lsp.DidChangeConfigurationParams({}))
            await ed.execute("oci_lsp.printDebugInformation")
            assert before & {process.pid for process in ed.descendants()}
            ed.configuration = {"verify": {"memoryMb": 3000}}
            ed.client.workspace_did_change_configuration(lsp.DidChangeConfigurationParams({}))
            await ed.until(
                lambda: not before & {process.pid for process in ed.descendants()}, "their end"
            )
