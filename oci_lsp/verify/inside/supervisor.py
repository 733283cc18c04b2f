"""The supervisor: runs in the kernel, starts the driver, watches it, and reaches the verdict.

The host calls `boot`, `ready` and `verify` through the Jupyter protocol, in that order and once
each. No user code runs in this process.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import json
import os
import secrets
import selectors
import signal
import subprocess
import time
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oci_lsp.verify.inside import files, judge, limits, usage, watch
from oci_lsp.verify.inside.seal import seal

_DRIVER = Path(__file__).with_name("driver.py")
_HELLO_SECONDS = 30.0
_PRELOAD_SECONDS = 60.0
_TICK = 0.02
_KILL_SECONDS = 2.0
_STREAM_LIMIT = 64 << 20
_STACK_SIGNAL = signal.SIGRTMIN + 9  # session.STACK_SIGNAL


class Reply:
    """What a call returns to the host: JSON in the execute_reply's user expressions."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content

    def _repr_json_(self) -> Mapping[str, Any]:
        return self.content


@dataclass
class Driver:
    """The driver's process and the two pipes to it."""

    process: subprocess.Popen[bytes]
    requests: int
    events: int
    settings: Mapping[str, Any]
    buffer: bytearray = field(default_factory=bytearray)
    read: int = 0
    seal: str = ""
    is_ready: bool = False

    def receive(self, seconds: float) -> bool:
        """Wait for bytes from the driver; False at the end of the stream."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.events, selectors.EVENT_READ)
            if not selector.select(max(0.0, seconds)):
                return True
        data = os.read(self.events, 1 << 16)
        self.buffer += data
        self.read += len(data)
        return bool(data)

    def next_event(self, nonce: str) -> dict[str, Any] | None:
        """The next whole event, or None if more bytes are needed.

        Raises:
            ValueError: not what the driver sends: wrong seal or form.
        """
        line, newline, rest = map(bytes, self.buffer.partition(b"\n"))
        if self.read > _STREAM_LIMIT:
            raise ValueError("too many events")
        if not newline:
            return None
        self.buffer = bytearray(rest)
        mark, _, payload = line.partition(b" ")
        self.seal = seal(nonce, self.seal, payload)
        if not hmac.compare_digest(mark, self.seal.encode("ascii")):
            raise ValueError("a line without its seal")
        event = json.loads(payload)
        assert isinstance(event, dict)
        return event


_driver: Driver | None = None


def boot(text: str) -> Reply:
    """Hide the connection, then start the driver and wait for its hello.

    The reply holds `error` ("", "gone", "broken", "too_old", "no_pytest") and what was said.
    """
    global _driver
    settings = json.loads(text)
    watch.harden(strict=settings["strict"])
    for path in Path(settings["ipc"]).iterdir():
        path.unlink()
    try:
        _driver = _start(settings)
    except (FileNotFoundError, PermissionError) as error:  # the program or what starts it is gone
        return Reply({"error": "gone", "output": str(error)})
    except OSError as error:
        gone = error.errno == errno.ENOEXEC  # made for another machine
        return Reply({"error": "gone" if gone else "broken", "output": str(error)})
    hello = _wait_for("hello", _HELLO_SECONDS)
    if hello is None:
        _driver.process.kill()
        output = _output(settings)
        # Python says so where its own library is gone.
        return Reply({"error": "gone" if "'encodings'" in output else "broken", "output": output})
    if "pytest" not in hello:
        return Reply({"error": "too_old", **hello})
    _mute()
    return Reply({"error": "" if hello["pytest"] else "no_pytest", **hello})


def _mute() -> None:
    """Let go of the host's pipe for what a start prints: the host stops to read it."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)


