"""Finds or starts the engine that the settings ask for; shows and stops those that run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from oci_lsp import paths
from oci_lsp.engine import catalogue, devices, fetch
from oci_lsp.engine.catalogue import ModelRef
from oci_lsp.engine.client import EngineClient, Health
from oci_lsp.engine.devices import Device
from oci_lsp.engine.fetch import Consent, Progress
from oci_lsp.engine.identity import Identity
from oci_lsp.errors import EngineError, ModelError
from oci_lsp.settings import EngineSettings

_log = logging.getLogger(__name__)

# The host part of a URL means nothing on a unix socket.
_SOCKET_URL = "http://engine"
_POLL_SECONDS = 0.1
# From the start of the process to its socket; generous, for a busy machine.
_SOCKET_SECONDS = 60.0
_STOP_SECONDS = 6.0
RETIRED_AFTER_SECONDS = 60.0
"""Without use for so long, an engine of another version makes room for its successor."""
_LOG_TAIL_LINES = 15
# OpenMP's threads spin while they wait for each other, by default for milliseconds, and take the
# cores from the tests that run beside the model. Milliseconds a token of the 1.5B on two cores with
# 300, 3,000, 10,000, 30,000 and 100,000 rounds: 97, 85, 77, 65, 61 alone; 104, 142, 237, 477 with
# the first four beside a busy process, where the engine itself takes fewer threads. The user's own
# value counts.
ENVIRONMENT = {"GOMP_SPINCOUNT": "30000", "TOKENIZERS_PARALLELISM": "false"}


async def connect(
    settings: EngineSettings,
    *,
    progress: Progress | None = None,
    consent: Consent | None = None,
) -> EngineClient:
    """A client of the engine that the settings ask for, once it is ready.

    With `engine.url` set that server is used. Else the user's engine of this model, device and
    version is found or started; what it needs is fetched before, with consent. `progress` is
    called in this event loop's thread. Cancelling leaves a started engine to its idle time.

    Raises:
        ModelError: no such model, no room for it, or the `local` extra is not installed.
        ConsentError: a download is needed and there was no yes.
        EngineError: the server cannot be reached, or the engine did not start.
    """
    report = progress or (lambda _text, _fraction: None)
    if settings.url:
        return await _remote(settings)
    devices.require_local()
    device = await asyncio.to_thread(devices.detect, settings)
    ref = await asyncio.to_thread(catalogue.resolve, settings.model, device)
    _require_memory(ref, device)
    identity = Identity.of(ref.name, ref.slug, device.kind, device.limit_bytes)
    client = EngineClient(_SOCKET_URL, socket=identity.socket, model=ref.name)
    try:
        process = await _find_or_start(identity, ref, settings, report, consent)
        try:
            await _until_ready(client, identity, process, report)
        except _EndedError:
            if process is not None:
                raise
            # It was found alive and then reached its idle end: this time it is started.
            process = await _find_or_start(identity, ref, settings, report, consent)
            await _until_ready(client, identity, process, report)
    except BaseException:
        await client.aclose()
        raise
    return client


class _EndedError(EngineError):
    """The engine's process ended before it was ready."""


async def _find_or_start(
    identity: Identity,
    ref: ModelRef,
    settings: EngineSettings,
    report: Progress,
    consent: Consent | None,
) -> subprocess.Popen[bytes] | None:
    """See to it that the engine lives; its process if this call started it."""
    if await asyncio.to_thread(_alive, identity):
        return None
    source = await fetch.ensure(ref, progress=report, consent=consent)
    async with _lock(identity.start_lock):
        if await asyncio.to_thread(_alive, identity):
            return None
        await _retire_predecessors(identity)
        report("Starting the engine", 0.0)
        _remove_traces(identity)
        process = _spawn(identity, source, ref.nf4_dir, settings.idle_minutes * 60)
        await _until_listening(identity, process)
        return process


async def _retire_predecessors(identity: Identity) -> None:
    """End engines of the same model and device that another version of oci-lsp has started.

    They would hold their memory until their idle time is over. One that was of use a moment ago is
    left alone: a job asks again after its tests have run.
    """

    def is_idle_predecessor(engine: EngineStatus) -> bool:
        other, health = engine.identity, engine.health
        same = (other.model, other.device) == (identity.model, identity.device)
        return (
            same
            and other.version != identity.version
            and health is not None
            and health.status != "loading"
            and health.idle_seconds >= RETIRED_AFTER_SECONDS
        )

    ended = await _stop([engine for engine in await status() if is_idle_predecessor(engine)])
    if ended:
        _log.info("Ended %d engine(s) of %s of another version", ended, identity.model)


def _remove_traces(identity: Identity) -> None:
    """Remove what an engine that was killed has left."""
    identity.socket.unlink(missing_ok=True)
    identity.state_file.unlink(missing_ok=True)


async def _remote(settings: EngineSettings) -> EngineClient:
    """A client of the server at `engine.url`; `auto` takes the first model that it lists."""
    key = os.environ.get(settings.api_key_env) if settings.api_key_env else None
    if settings.model not in ("", "auto"):
        return EngineClient(settings.url, api_key=key, model=settings.model)
    async with EngineClient(settings.url, api_key=key, model="") as asking:
        models = await asking.models()
    if not models:
        raise EngineError(
            f"The server at {asking.base_url} lists no models", "Name one in engine.model."
        )
    return EngineClient(settings.url, api_key=key, model=models[0])


