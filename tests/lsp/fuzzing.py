"""Plays the moves of fuzz_moves.py, with a model of what must follow."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import re
import time
from typing import Any
from urllib.parse import unquote

from tests.lsp.fuzz_moves import HUGE, REPLIES, Move
from tests.lsp.wire import Message, Wire, packed, right

INTERNAL_ERROR = -32603


def answering(kind: str) -> Any:
    """How a client of this kind answers the server's requests."""
    reply = REPLIES[kind]
    if reply is None or callable(reply):
        return reply or right
    return lambda request: reply


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

    def _lenses(self, name: int) -> None:
        self._request("textDocument/codeLens", {"textDocument": {"uri": self.uris[name]}})

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