def _start(settings: Mapping[str, Any]) -> Driver:
    request_read, request_write = os.pipe()
    event_read, event_write = os.pipe()
    hidden = ("JPY_", "IPYTHON", "JUPYTER")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    with (Path(settings["scratch"]) / "driver.log").open("wb") as log:
        process = subprocess.Popen(
            [settings["interpreter"], str(_DRIVER), str(request_read), str(event_write)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=settings["root"],
            env={**environment, **settings["environment"]},
            pass_fds=(request_read, event_write),
            start_new_session=True,
        )
    os.close(request_read)
    os.close(event_write)
    driver = Driver(process, request_write, event_read, settings)
    first = {key: settings[key] for key in ("root", "preload", "forbidden", "warnings", "strict")}
    with contextlib.suppress(BrokenPipeError):
        os.write(request_write, json.dumps(first).encode() + b"\n")
    return driver


def _wait_for(kind: str, seconds: float) -> dict[str, Any] | None:
    assert _driver is not None
    deadline = time.monotonic() + seconds
    try:
        while (event := _driver.next_event("")) is None:
            left = deadline - time.monotonic()
            if left <= 0 or not _driver.receive(left):
                return None
    except (ValueError, KeyError):
        return None
    return event if event["type"] == kind else None


def ready() -> Reply:
    """Wait until the driver has imported what it was told to; `refused`: what was a mistake."""
    assert _driver is not None
    event = _wait_for("ready", _PRELOAD_SECONDS)
    _driver.is_ready = event is not None
    output = "" if _driver.is_ready else _output(_driver.settings)
    refused = event["refused"] if event is not None else []
    return Reply({"ready": _driver.is_ready, "output": output, "refused": refused})


def verify(text: str) -> Reply:
    """Lay the files over the project, run the tests, and judge; the reply is `judge.judge`'s."""
    assert _driver is not None and _driver.is_ready
    request = json.loads(text)
    settings = _driver.settings
    if request["candidate"] is not None and request["original"] is None:
        request["original"] = _text(request["candidate"]["path"])
    try:
        for path, content in request["files"].items():
            files.lay(Path(path), content)
    except OSError as error:
        return Reply(judge.broken(f"The file could not be laid over the project: {error}"))
    before = files.digests(request["guarded"])
    run = _run(_driver, request)
    # Where the run cannot pass any more, nobody needs to wait for its processes' end.
    patience = _KILL_SECONDS if run.ended or not settings["strict"] else 0.0
    watch.kill_tree(strict=settings["strict"], seconds=patience)
    run.changed += [
        path for path, digest in files.digests(request["guarded"]).items() if digest != before[path]
    ]
    run.printed = _output(settings)
    return Reply(judge.judge(request, run))


def _text(path: str) -> str:
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (OSError, UnicodeDecodeError, SyntaxError):
        return ""


def _run(driver: Driver, request: Mapping[str, Any]) -> judge.RunRecord:
    settings = driver.settings
    nonce = secrets.token_hex(16)
    stacks = Path(settings["scratch"]) / "stacks"
    sent = {
        key: request[key]
        for key in (
            *("node_ids", "snippets", "snippet_path", "candidate", "original"),
            *("control", "disguised", "moved", "suite"),
        )
    }
    sent |= {"nonce": nonce, "stacks": str(stacks), "capture": settings["capture"]}
    sent |= {"root": settings["root"]}
    limits.limit(driver.process.pid, settings, request["timeout"])
    volumes = usage.volumes(besides=settings["ipc"]) if settings["strict"] else []
    watchdog = watch.Watchdog(
        settings["memory_mb"], settings["processes"], volumes, settings["disk"]
    )
    run = judge.RunRecord()
    start = time.monotonic()
    deadline = start + request["timeout"]
    try:
        _send(driver, json.dumps(sent).encode() + b"\n")
        _follow(driver, nonce, run, deadline, watchdog)
    except (ValueError, KeyError, TypeError) as error:
        run.forged = str(error)
    except OSError as error:
        run.limit = f"The driver could not be reached: {error}"
    if run.timed_out:
        run.stacks = _sample_stacks(driver, stacks)
    if not run.ended and not run.timed_out:
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.exit_status = driver.process.wait(0.2)
    run.seconds = time.monotonic() - start
    return run


def _send(driver: Driver, data: bytes) -> None:
    while data:
        data = data[os.write(driver.requests, data) :]


def _follow(
    driver: Driver, nonce: str, run: judge.RunRecord, deadline: float, watchdog: watch.Watchdog
) -> None:
    alive = True
    while True:
        while (event := driver.next_event(nonce)) is not None:
            run.events.append(event)
            if event["type"] == "end":
                run.ended = True
                return
        now = time.monotonic()
        if not alive:
            return
        if now >= deadline:
            run.timed_out = True
            return
        run.limit = watchdog.exceeded()
        if run.limit:
            return
        # A forked child may hold the pipe open after the driver's death: look at both.
        died = driver.process.poll() is not None
        alive = driver.receive(0 if died else min(_TICK, deadline - now)) and not died


def _sample_stacks(driver: Driver, stacks: Path) -> list[str]:
    """Three looks at where the driver's threads are."""
    samples = []
    with contextlib.suppress(OSError), files.opened(stacks) as file:
        for _ in range(3):
            file.seek(0, os.SEEK_END)
            with contextlib.suppress(OSError):
                os.kill(driver.process.pid, _STACK_SIGNAL)
            time.sleep(0.04)
            samples.append(file.read(1 << 16).decode("utf-8", "replace"))
    return [sample for sample in samples if sample]


def _output(settings: Mapping[str, Any], limit: int = 4000) -> str:
    """Head and tail of what was printed outside of any test."""
    try:
        with files.opened(Path(settings["scratch"]) / "driver.log") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            head = file.read(limit // 2)
            file.seek(max(limit // 2, size - limit // 2))
            tail = file.read(limit // 2)
    except OSError:
        return ""
    between = size - len(head) - len(tail)
    mark = f"\n[... {between} bytes cut ...]\n".encode() if between > 0 else b""
    return (head + mark + tail).decode("utf-8", "replace")