def _require_memory(ref: ModelRef, device: Device) -> None:
    """Check that a model of the catalogue can run on the device at all.

    Raises:
        ModelError: it needs more memory than there is.
    """
    most = device.most_bytes
    if ref.entry is None or (needed := ref.entry.memory_bytes(device.kind)) <= most:
        return
    fitting = [entry for entry in catalogue.entries() if entry.fits(device)]
    best = max(fitting, key=lambda entry: entry.quality, default=None)
    raise ModelError(
        f"{ref.name} needs {needed / 1e9:.1f} GB, "
        + (
            f"engine.maxMemory allows {most / 1e9:.1f} GB"
            if most < device.memory_bytes
            else f"the {device.name} has {most / 1e9:.1f} GB"
        ),
        f"{best.name} would fit." if best else "Set engine.url to a server that has the memory.",
    )


def _alive(identity: Identity) -> bool:
    """Whether the engine's process lives (it may not be ready yet)."""
    import filelock

    if not identity.alive_lock.exists():
        return False
    lock = filelock.FileLock(identity.alive_lock)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return True
    lock.release()
    return False


@contextlib.asynccontextmanager
async def _lock(path: Path) -> AsyncIterator[None]:
    """Holds a file lock without blocking the event loop."""
    import filelock

    lock = filelock.FileLock(path)
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except filelock.Timeout:
            await asyncio.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


def _spawn(
    identity: Identity, source: Path, nf4_dir: Path, idle_seconds: float
) -> subprocess.Popen[bytes]:
    """Start the engine in a session of its own, its output in its log."""
    command = [
        sys.executable,
        # The folder it is started in must not shadow its modules.
        "-P",
        "-m",
        "oci_lsp.engine.process",
        "--identity",
        json.dumps(identity.as_json()),
        "--source",
        str(source),
        "--nf4",
        str(nf4_dir),
        "--idle",
        str(idle_seconds),
    ]
    with identity.log.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=ENVIRONMENT | os.environ,
            cwd="/",
            start_new_session=True,
        )
    # It may end while this process lives on: a thread to wait for it leaves no zombie.
    threading.Thread(target=process.wait, name="engine-reaper", daemon=True).start()
    return process


async def _until_listening(identity: Identity, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _SOCKET_SECONDS
    # Written after the socket listens.
    while not identity.state_file.exists():
        if process.poll() is not None:
            raise _died(identity)
        if time.monotonic() > end:
            process.kill()
            raise EngineError(
                f"The engine did not open its socket within {_SOCKET_SECONDS:.0f} s",
                f"Its log: {identity.log}",
            )
        await asyncio.sleep(_POLL_SECONDS / 2)


async def _until_ready(
    client: EngineClient,
    identity: Identity,
    process: subprocess.Popen[bytes] | None,
    report: Progress,
) -> None:
    """Wait until the model is loaded, however long that takes, as long as the engine lives."""
    reported: tuple[str, int] | None = None
    while True:
        health: Health | None = None
        with contextlib.suppress(EngineError):
            health = await client.health(touch=True)
        if health is None:
            # It ended meanwhile, or is so busy loading that it could not answer.
            died = process.poll() is not None if process else False
            if died or not await asyncio.to_thread(_alive, identity):
                raise _died(identity)
        elif health.status == "ready":
            return
        elif health.status == "error":
            message, _, advice = health.detail.partition("\n")
            raise ModelError(message, advice or f"The engine's log: {identity.log}")
        else:
            news = (health.detail, round(health.progress * 100))
            if news != reported:
                report(f"{identity.model}: {health.detail or 'loading'}", health.progress)
                reported = news
        await asyncio.sleep(_POLL_SECONDS)


def _died(identity: Identity) -> _EndedError:
    return _EndedError(
        "The engine process ended before it was ready",
        f"The end of its log ({identity.log}):\n{log_tail(identity.log)}",
    )


def log_tail(log: Path) -> str:
    """The last lines of an engine's log."""
    try:
        lines = log.read_text("utf-8", "replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(lines[-_LOG_TAIL_LINES:]) or "(the log is empty)"


@dataclass(frozen=True)
class EngineStatus:
    """An engine of this user that lives; `started` in seconds since the epoch.

    `health` is None while it does not answer.
    """

    identity: Identity
    pid: int
    started: float
    health: Health | None


async def status() -> tuple[EngineStatus, ...]:
    """The engines of this user that live; what dead ones left is removed."""
    found = []
    for file in sorted(paths.runtime_dir().glob("engine-*.json")):
        try:
            state = json.loads(file.read_text("utf-8"))
            pid, started = int(state.pop("pid")), float(state.pop("started"))
            identity = Identity(**state)
        except (OSError, ValueError, TypeError, KeyError):
            # Half written, or of another version: an engine that lives can still be found by it.
            continue
        if not await asyncio.to_thread(_alive, identity):
            _remove_traces(identity)
            continue
        health: Health | None = None
        async with EngineClient(
            _SOCKET_URL, socket=identity.socket, model=identity.model
        ) as client:
            with contextlib.suppress(EngineError):
                health = await client.health()
        found.append(EngineStatus(identity, pid, started, health))
    return tuple(found)


async def stop(wanted: Callable[[Identity], bool] = lambda _identity: True) -> int:
    """End those engines of this user that are wanted; how many. Returns when they are gone."""
    return await _stop([engine for engine in await status() if wanted(engine.identity)])


async def _stop(engines: Sequence[EngineStatus]) -> int:
    for engine in engines:
        _signal(engine.pid, signal.SIGTERM)
    end = time.monotonic() + _STOP_SECONDS
    for engine in engines:
        while await asyncio.to_thread(_alive, engine.identity):
            if time.monotonic() > end:
                _signal(engine.pid, signal.SIGKILL)
            await asyncio.sleep(_POLL_SECONDS / 2)
        _remove_traces(engine.identity)
    return len(engines)


def _signal(pid: int, number: signal.Signals) -> None:
    """Signal an engine; its lock has told that it lives, so the number is not another's by now."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
