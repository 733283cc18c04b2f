"""The engine as a process: found, started, shared, killed, idle, broken."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time

import psutil
import pytest

from oci_lsp import paths
from oci_lsp.engine import lifecycle
from oci_lsp.engine.client import Delta, Request
from oci_lsp.errors import ConsentError, EngineError, ModelError
from oci_lsp.settings import EngineSettings
from tests.engine.conftest import make_tiny_model
from tests.scripted_engine import ScriptedEngine

PROMPT = [{"role": "user", "content": "Write a function."}]


@pytest.fixture
async def engines(own_folders):
    """Private folders; whatever engine a test leaves is ended."""
    yield own_folders
    await lifecycle.stop()


def settings(folder, **options) -> EngineSettings:
    return EngineSettings(model=str(folder), device="cpu", **options)


async def first_piece(client) -> Delta:
    async with contextlib.aclosing(client.stream(Request(PROMPT, max_tokens=5))) as events:
        async for event in events:
            assert isinstance(event, Delta)
            return event
    raise AssertionError


async def gone(pid: int, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_one_engine_is_shared_killed_and_started_anew(engines, tiny_model):
    told = []
    wanted = settings(tiny_model)
    one, two = await asyncio.gather(
        lifecycle.connect(wanted, progress=lambda text, at: told.append((text, at))),
        lifecycle.connect(wanted),
    )
    async with one, two:
        (status,) = await lifecycle.status()
        assert status.health is not None
        assert (status.health.status, status.health.device) == ("ready", "cpu")
        assert {(await client.health()).pid for client in (one, two)} == {status.pid}
        assert any("tiny-coder" in text for text, _ in told)
        # Its folder is private, its socket for the user alone, its session its own.
        assert paths.runtime_dir().stat().st_mode & 0o777 == 0o700
        assert status.identity.socket.stat().st_mode & 0o777 == 0o600
        assert os.getsid(status.pid) == status.pid
        await first_piece(one)

        # A third window finds it ready.
        start = time.monotonic()
        async with await lifecycle.connect(wanted) as third:
            assert (await third.health()).pid == status.pid
        assert time.monotonic() - start < 3

        # Killed in the middle of a reply: an error that says so; the next connect starts another.
        request = Request(PROMPT, max_tokens=2000, n=8, temperature=1.0, stop_after_code=False)
        with pytest.raises(EngineError, match="broke off"):
            async for _ in one.stream(request):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(status.pid, signal.SIGKILL)
    await gone(status.pid)
    assert status.identity.socket.exists()
    async with await lifecycle.connect(wanted) as again:
        assert (await again.health()).pid != status.pid
        await first_piece(again)
        pid = (await again.health()).pid

    assert await lifecycle.stop() == 1
    await gone(pid)
    assert await lifecycle.status() == ()
    assert await lifecycle.stop() == 0
    assert not list(paths.runtime_dir().glob("*.sock"))


async def test_it_ends_by_itself_and_an_old_socket_is_no_hindrance(engines, tiny_model):
    wanted = settings(tiny_model, idle_minutes=0.05)
    async with await lifecycle.connect(wanted) as client:
        health = await client.health()
        (status,) = await lifecycle.status()
        await first_piece(client)
        await gone(health.pid)
        with pytest.raises(EngineError, match="is not running"):
            await client.health()
    assert not status.identity.socket.exists()
    assert not status.identity.state_file.exists()
    assert "Idle" in status.identity.log.read_text()


async def test_an_engine_that_dies_while_loading(engines, tiny_model):
    async def kill_when_started():
        while not (found := list(paths.runtime_dir().glob("engine-*.json"))):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        os.kill(json.loads(found[0].read_text())["pid"], signal.SIGKILL)

    killer = asyncio.create_task(kill_when_started())
    with pytest.raises(EngineError, match="ended before it was ready") as caught:
        await lifecycle.connect(settings(tiny_model))
    await killer
    assert str(paths.state_dir()) in caught.value.advice


async def test_a_model_that_cannot_be_loaded(engines, tmp_path):
    folder = make_tiny_model(tmp_path / "broken")
    (folder / "model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        await lifecycle.connect(settings(folder))
    assert "transformers" in caught.value.advice


async def test_a_model_that_needs_more_memory_than_is_allowed(engines):
    with pytest.raises(ModelError, match=r"needs 3\.\d GB, engine.maxMemory allows 2") as caught:
        await lifecycle.connect(
            EngineSettings(model="qwen2.5-coder-1.5b", device="cpu", max_memory=2.0)
        )
    assert "qwen2.5-coder-0.5b would fit" in caught.value.advice


async def test_a_change_of_version_is_another_engine(engines, tiny_model, monkeypatch):
    from oci_lsp.engine import identity

    ours = identity.Identity.of("m", "m", "cpu")
    assert ours == identity.Identity.of("m", "m", "cpu")
    others = [
        identity.Identity.of("m2", "m2", "cpu"),
        identity.Identity.of("m", "m-changed", "cpu"),
        identity.Identity.of("m", "m", "cuda"),
    ]
    monkeypatch.setattr(identity, "version", lambda: "2")
    others.append(identity.Identity.of("m", "m", "cpu"))
    assert len({i.socket for i in [ours, *others]}) == 5


async def test_another_version_retires_an_idle_engine_of_the_same_model(
    engines, tiny_model, monkeypatch
):
    from oci_lsp.engine import identity

    monkeypatch.setattr(lifecycle, "RETIRED_AFTER_SECONDS", 0.3)
    async with await lifecycle.connect(settings(tiny_model)) as client:
        old = (await client.health()).pid
        monkeypatch.setattr(identity, "version", lambda: "another")
        # At work: it is left to it, and both live.
        request = Request(PROMPT, n=8, max_tokens=2000, temperature=1.0, stop_after_code=False)
        async with contextlib.aclosing(client.stream(request)) as events:
            await anext(events)
            async with await lifecycle.connect(settings(tiny_model)) as other:
                assert (await other.health()).pid != old
            assert {engine.pid for engine in await lifecycle.status()} > {old}
    # Idle: it makes room for the next.
    monkeypatch.setattr(identity, "version", lambda: "a third")
    await asyncio.sleep(2)
    async with await lifecycle.connect(settings(tiny_model)) as third:
        pid = (await third.health()).pid
        assert [engine.pid for engine in await lifecycle.status()] == [pid]
    await gone(old)


async def test_a_runtime_folder_with_a_long_path(engines, tiny_model, monkeypatch):
    monkeypatch.setenv("OCI_LSP_RUNTIME_DIR", str(engines / ("long" * 30)))
    with pytest.raises(EngineError, match="too long") as caught:
        await lifecycle.connect(settings(tiny_model))
    assert "OCI_LSP_RUNTIME_DIR" in caught.value.advice


async def test_a_download_needs_a_yes(engines):
    with pytest.raises(ConsentError):
        await lifecycle.connect(EngineSettings(model="qwen2.5-coder-0.5b", device="cpu"))
    assert await lifecycle.status() == ()


async def test_a_model_too_large_for_the_machine(engines, monkeypatch):
    from oci_lsp.engine import devices

    small = devices.Device("cpu", "small machine", 4 * devices.GIB)
    monkeypatch.setattr(devices, "detect", lambda wanted: small)
    with pytest.raises(ModelError, match=r"needs 79.* GB") as caught:
        await lifecycle.connect(EngineSettings(model="opencodeinterpreter-cl-70b"))
    assert "qwen2.5-coder-0.5b would fit" in caught.value.advice


async def test_a_server_of_ones_own(monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    with ScriptedEngine(["ok"], repeat=True, foreign=True, key="secret", model="big") as server:
        wanted = EngineSettings(url=server.url, api_key_env="MY_KEY")
        async with await lifecycle.connect(wanted) as client:
            assert client.model == "big"
            assert (await first_piece(client)).text == "ok"
        wanted = EngineSettings(url=server.url, api_key_env="MY_KEY", model="named")
        async with await lifecycle.connect(wanted) as client:
            assert client.model == "named"
        monkeypatch.delenv("MY_KEY")
        with pytest.raises(EngineError, match="401"):
            await lifecycle.connect(EngineSettings(url=server.url, api_key_env="MY_KEY"))
