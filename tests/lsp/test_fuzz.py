"""Protocol fuzzing: whatever a client sends, the server lives, answers once, and leaks nothing.

`OCI_LSP_FUZZ_EXAMPLES=50000 pytest tests/lsp/test_fuzz.py -k any_order` runs more than CI does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lsp.fuzzing import Model, Move, answering, moves, replies
from tests.lsp.wire import Wire
from tests.projects import write

EXAMPLES = int(os.environ.get("OCI_LSP_FUZZ_EXAMPLES", "2000"))
ACTION = {"textDocument": {"uri": ""}, "context": {"diagnostics": []}}
ENGLISH = "def plain(a):\n    return a\n"

common = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def uris(root) -> tuple[str, ...]:
    """A file without tests, the same quoted oddly, one outside, one without a path, no Python."""
    return (
        (root / "plain.py").as_uri(),
        (root / "plain.py").as_uri().replace("plain", "%70lain"),
        "file:///nowhere/at/all.py",
        "untitled:Untitled-1",
        (root / "notes.txt").as_uri(),
    )


def options(url: str = "http://127.0.0.1:9") -> dict[str, object]:
    return {
        "engine": {"url": url, "model": "scripted"},
        "refine": {"candidates": 1, "turns": 2},
    }


@pytest.fixture
def private(tmp_path, monkeypatch):
    """No engine of the user's is found, let alone stopped."""
    monkeypatch.setenv("OCI_LSP_RUNTIME_DIR", str(tmp_path / "runtime"))
    return tmp_path


@pytest.fixture
def wire(private) -> Iterator[Wire]:
    """One server for all examples: what one of them breaks, the next ones find."""
    root = write(private / "project", {"plain.py": ENGLISH})
    made = Wire(root, private / "server.log", options())
    try:
        yield made
        assert made.leave() == 0
    finally:
        made.kill()


def still_works(wire: Wire, root) -> None:
    """The server answers a plain request as if nothing had been."""
    uri = (root / "last.py").as_uri()
    item = {"uri": uri, "languageId": "python", "version": 1, "text": ENGLISH}
    wire.notify("textDocument/didOpen", {"textDocument": item})
    place = {"line": 1, "character": 4}
    found = wire.call(
        "textDocument/codeAction",
        {
            "textDocument": {"uri": uri},
            "range": {"start": place, "end": place},
            "context": {"diagnostics": []},
        },
    )
    wire.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
    assert [action["title"] for action in found] == ["Fix plain until its tests pass"]


def play(wire: Wire, script: list[Move], answers: str, root) -> None:
    wire.forget()
    wire.reply = answering(answers)
    model = Model(wire, uris(root))
    for move in script:
        model.play(move)
    model.settle()
    model.close_all()
    still_works(wire, root)


@pytest.mark.timeout(0 if EXAMPLES > 2000 else 300)
def test_messages_in_any_order(wire):
    @settings(common, max_examples=EXAMPLES)
    @given(st.lists(moves, max_size=14), replies)
    def body(script, answers):
        play(wire, script, answers, wire.root)

    body()
    assert wire.process.poll() is None
