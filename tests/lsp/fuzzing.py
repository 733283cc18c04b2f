"""What a client from hell may do, as hypothesis strategies, and a model of what must follow."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import re
import time
from typing import Any
from urllib.parse import unquote

from hypothesis import strategies as st

from tests.lsp.wire import Message, Wire, packed, right

HUGE = 2**31 - 1
INTERNAL_ERROR = -32603
# What functions, comments, line ends and characters of every width do to positions and parsing.
PIECES = (
    "# \U0001f600é\U0001f600 f\ndef f(a):\n    return a\n",
    "def add(a, b):\r\n\treturn a - b\r\n",
    "async def g():\n    ...\n",
    "class A:\n    def m(self):\n        pass\n",
    "# function: h(x) -> x\n# >>> h(1)\n# 1\n",
    "    # oci: be quick\n",
    "\U0001f600",
    "é\t",
    "\n",
    "\r\n",
    "\r",
    "\ud83d",
    "\x0c\u2028\x00",
    "'''",
    "def (",
    "",
)
texts = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
# Mostly ones that a short text has.
numbers = st.sampled_from((*range(10), *range(10), HUGE, HUGE + 1, -1, -HUGE, 10**30))
positions = st.tuples(numbers, numbers).map(lambda p: {"line": p[0], "character": p[1]})
ranges = st.tuples(positions, positions).map(lambda r: {"start": r[0], "end": r[1]})
versions = st.one_of(st.integers(-3, 9), st.sampled_from((HUGE, -HUGE - 1)))
junk: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from((0, -1, 1.5, 10**30, "", "uri", "\ud800", "\U0001f600")),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(
                ("uri", "position", "textDocument", "id", "oci_lsp", "refine", "turns", "start")
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=5,
)
# Ones that an editor could send: within a few lines, between characters of every width.
small = st.tuples(
    st.sampled_from((0, 0, 0, 1, 2, 3)),
    st.integers(0, 5),
    st.integers(0, 2),
    st.integers(0, 9),
    texts,
).map(
    lambda c: {
        "range": {
            "start": {"line": c[0], "character": c[1]},
            "end": {"line": c[0] + c[2] // 2, "character": c[1] + c[3]},
        },
        "text": c[4],
    }
)
changes = st.lists(
    st.one_of(
        texts.map(lambda text: {"text": text}),
        st.tuples(ranges, texts).map(lambda c: {"range": c[0], "text": c[1]}),
        small,
        small,
    ),
    min_size=1,
    max_size=3,
)
diagnostics = st.lists(
    st.tuples(ranges, st.sampled_from(("name the sum", "", "\U0001f600\ud800"))).map(
        lambda d: {"range": d[0], "message": d[1], "source": "lint", "severity": 1}
    ),
    max_size=2,
)
only = st.one_of(
    st.none(),
    st.lists(st.sampled_from(("quickfix", "refactor", "", "refactor.rewrite.fix")), max_size=2),
)
METHODS = (
    "textDocument/didOpen",
    "textDocument/didChange",
    "textDocument/didClose",
    "textDocument/didSave",
    "textDocument/codeAction",
    "textDocument/hover",
    "workspace/executeCommand",
    "workspace/didChangeConfiguration",
    "workspace/didChangeWorkspaceFolders",
    "window/workDoneProgress/cancel",
    "$/cancelRequest",
    "$/setTrace",
    "$/nonsense",
    "oci_lsp/jobFinished",
    "initialize",
    "initialized",
    "",
)
COMMANDS = (
    "fixFunction",
    "generateFunction",
    "refineWithFeedback",
    "cancel",
    "showTranscript",
    "printDebugInformation",
    "fixFile",
    "nonsense",
)
BODIES = (
    b"{",
    b"[]",
    b"null",
    b"3",
    b'"text"',
    b"\xff\xfe",
    b"{}",
    b'{"jsonrpc":"2.0"}',
    b'{"jsonrpc":"2.0","method":3}',
    b'{"jsonrpc":"1.0","method":"initialized","params":{}}',
    b'{"jsonrpc":"2.0","id":null,"method":"textDocument/codeAction","params":{}}',
    b'{"jsonrpc":"2.0","id":{"a":1},"method":"nonsense"}',
    b'{"jsonrpc":"2.0","id":[1],"method":"shutdown","params":[1]}',
    b'{"jsonrpc":"2.0","id":"none","result":3}',
    b'{"jsonrpc":"2.0","id":"none","error":{"code":1,"message":"x"}}',
    b'{"jsonrpc":"2.0","id":"none","error":3}',
    b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":[1]}}',
    b'[{"jsonrpc":"2.0","id":5,"method":"nonsense"}]',
    b"[" * 2000,
    b'{"jsonrpc":"2.0","method":"$/progress","params":{"token":"x","value":{"kind":"end"}}}',
)
REPLIES: dict[str, Any] = {
    "right": None,
    "null": {"result": None},
    "error": {"error": {"code": -32601, "message": "no such method"}},
    "junk": {"result": {"applied": "maybe", "kind": [None]}},
    "bad error": {"error": {"code": "x"}},
}

names = st.sampled_from((0, 0, 0, 1, 2, 3, 4))
Move = tuple[Any, ...]


def move(kind: str, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Move]:
    return st.tuples(st.just(kind), *parts)


places = st.one_of(
    st.fixed_dictionaries(
        {"qualifiedName": st.sampled_from(("f", "f", "add", "g", "A.m", "", "\ud800"))}
    ),
    st.fixed_dictionaries({"position": positions}),
    st.fixed_dictionaries({"range": ranges, "version": versions}),
)
extras: st.SearchStrategy[Message] = st.one_of(
    st.just({}),
    st.just({"feedback": "use sum"}),
    diagnostics.map(lambda d: {"diagnostics": d}),
)
commands = move("command", st.sampled_from(COMMANDS), names, places, extras)
actions = move("actions", names, ranges, diagnostics, only)
edits = move("change", names, versions, changes)
moves = st.one_of(
    commands,
    commands,
    commands,
    actions,
    actions,
    edits,
    edits,
    edits,
    edits,
    move("open", names, versions, texts),
    move("close", names),
    move("save", names),
    move("wait"),
    move("strange command", st.sampled_from(COMMANDS), st.lists(junk, max_size=2)),
    move("cancel", st.one_of(st.integers(0, 30), st.sampled_from(("r2", "r4", "?", 10**30)))),
    move("cancel progress", st.integers(-1, 3)),
    move("cancel job", st.integers(0, 3)),
    move("configuration", junk),
    move("strange request", st.sampled_from(METHODS), junk),
    move("strange notification", st.sampled_from(METHODS), junk),
    move("body", st.sampled_from(BODIES)),
)
# Buffers that hold something before the rest happens: most moves mean nothing without.
functions = st.lists(st.sampled_from(PIECES[:8]), max_size=3).map(lambda p: PIECES[0] + "".join(p))
openings = st.tuples(
    move("open", st.just(0), versions, functions),
    move("open", names, versions, functions),
)
scripts = st.tuples(openings, st.lists(moves, min_size=4, max_size=20)).map(
    lambda s: [*s[0], *s[1]]
)
replies = st.sampled_from(sorted(REPLIES))
# Few other moves: what a job does takes a second, and is to be met in the middle of it.
job_places = st.sampled_from(({"qualifiedName": "add"}, {"position": {"line": 1, "character": 4}}))
job_moves = st.one_of(
    move("command", st.sampled_from(COMMANDS[:3]), st.just(0), job_places, extras),
    move("command", st.sampled_from(COMMANDS[:3]), st.just(0), job_places, extras),
    move("wait"),
    move("pause", st.sampled_from((0.1, 0.5, 1.5))),
    move("cancel job", st.integers(0, 3)),
    move("cancel progress", st.integers(0, 3)),
    move("change", st.just(0), versions, changes),
    move("close", st.just(0)),
    move("configuration", st.sampled_from(({"refine": {"turns": 1}}, None))),
)
job_scripts = st.lists(job_moves, min_size=2, max_size=7)


def answering(kind: str) -> Any:
    """How a client of this kind answers the server's requests."""
    fixed = REPLIES[kind]
    return right if fixed is None else lambda request: fixed


