"""The service over a real socket with a tiny model: streams, errors, queue, disconnects."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import threading
import time
from pathlib import Path

import httpx
import pytest
import torch
import transformers
import uvicorn

from oci_lsp.engine.client import Delta, EngineClient, Queued, Request, Usage
from oci_lsp.engine.process import attention
from oci_lsp.engine.process.model import Loaded
from oci_lsp.engine.process.service import application
from oci_lsp.engine.process.worker import Worker
from oci_lsp.errors import EngineError, ModelError

PROMPT = [{"role": "user", "content": "Write a function."}]


class Service:
    """The service in a thread; `model` may be changed to provoke failures."""

    def __init__(self, load):
        self.worker = Worker(load)
        self.folder = tempfile.TemporaryDirectory(prefix="oci-")
        self.socket = Path(self.folder.name) / "s"
        app = application(self.worker, model="tiny", device="cpu", version="1")
        config = uvicorn.Config(
            app,
            uds=str(self.socket),
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)

    def __enter__(self):
        self.worker.start()
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *error):
        self.server.should_exit = True
        self.thread.join(10)
        assert self.worker.close()
        self.folder.cleanup()

    def client(self) -> EngineClient:
        return EngineClient("http://engine", socket=self.socket, model="tiny")

    def http(self) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket))
        return httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=60)

    async def until(self, condition, seconds=20.0):
        end = time.monotonic() + seconds
        while not condition(self.worker):
            assert time.monotonic() < end
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def loaded(tiny_model) -> Loaded:
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    attention.install(model)
    return Loaded(model.eval(), tokenizer, frozenset({0, 2}), 2048)


@pytest.fixture
def service(loaded):
    with Service(lambda report: loaded) as service:
        yield service


async def collect(client, **options):
    texts: dict[int, str] = {}
    usage = None
    async for event in client.stream(Request(PROMPT, **options)):
        if isinstance(event, Delta):
            texts[event.index] = texts.get(event.index, "") + event.text
        elif isinstance(event, Usage):
            usage = event
    return texts, usage


async def test_streamed_and_whole_replies_are_equal(service):
    async with service.client() as client, service.http() as http:
        texts, usage = await collect(client, max_tokens=40, stop_after_code=False)
        body = {"messages": PROMPT, "max_tokens": 40, "temperature": 0}
        response = await http.post("/v1/chat/completions", json=body)
    whole = response.json()
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": texts[0]}
    assert whole["choices"][0]["finish_reason"] == "length"
    assert isinstance(usage, Usage)
    assert usage.completion_tokens == whole["usage"]["completion_tokens"] == 40
    # The prompt was read once: only its last token is read again.
    assert whole["usage"]["prompt_tokens_details"]["cached_tokens"] == usage.prompt_tokens - 1
    assert whole["usage"]["total_tokens"] == 40 + usage.prompt_tokens


async def test_candidates_greedy_first_and_repeatable(service):
    options = {"n": 3, "temperature": 1.2, "top_p": 0.95, "seed": 7, "max_tokens": 30}
    async with service.client() as client:
        greedy, _ = await collect(client, max_tokens=30)
        first, usage = await collect(client, greedy_first=True, **options)
        second, _ = await collect(client, greedy_first=True, **options)
        other, _ = await collect(client, greedy_first=True, **{**options, "seed": 70})
    assert first == second
    assert first[0] == greedy[0] == other[0]
    assert len({first[0], first[1], first[2], other[1], other[2]}) == 5
    assert usage.completion_tokens == 90


async def test_stop_and_prediction_are_taken(service):
    async with service.client() as client:
        whole, _ = await collect(client, max_tokens=60)
        stop = whole[0][20:24]
        stopped, _ = await collect(client, max_tokens=60, stop=[stop], prediction="def f(): pass")
    assert stopped[0] == whole[0][: whole[0].find(stop)]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0]"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"n": "two"}, "n"),
        ({"n": True}, "n"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"seed": "x"}, "seed"),
        ({"stop": [""]}, "stop"),
        ({"stop": 5}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": 1}, "stream_options"),
        ({"prediction": "text"}, "prediction"),
    ],
)
async def test_a_bad_request_names_the_field(service, change, param):
    body = json.dumps({"messages": PROMPT, **change})
    async with service.http() as http:
        response = await http.post("/v1/chat/completions", content=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert param.partition("[")[0] in error["message"]


async def test_other_bad_requests(service):
    async with service.http() as http:
        response = await http.post("/v1/chat/completions", content=b"{not json")
        assert response.status_code == 400
        assert "no JSON" in response.json()["error"]["message"]
        response = await http.post("/v1/chat/completions", json=[1])
        assert "JSON object" in response.json()["error"]["message"]
        response = await http.post(
            "/v1/chat/completions", json={"model": "other", "messages": PROMPT}
        )
        assert response.status_code == 404
        assert "'other'" in response.json()["error"]["message"]
        assert (await http.get("/v1/chat/completions")).status_code == 405
        assert (await http.get("/v2")).json()["error"]["message"] == "There is no /v2 here"
        long = [{"role": "user", "content": "x" * 3000}]
        for stream in (False, True):
            response = await http.post(
                "/v1/chat/completions", json={"messages": long, "stream": stream}
            )
            assert response.status_code == 400
            assert "takes 2048" in response.json()["error"]["message"]


async def test_contents_in_parts(service):
    parts = [{"type": "text", "text": "Write a "}, {"type": "text", "text": "function."}]
    body = {"messages": PROMPT, "max_tokens": 20, "temperature": 0}
    async with service.http() as http:
        plain = await http.post("/v1/chat/completions", json=body)
        body["messages"] = [{"role": "user", "content": parts}]
        split = await http.post("/v1/chat/completions", json=body)
    assert plain.json()["choices"] == split.json()["choices"]


async def test_a_disconnect_stops_the_generation(service):
    async with service.client() as client:
        request = Request(PROMPT, max_tokens=2000, n=8, temperature=1.0, stop_after_code=False)
        seen = 0
        async with contextlib.aclosing(client.stream(request)) as events:
            async for _ in events:
                seen += 1
                if seen == 10:
                    break
        start = time.monotonic()
        await service.until(lambda worker: worker.queue == 0)
        # A token takes milliseconds here, the whole reply many seconds.
        assert time.monotonic() - start < 2
        texts, _ = await collect(client, max_tokens=5)
        assert texts[0]


async def test_requests_are_served_in_turn_and_leave_the_queue(service):
    order = []
    places: dict[str, list[int]] = {"first": [], "second": [], "third": []}

    async def ask(name, **options):
        async with service.client() as client:
            async for event in client.stream(Request(PROMPT, **options)):
                if isinstance(event, Queued):
                    places[name].append(event.ahead)
            order.append(name)

    long = {"max_tokens": 600, "n": 4, "temperature": 1.0, "stop_after_code": False}
    first = asyncio.create_task(ask("first", **long))
    await service.until(lambda worker: worker.queue == 1)
    second = asyncio.create_task(ask("second", **long))
    await service.until(lambda worker: worker.queue == 2)
    third = asyncio.create_task(ask("third", max_tokens=5))
    await service.until(lambda worker: worker.queue == 3)
    async with service.client() as client:
        assert (await client.health()).queue == 3
    second.cancel()
    await service.until(lambda worker: worker.queue == 2)
    await asyncio.gather(first, third)
    assert order == ["first", "third"]
    assert places == {"first": [], "second": [1], "third": [2, 1, 0]}
    assert service.worker.queue == 0


async def test_loading_is_told_and_waited_for(loaded):
    go = threading.Event()

    def load(report):
        report("Quantising", 0.4)
        go.wait(20)
        return loaded

    with Service(load) as service:
        async with service.client() as client:
            await service.until(lambda worker: worker.progress == 0.4)
            health = await client.health()
            assert (health.status, health.progress, health.detail) == ("loading", 0.4, "Quantising")
            assert service.worker.idle_seconds == 0
            asked = asyncio.create_task(collect(client, max_tokens=5))
            await service.until(lambda worker: worker.queue == 1)
            go.set()
            texts, _ = await asked
            assert texts[0]
            assert (await client.health()).status == "ready"


async def test_a_model_that_does_not_load():
    def load(_report):
        raise ModelError("no such model", "take another")

    with Service(load) as service:
        async with service.client() as client:
            await service.until(lambda worker: worker.status == "error")
            assert (await client.health()).detail == "no such model\ntake another"
            with pytest.raises(EngineError, match=r"answered 503.*no such model"):
                await collect(client)


@pytest.mark.parametrize("where", ["prompt", "reply"])
async def test_out_of_memory_is_an_error_and_no_crash(service, loaded, monkeypatch, where):
    original = loaded.model.forward
    left = {"prompt": 0, "reply": 3}[where]

    def forward(*args, **kwargs):
        nonlocal left
        left -= 1
        if left < 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(*args, **kwargs)

    await service.until(lambda worker: worker.status == "ready")
    async with service.client() as client:
        with monkeypatch.context() as patch:
            patch.setattr(loaded.model, "forward", forward)
            with pytest.raises(EngineError, match="not enough free memory"):
                await collect(client, max_tokens=20)
        texts, _ = await collect(client, max_tokens=20)
        assert texts[0]


async def test_out_of_memory_once_costs_the_kept_conversations_only(service, loaded, monkeypatch):
    original, calls = loaded.model.forward, []

    def forward(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(*args, **kwargs)

    async with service.client() as client:
        expected, _ = await collect(client, max_tokens=20)
        with monkeypatch.context() as patch:
            patch.setattr(loaded.model, "forward", forward)
            texts, usage = await collect(client, max_tokens=20)
    assert texts == expected
    assert usage is not None
    assert usage.cached_tokens == 0


async def test_being_looked_at_is_no_use(service):
    await service.until(lambda worker: worker.status == "ready")
    async with service.client() as client:
        await asyncio.sleep(0.2)
        await client.health()
        assert service.worker.idle_seconds >= 0.2
        await client.health(touch=True)
        assert service.worker.idle_seconds < 0.2
