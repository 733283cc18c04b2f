"""The client against the scripted engine: streams, candidates, disconnects and every error."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from pathlib import Path

import pytest

from oci_lsp.engine import retries
from oci_lsp.engine.client import Delta, EngineClient, Request, Usage
from oci_lsp.engine.protocol import lines
from oci_lsp.errors import EngineError
from tests.scripted_engine import Reply, ScriptedEngine

PROMPT = [{"role": "user", "content": "Fix it."}]


def client_of(engine: ScriptedEngine, **options) -> EngineClient:
    options.setdefault("model", "scripted")
    return EngineClient(engine.url, socket=engine.socket, **options)


async def collect(client: EngineClient, **options):
    """Texts by index, finish reasons by index, and the usage."""
    texts: dict[int, str] = {}
    reasons: dict[int, str] = {}
    usage: list[Usage] = []
    async with client:
        async for event in client.stream(Request(PROMPT, **options)):
            if isinstance(event, Usage):
                usage.append(event)
                continue
            assert isinstance(event, Delta)
            texts[event.index] = texts.get(event.index, "") + event.text
            if event.finish_reason is not None:
                assert event.index not in reasons
                reasons[event.index] = event.finish_reason
    assert len(usage) == 1
    return texts, reasons, usage[0]


async def failure(client: EngineClient, **options) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await collect(client, **options)
    return caught.value


@pytest.mark.parametrize("over_socket", [True, False])
async def test_streams_a_reply(tmp_path, over_socket):
    path = tmp_path / "s" if over_socket else None
    with ScriptedEngine(["def f():\n    return 'grüße 🎉'\n"], socket=path) as engine:
        texts, reasons, usage = await collect(client_of(engine), max_tokens=50, stop=["\n\n"])
    assert texts == {0: "def f():\n    return 'grüße 🎉'\n"}
    assert reasons == {0: "stop"}
    assert usage.completion_tokens == 6
    assert engine.prompts == ["Fix it."]
    assert engine.requests[0].payload["stop"] == ["\n\n"]
    assert engine.requests[0].payload["max_tokens"] == 50


async def test_our_engine_takes_all_candidates_and_our_fields_in_one_request():
    with ScriptedEngine([["a b", "c d e"]]) as engine:
        texts, _, _ = await collect(
            client_of(engine), n=3, greedy_first=True, temperature=0.7, prediction="def f", seed=5
        )
    assert texts == {0: "a b", 1: "c d e", 2: "a b"}
    assert len(engine.requests) == 1
    payload = engine.requests[0].payload
    assert (payload["greedy_first"], payload["stop_after_code"]) == (True, True)
    assert payload["prediction"] == {"type": "content", "content": "def f"}


async def test_another_server_gets_two_plain_requests_for_greedy_first():
    replies = [Reply(("greedy",), when="Fix"), Reply(("one", "two"), when="Fix")]
    with ScriptedEngine(replies, foreign=True) as engine:
        texts, reasons, usage = await collect(
            client_of(engine), n=3, greedy_first=True, temperature=0.7, prediction="def f"
        )
    assert sorted(texts) == sorted(reasons) == [0, 1, 2]
    assert usage.completion_tokens == 3
    by_n = {request.payload["n"]: request.payload for request in engine.requests}
    assert by_n[1]["temperature"] == 0
    assert by_n[2]["temperature"] == 0.7
    for payload in by_n.values():
        assert not {"greedy_first", "prediction", "stop_after_code"} & set(payload)


async def test_candidates_that_a_server_leaves_out_are_asked_for_singly():
    with ScriptedEngine(["x y"], repeat=True, foreign=True, ignores_n=True) as engine:
        texts, _, _ = await collect(client_of(engine), n=3, temperature=0.7, seed=1)
    assert texts == {0: "x y", 1: "x y", 2: "x y"}
    assert sorted(request.payload["seed"] for request in engine.requests) == [1, 2, 3]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "does not suit"),
        (401, "engine.apiKeyEnv"),
        (403, "no right"),
        (404, "engine.model"),
        (429, "quota"),
        (503, "fault of its own"),
    ],
)
async def test_a_refusal_says_what_to_do(status, words, no_pauses):
    with ScriptedEngine([Reply(status=status, message="the server's words")] * 4) as engine:
        error = await failure(client_of(engine))
    assert f"answered {status}: the server's words" in error.message
    assert words in error.advice


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr(retries, "PAUSES", (0.01, 0.01, 0.01))


@pytest.mark.parametrize(
    "trouble", [Reply(status=503), Reply(status=429), Reply(("a b",), dies_after=0)]
)
async def test_what_passes_by_itself_is_tried_again(trouble, no_pauses):
    with ScriptedEngine([trouble, trouble, "here it is"]) as engine:
        texts, _, _ = await collect(client_of(engine))
        assert texts == {0: "here it is"}
        assert len(engine.requests) == 3


async def test_after_some_trials_it_is_an_error(no_pauses):
    with ScriptedEngine([Reply(status=503)] * 9) as engine:
        assert "answered 503" in (await failure(client_of(engine))).message
        assert len(engine.requests) == 4


@pytest.mark.parametrize("status", [400, 401, 404, 500])
async def test_what_does_not_pass_is_tried_once(status, no_pauses):
    with ScriptedEngine([Reply(status=status)] * 2) as engine:
        await failure(client_of(engine))
        assert len(engine.requests) == 1


async def test_a_reply_that_has_begun_is_not_asked_for_again(no_pauses):
    with ScriptedEngine([Reply(("one two three",), dies_after=1), "other"]) as engine:
        assert "broke off" in (await failure(client_of(engine))).message
        assert len(engine.requests) == 1


async def test_our_own_engine_is_not_tried_again(tmp_path, no_pauses):
    with ScriptedEngine([Reply(status=503)] * 2, socket=tmp_path / "s") as engine:
        await failure(client_of(engine))
        assert len(engine.requests) == 1


def test_how_long_to_wait():
    assert [retries.pause(trial, None, lambda: 0.5) for trial in range(4)] == [0.5, 1.0, 2.0, None]
    assert retries.pause(0, "7") == 7
    assert retries.pause(0, "3600") is None
    assert retries.pause(0, "nan") is None
    assert retries.pause(0, "Wed, 21 Oct 2026 07:28:00 GMT", lambda: 0.0) == 0.375


async def test_the_key_is_sent():
    with ScriptedEngine(["ok"], key="secret") as engine:
        texts, _, _ = await collect(client_of(engine, api_key="secret"))
        assert texts == {0: "ok"}
        assert "401" in (await failure(client_of(engine, api_key="wrong"))).message


async def test_no_server_behind_the_url():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = await failure(EngineClient(f"http://127.0.0.1:{port}", model="m"))
    assert "cannot be reached" in error.message
    assert "engine.url" in error.advice


async def test_no_engine_behind_the_socket(tmp_path):
    error = await failure(EngineClient("http://engine", socket=tmp_path / "gone", model="m"))
    assert "is not running" in error.message


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "/v1"])
def test_a_url_that_is_none(url):
    with pytest.raises(EngineError, match="not an http"):
        EngineClient(url, model="m")


async def test_the_engine_dies_in_mid_stream():
    with ScriptedEngine([Reply(("one two three four",), dies_after=2)]) as engine:
        client = client_of(engine)
        seen = []
        with pytest.raises(EngineError, match="broke off"):
            async for event in client.stream(Request(PROMPT)):
                seen.append(event)
        await client.aclose()
    assert seen == [Delta(0, "one"), Delta(0, " two")]


async def test_the_engine_reports_an_error_in_mid_stream():
    reply = Reply(("one two",), error_after=1, message="out of memory")
    with ScriptedEngine([reply]) as engine:
        assert "gave up: out of memory" in (await failure(client_of(engine))).message


async def test_a_stream_that_ends_too_early(tmp_path):
    async def half(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\ndata: {}\n\n\n\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(half, str(tmp_path / "s"))
    async with server:
        error = await failure(EngineClient("http://e", socket=tmp_path / "s", model="m"))
    assert "ended before the reply did" in error.message


async def test_a_server_that_gives_one_candidate_and_does_not_say_that_it_is_done(tmp_path):
    """As `transformers serve` does."""
    chunk = {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}
    asked = []

    async def one(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        asked.append(json.loads(await reader.readexactly(length))["n"])
        body = f"data: {json.dumps(chunk)}\n\n".encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(one, str(tmp_path / "s"))
    async with server, EngineClient("http://e", socket=tmp_path / "s", model="m") as client:
        found = [event async for event in client.stream(Request(PROMPT, n=3, temperature=0.7))]
    assert found == [Delta(index, "x", "stop") for index in range(3)]
    assert asked == [3, 1, 1]


async def test_data_that_is_no_chunk(tmp_path):
    async def noise(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\ndata: <html/>\n\n\n\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(noise, str(tmp_path / "s"))
    async with server:
        error = await failure(EngineClient("http://e", socket=tmp_path / "s", model="m"))
    assert "unexpected data" in error.message


async def test_closing_the_iterator_disconnects():
    with ScriptedEngine([Reply(("word " * 1000,), delay=0.01)]) as engine:
        async with client_of(engine) as client:
            async with contextlib.aclosing(client.stream(Request(PROMPT))) as events:
                async for _ in events:
                    break
            await asyncio.to_thread(engine.wait, "disconnected")
    assert engine.requests[0].tokens < 500


async def test_cancelling_the_task_disconnects_every_part():
    with ScriptedEngine([Reply(("word " * 1000,), delay=0.01)], repeat=True, foreign=True) as e:

        async def work():
            async with client_of(e) as client:
                async for _ in client.stream(Request(PROMPT, n=3, greedy_first=True)):
                    pass

        task = asyncio.create_task(work())
        while sum(request.tokens > 0 for request in e.requests) < 2:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(e.wait, "disconnected", 2)


async def test_health_and_models():
    with ScriptedEngine() as engine:
        async with client_of(engine) as client:
            health = await client.health()
            assert (health.status, health.model, health.progress) == ("ready", "scripted", 1.0)
            assert await client.models() == ("scripted",)
    with ScriptedEngine(foreign=True) as engine:
        async with client_of(engine) as client:
            with pytest.raises(EngineError, match="not an oci-lsp engine"):
                await client.health()
            assert await client.models() == ("scripted",)


async def test_a_proxy_of_the_environment_does_not_see_loopback(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with ScriptedEngine(["ok"]) as engine:
        texts, _, _ = await collect(client_of(engine))
    assert texts == {0: "ok"}


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_urls_with_and_without_v1(suffix):
    with ScriptedEngine(["ok"]) as engine:
        async with EngineClient(engine.url + suffix, model="scripted") as client:
            assert await client.models() == ("scripted",)


async def test_the_scripted_engine_as_a_process(tmp_path):
    import json
    import subprocess
    import sys

    replies = tmp_path / "replies.json"
    replies.write_text(
        json.dumps(["one two", {"texts": ["a b c"], "dies_after": 1, "exits": True}])
    )
    command = [sys.executable, "-m", "tests.scripted_engine", "--replies", str(replies)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [*command, "--port", "0"], cwd=root, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[1]
            texts, _, _ = await collect(EngineClient(url, model="scripted"))
            assert texts == {0: "one two"}
            assert "broke off" in (await failure(EngineClient(url, model="scripted"))).message
            assert process.wait(10) == 1
        finally:
            process.kill()


async def test_no_password_of_an_address_is_shown():
    async with EngineClient("http://me:hidden@127.0.0.1:9/v1?key=hidden", model="m") as client:
        with pytest.raises(EngineError) as caught:
            await client.models()
    assert "http://127.0.0.1:9/v1 cannot be reached" in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_only_line_feeds_end_a_line(size):
    """What Python takes for a line's end may stand in a reply, as JSON lets it."""
    said = ["data: a\u2028b\u0085c", "", "data: \U0001f40d", "data: [DONE]"]
    for end in ("\n", "\r\n"):
        body = end.join(said).encode()

        async def parts(body=body):
            for at in range(0, len(body), size):
                yield body[at : at + size]

        assert [line async for line in lines(parts())] == said
