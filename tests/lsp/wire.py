"""The language server as bytes: a client without manners, that may send what no library would."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

SECONDS = 30.0
Message = dict[str, Any]

# What a well-behaved client answers to the server's requests.
RIGHT: dict[str, Any] = {
    "workspace/applyEdit": {"applied": False, "failureReason": "the fuzzer keeps its text"},
    "workspace/configuration": [None, None],
    "window/showMessageRequest": {"title": "No"},
    "window/showDocument": {"success": True},
    "oci_lsp/input": {"text": "adding"},
    "oci_lsp/pick": {"ids": ["test_calc.py::test_gone", None]},
}


def packed(body: bytes) -> bytes:
    """A message body with its header."""
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


class Wire:
    """One server process; requests are sent without waiting, answers are counted by id."""

    def __init__(self, root: Path, log: Path, options: Any) -> None:
        self.root = root
        self.log = log
        self.process = subprocess.Popen(
            [sys.executable, "-m", "oci_lsp", "--log-file", str(log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=root,
            bufsize=0,
        )
        self.answers: dict[str | int, Message] = {}
        self.counts: Counter[str | int] = Counter()
        self.asked: set[str | int] = set()
        self.jobs: Counter[str] = Counter()
        self.endings: list[Message] = []
        self.reply: Callable[[Message], Message] = right
        self._buffer = b""
        self._last = 0
        self.initialize(options)

    def initialize(self, options: Any) -> None:
        capabilities = {
            "experimental": {"oci_lsp": {"input": True, "pick": True}},
            "workspace": {
                "applyEdit": True,
                "configuration": True,
                "workspaceEdit": {"documentChanges": True},
            },
            "window": {"workDoneProgress": True, "showDocument": {"support": True}},
            "textDocument": {
                "codeAction": {
                    "codeActionLiteralSupport": {"codeActionKind": {"valueSet": ["quickfix"]}}
                }
            },
        }
        self.call(
            "initialize",
            {
                "processId": os.getpid(),
                "rootUri": self.root.as_uri(),
                "capabilities": capabilities,
                "initializationOptions": {"trusted": True, **options},
            },
        )
        self.notify("initialized", {})

    # -- sending -------------------------------------------------------------------------

    def raw(self, data: bytes) -> None:
        """Bytes as they are; a server that has gone takes none."""
        stream = self.process.stdin
        assert stream
        view = memoryview(data)
        with contextlib.suppress(BrokenPipeError):
            while view and not stream.closed:
                view = view[stream.write(view) :]

    def send(self, message: Any) -> None:
        self.raw(packed(json.dumps(message).encode()))

    def notify(self, method: str, params: Any) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def request(self, method: str, params: Any) -> str | int:
        """Ask without waiting; the id, a number or a string by turns."""
        self._last += 1
        name: str | int = self._last if self._last % 2 else f"r{self._last}"
        self.asked.add(name)
        self.send({"jsonrpc": "2.0", "id": name, "method": method, "params": params})
        return name

    def call(self, method: str, params: Any) -> Any:
        """Ask and wait; the result.

        Raises:
            AssertionError: the answer was an error.
        """
        name = self.request(method, params)
        self.until(lambda: name in self.answers, f"an answer to {method}")
        answer = self.answers[name]
        assert "result" in answer, answer
        return answer["result"]

    # -- receiving -----------------------------------------------------------------------

    def until(self, condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
        """Read, and answer the server, until something holds."""
        end = time.monotonic() + seconds
        while not condition():
            left = end - time.monotonic()
            assert left > 0, f"never: {what}; unanswered: {self.unanswered()}, jobs: {self.jobs}"
            assert self.pump(left), f"the server has gone, before {what}"

    def drain(self, seconds: float = SECONDS) -> None:
        """Read until the server closes its end."""
        end = time.monotonic() + seconds
        while self.pump(max(0.0, end - time.monotonic())):
            assert time.monotonic() < end, "the server does not leave"

    def unanswered(self) -> set[str | int]:
        return self.asked - set(self.counts)

    def pump(self, seconds: float) -> bool:
        """Take in what is there; False at the end of the stream."""
        assert self.process.stdout
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if not ready:
            return True
        data = os.read(self.process.stdout.fileno(), 1 << 20)
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            header = self._buffer[:end].lower()
            size = int(header.partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(self._buffer) < end + 4 + size:
                break
            body = self._buffer[end + 4 : end + 4 + size]
            self._buffer = self._buffer[end + 4 + size :]
            self._take(json.loads(body))
        return bool(data)

    def _take(self, message: Message) -> None:
        if "method" not in message:
            name = message.get("id")
            if isinstance(name, str | int):  # others answer what was too broken to have an id
                self.answers[name] = message
                self.counts[name] += 1
        elif "id" in message:
            self.send({"jsonrpc": "2.0", "id": message["id"], **self.reply(message)})
        elif message["method"] == "oci_lsp/jobFinished":
            self.jobs[message["params"]["jobId"]] += 1
            self.endings.append(message["params"])

    def forget(self) -> None:
        """Begin a new count of what was asked and answered."""
        self.asked.clear()
        self.counts.clear()
        self.answers.clear()
        self.jobs.clear()
        self.endings.clear()

    # -- processes -----------------------------------------------------------------------

    def descendants(self) -> Sequence[psutil.Process]:
        """Processes that the server has started, and theirs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def leave(self) -> int:
        """Shut down and exit; the exit status. Nothing that the server started lives on."""
        started = self.descendants()
        self.call("shutdown", None)
        return self.exit(started)

    def exit(self, started: Sequence[psutil.Process] = ()) -> int:
        """Say `exit` and wait for the end of the server and of what it started."""
        self.notify("exit", None)
        return self.gone(started)

    def gone(self, started: Sequence[psutil.Process] = ()) -> int:
        """Wait for the end of the server and of what it started; the exit status."""
        self.drain()
        status = self.process.wait(SECONDS)
        _, alive = psutil.wait_procs(started, timeout=10)
        assert not alive, alive
        return status

    def kill(self) -> None:
        """End the server however it is."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream
            stream.close()


def right(request: Message) -> Message:
    """The answer of a well-behaved client."""
    return {"result": RIGHT.get(request["method"])}


def pressing(number: int) -> Callable[[Message], Message]:
    """The answers of a client whose user takes that button of every question; counts from 0."""

    def answer(request: Message) -> Message:
        if request["method"] != "window/showMessageRequest":
            return right(request)
        return {"result": request["params"]["actions"][number]}

    return answer