class Model:
    """The buffers as the protocol wants them, and the sending of moves."""

    def __init__(self, wire: Wire, uris: tuple[str, ...]) -> None:
        self.wire = wire
        self.uris = uris
        self.buffers: dict[str, tuple[int, str]] = {}
        self.sent: list[str | int] = []

    def play(self, move: Move) -> None:
        kind, *parts = move
        getattr(self, f"_{kind.replace(' ', '_')}")(*parts)

    # -- buffers -------------------------------------------------------------------------

    def _open(self, name: int, version: int, text: str) -> None:
        text = through_json(text)
        item = {
            "uri": self.uris[name],
            "languageId": "python",
            "version": version,
            "text": text,
        }
        self.wire.notify("textDocument/didOpen", {"textDocument": item})
        self.buffers[unquote(self.uris[name])] = (version, text)

    def _change(self, name: int, version: int, changes: list[Message]) -> None:
        uri = self.uris[name]
        identifier = {"uri": uri, "version": version}
        self.wire.notify(
            "textDocument/didChange", {"textDocument": identifier, "contentChanges": changes}
        )
        held = self.buffers.get(unquote(uri))
        if held is None or not all(legal(change) for change in changes):
            return
        text = held[1]
        for change in changes:
            text = changed(text, change)
        self.buffers[unquote(uri)] = (version, text)

    def _close(self, name: int) -> None:
        self.wire.notify("textDocument/didClose", {"textDocument": {"uri": self.uris[name]}})
        self.buffers.pop(unquote(self.uris[name]), None)

    def _save(self, name: int) -> None:
        self.wire.notify("textDocument/didSave", {"textDocument": {"uri": self.uris[name]}})

    def _wait(self) -> None:
        """Let the server answer, so that jobs are known by name."""
        self.wire.until(lambda: not self.wire.unanswered(), "the answers so far")

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            assert self.wire.pump(left)

    def obey(self, request: Message) -> Message:
        """Answer as an editor that makes the edits it is asked for."""
        if request["method"] != "workspace/applyEdit":
            return right(request)
        (edit,) = request["params"]["edit"]["documentChanges"]
        uri = edit["textDocument"]["uri"]
        held = self.buffers.get(unquote(uri))
        if held is None or held[0] != edit["textDocument"]["version"]:
            return {"result": {"applied": False, "failureReason": "another version"}}
        text = held[1]
        for change in reversed(edit["edits"]):
            text = changed(text, {"range": change["range"], "text": change["newText"]})
        self._change(self.uris.index(uri), held[0] + 1, [{"text": text}])
        return {"result": {"applied": True}}

    def close_all(self) -> None:
        for name in range(len(self.uris)):
            self._close(name)

    # -- requests ------------------------------------------------------------------------

    def _request(self, method: str, params: Any) -> None:
        self.sent.append(self.wire.request(method, params))

    def _actions(self, name: int, range_: Message, found: list[Message], kinds: Any) -> None:
        context = {"diagnostics": found, **({"only": kinds} if kinds is not None else {})}
        self._request(
            "textDocument/codeAction",
            {"textDocument": {"uri": self.uris[name]}, "range": range_, "context": context},
        )

    def _command(self, command: str, name: int, place: Message, more: Message) -> None:
        argument = {"uri": self.uris[name], **place, **more}
        self._execute(command, [argument])

    def _strange_command(self, command: str, arguments: list[Any]) -> None:
        self._execute(command, arguments)

    def _execute(self, command: str, arguments: list[Any]) -> None:
        self._request(
            "workspace/executeCommand", {"command": f"oci_lsp.{command}", "arguments": arguments}
        )

    def _cancel(self, which: Any) -> None:
        name = self.sent[which % len(self.sent)] if self.sent and which in range(31) else which
        self.wire.notify("$/cancelRequest", {"id": name})

    def _cancel_progress(self, which: int) -> None:
        token = f"oci-lsp/{self._job(which)}" if which >= 0 else 7
        self.wire.notify("window/workDoneProgress/cancel", {"token": token})

    def _cancel_job(self, which: int) -> None:
        self._execute("cancel", [{"jobId": self._job(which)}])

    def _job(self, which: int) -> str:
        """One of the jobs known of so far."""
        known = sorted(self.started())
        return known[which % len(known)] if known else "none"

    def started(self) -> set[str]:
        """The jobs whose ids were answered."""
        results = (answer.get("result") for answer in self.wire.answers.values())
        return {r["jobId"] for r in results if isinstance(r, dict) and list(r) == ["jobId"]}

    # -- junk ----------------------------------------------------------------------------

    def _configuration(self, settings: Any) -> None:
        params = {"settings": {"oci_lsp": settings}}
        self.wire.notify("workspace/didChangeConfiguration", params)

    def _strange_request(self, method: str, params: Any) -> None:
        self._request(method, params)

    def _strange_notification(self, method: str, params: Any) -> None:
        self.wire.notify(method, params)

    def _body(self, body: bytes) -> None:
        self.wire.raw(packed(body))

    # -- what must hold ------------------------------------------------------------------

    def settle(self) -> None:
        """Every request is answered once, every job ends once, and the buffers are the same."""
        wire = self.wire
        wire.until(lambda: not wire.unanswered(), "all answers")
        wire.until(lambda: self.started() <= set(wire.jobs), "the end of all jobs")
        state = self.information()
        assert state["jobs"] == []
        assert {unquote(d["uri"]): (d["version"], d["sha256"]) for d in state["documents"]} == {
            uri: (version, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())
            for uri, (version, text) in self.buffers.items()
        }
        assert set(wire.counts.values()) <= {1}, wire.counts
        assert set(wire.counts) <= wire.asked, (wire.counts, wire.asked)
        assert set(wire.jobs.values()) <= {1}, wire.jobs
        assert not [end for end in wire.endings if "oci-lsp itself" in end["message"]]
        codes = {a["error"]["code"] for a in wire.answers.values() if "error" in a}
        assert INTERNAL_ERROR not in codes, wire.answers

    def information(self) -> Any:
        command = {"command": "oci_lsp.printDebugInformation"}
        return self.wire.call("workspace/executeCommand", command)


def through_json(text: str) -> str:
    """Two halves of a surrogate pair are one character once they have been sent."""
    return str(json.loads(json.dumps(text)))


def legal(change: Message) -> bool:
    """Whether a change's numbers are ones that the protocol allows."""
    ends = change.get("range", {}).values()
    return all(0 <= number <= HUGE for end in ends for number in end.values())


def changed(text: str, change: Message) -> str:
    """The text after a change, in UTF-16 units."""
    new = through_json(change["text"])
    if "range" not in change:
        return new
    start, end = (offset(text, **change["range"][key]) for key in ("start", "end"))
    return text[:start] + new + text[max(start, end) :]


def offset(text: str, line: int, character: int) -> int:
    """The code point at a position; beyond a line or the text: its end."""
    lines = [(m.start(), m.group(1)) for m in re.finditer(r"([^\r\n]*)(?:\r\n|\r|\n|$)", text)]
    if text and text[-1] not in "\r\n":
        lines.pop()  # the empty match after the last line
    if line >= len(lines):
        return len(text)
    start, content = lines[line]
    ends = list(itertools.accumulate(1 + (ord(c) > 0xFFFF) for c in content))
    return start + bisect.bisect_right(ends, character)
