"""Protocol fuzzing: whatever a client sends, the server lives, answers once, and leaks nothing.

`OCI_LSP_FUZZ_EXAMPLES=50000 pytest tests/lsp/test_fuzz.py -k any_order` runs more than CI does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lsp.fuzz_moves import Move, job_scripts, moves, replies, scripts
from tests.lsp.fuzzing import Model, answering
from tests.lsp.wire import Wire
from tests.projects import BUGGY, RIGHT, TEST, fenced, write
from tests.scripted_engine import Reply, ScriptedEngine

EXAMPLES = int(os.environ.get("OCI_LSP_FUZZ_EXAMPLES", "2000"))
PLAIN = "def plain(a):\n    return a\n"

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


@contextlib.contextmanager
def served(place: Path, url: str = "http://127.0.0.1:9") -> Iterator[Wire]:
    """A server on a small project; ended however the example leaves it."""
    root = write(place / "project", {"plain.py": PLAIN, "calc.py": BUGGY, "test_calc.py": TEST})
    made = Wire(root, place / "server.log", options(url))
    try:
        yield made
    finally:
        made.kill()


def still_works(wire: Wire) -> None:
    """The server answers a plain request as if nothing had been."""
    uri = (wire.root / "last.py").as_uri()
    item = {"uri": uri, "languageId": "python", "version": 1, "text": PLAIN}
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


def play(model: Model, script: list[Move]) -> None:
    model.wire.forget()
    for move in script:
        model.play(move)
    model.settle()
    model.close_all()
    still_works(model.wire)


@pytest.mark.timeout(0 if EXAMPLES > 2000 else 300)
def test_messages_in_any_order(private):
    """One server for all examples: what one of them breaks, the next ones find."""
    with served(private) as wire:

        @settings(common, max_examples=EXAMPLES)
        @given(scripts, replies)
        def body(script, answers):
            wire.reply = answering(answers)
            play(Model(wire, uris(wire.root)), script)

        body()
        assert wire.leave() == 0


def test_real_jobs_met_in_the_middle(private):
    wrong = fenced(BUGGY.replace("-", "*"))
    slow = Reply((fenced(RIGHT),), delay=0.05)
    said: list[str | Reply] = [fenced(RIGHT), wrong, "no code", slow, wrong]
    with ScriptedEngine(said, repeat=True) as engine, served(private, engine.url) as wire:
        names = ((wire.root / "calc.py").as_uri(),)

        @settings(common, max_examples=15)
        @given(job_scripts)
        def body(script):
            model = Model(wire, names)
            wire.reply = model.obey
            play(model, [("open", 0, 1, BUGGY), *script])

        body()
        assert engine.requests
        assert wire.leave() == 0


ENDS = ("exit", "end of input", "SIGTERM", "broken header", "half a message")


@settings(common, max_examples=15)
@given(
    st.lists(moves, max_size=8), st.booleans(), st.lists(moves, max_size=4), st.sampled_from(ENDS)
)
def end_anywhere(place: Path, before, asks, after, end):
    """A session that ends in the middle, by `shutdown` if it asks, and then somehow."""
    with tempfile.TemporaryDirectory(dir=place) as folder, served(Path(folder)) as wire:
        model = Model(wire, uris(wire.root))
        for move in before:
            model.play(move)
        if asks:
            wire.request("shutdown", None)
        for move in after:
            model.play(move)
        started = wire.descendants()
        if end == "exit":
            wire.until(lambda: not wire.unanswered(), "all answers")
            assert wire.exit(started) == (0 if asks else 1)
            return
        if end == "SIGTERM":
            wire.process.send_signal(signal.SIGTERM)
        elif end == "broken header":
            wire.raw(b"Content-Length: many\r\nGET / HTTP/1.1\r\n\r\n{}" + b"x" * 2**21)
        elif end == "half a message":
            wire.raw(b"Content-Length: 100\r\n\r\n{")
        assert wire.process.stdin
        wire.process.stdin.close()
        wire.gone(started)


def test_an_end_anywhere(private):
    end_anywhere(private)
