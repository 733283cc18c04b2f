"""The ways of generating that are held side by side; each is a function of a request.

A request has `messages`, `prediction`, `max_tokens` and `n`; an answer has `text` (of the first
candidate), `first` (seconds to the first token), `seconds`, `tokens`, and what else is known:
`prefilled`, `drafted`, `accepted`, `prefill_seconds`. Every way ends where the first code block of
the reply closes, so all of them write as much.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

Way = Callable[[dict[str, Any]], dict[str, Any]]

OURS: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours, no speculation": {"speculate": False},
    "ours, no prefix cache": {"cache_bytes": 0},
    "ours, layers of transformers": {"lean": False},
    "ours, plain output layer": {"shortlist": False},
    "ours, plain decoding": {"speculate": False, "cache_bytes": 0},
}


def load(name: str, model: str, threads: int) -> Way:
    """The way of that name, with its model loaded and warm.

    `model` is the folder of NF4 weights, for llama.cpp the GGUF file.
    """
    if name == "llama.cpp":
        return _llama(model, threads)
    if name == "transformers serve":
        return _serve(model)
    import torch

    torch.set_num_threads(threads)
    if name == "plain generate":
        return _plain(Path(model))
    return _ours(Path(model), **OURS[name])


def _ours(folder: Path, *, lean: bool = True, shortlist: bool = True, **options: Any) -> Way:
    from oci_lsp.engine.process import cpu
    from oci_lsp.engine.process import model as models
    from oci_lsp.engine.process.decode import Decoder
    from oci_lsp.engine.process.generation import Counts, Generation, Sampling

    shortcuts = cpu.Shortcuts(lean_layers=lean, shortlist=shortlist)
    loaded = models.load(folder, folder, "cpu", lambda _text, _done: None, shortcuts=shortcuts)
    decoder = Decoder(
        loaded.model,
        loaded.tokenizer,
        stop_tokens=loaded.stop_tokens,
        context=loaded.context,
        measured=loaded.measured,
        **options,
    )
    decoder.warm_up()

    def way(request: dict[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        sampled = [Sampling(0.7, 0.95, seed) for seed in range(1, request["n"])]
        generation = Generation(
            prompt=prompt_ids(loaded.tokenizer, request["messages"]),
            rows=[Sampling(), *sampled],
            max_tokens=request["max_tokens"],
            after_code=True,
            prediction=loaded.tokenizer(request["prediction"], add_special_tokens=False)[
                "input_ids"
            ],
        )
        counts, text, first = Counts(), [], 0.0
        for piece in decoder.generate(generation, lambda: False, counts):
            first = first or time.perf_counter() - start
            if piece.index == 0:
                text.append(piece.text)
        return {
            "text": "".join(text),
            "first": first,
            "seconds": time.perf_counter() - start,
            "tokens": counts.completion_tokens,
            "prefilled": counts.prompt_tokens - counts.cached_tokens,
            "drafted": counts.drafted_tokens,
            "accepted": counts.accepted_tokens,
            "prefill_seconds": counts.prefill_seconds,
        }

    return way


def prompt_ids(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    """The tokens of a conversation, ready for the reply."""
    encoded = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    return list(encoded["input_ids"])


def _plain(folder: Path) -> Way:
    """transformers' `generate` on the same weights, each product as bitsandbytes computes it."""
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        StoppingCriteria,
        StoppingCriteriaList,
    )

    from oci_lsp.engine.process.textstream import Detokenizer, StopWatch

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()

    class Stop(StoppingCriteria):  # type: ignore[misc]
        def __init__(self, prompt: int) -> None:
            self.watch = StopWatch(after_code=True)
            self.detokenizer = Detokenizer(tokenizer)
            self.read = prompt
            self.first = 0.0

        def __call__(self, ids: Any, _scores: Any, **_options: Any) -> Any:
            self.first = self.first or time.perf_counter()
            for token in ids[0, self.read :].tolist():
                self.watch.add(self.detokenizer.add(token))
            self.read = ids.shape[1]
            return torch.tensor([self.watch.stopped])

    def way(request: dict[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        ids = torch.tensor([prompt_ids(tokenizer, request["messages"])])
        stop = Stop(ids.shape[1])
        with torch.inference_mode():
            output = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=request["max_tokens"],
                stopping_criteria=StoppingCriteriaList([stop]),
            )
        said = output[0, ids.shape[1] :]
        return {
            "text": tokenizer.decode(said, skip_special_tokens=True),
            "first": stop.first - start,
            "seconds": time.perf_counter() - start,
            "tokens": len(said),
            "prefilled": ids.shape[1],
        }

    way({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4})
    return way


def _llama(file: str, threads: int) -> Way:
    """llama.cpp in process; it keeps the longest prefix of the last prompt by itself."""
    import llama_cpp

    model = llama_cpp.Llama(
        file, n_ctx=4096, n_threads=threads, n_threads_batch=threads, verbose=False
    )

    def way(request: dict[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        return _gathered(start, _chat(model, request))

    way({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4})
    return way


def _chat(model: Any, request: dict[str, Any]) -> Generator[str, None, None]:
    for chunk in model.create_chat_completion(
        request["messages"],
        temperature=0.0,
        max_tokens=request["max_tokens"],
        stream=True,
    ):
        if content := chunk["choices"][0]["delta"].get("content"):
            yield content


def _serve(model: str) -> Way:
    """transformers' own server, in a process of its own, over HTTP."""
    import httpx

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = str(Path(sys.executable).with_name("transformers"))
    command = [program, "serve", model, "--device", "cpu", "--host", "127.0.0.1"]
    server = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL)
    atexit.register(server.kill)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600)

    def way(request: dict[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        body = {
            "model": model,
            "messages": request["messages"],
            "max_tokens": request["max_tokens"],
            "temperature": 0,
            "stream": True,
        }
        return _gathered(start, _events(client, body))

    for _ in range(600):
        try:
            if client.get("/health").status_code == 200:
                break
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    way({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4})
    return way


def _events(client: Any, body: dict[str, Any]) -> Generator[str, None, None]:
    """The pieces of a streamed reply; closing the iterator disconnects."""
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            data = line.removeprefix("data:").strip()
            if data.startswith("{"):
                for choice in json.loads(data).get("choices", ()):
                    if content := choice["delta"].get("content"):
                        yield content


def _gathered(start: float, pieces: Generator[str, None, None]) -> dict[str, Any]:
    """The answer made of a reply's pieces, one a token, up to the end of its code block."""
    text, tokens, first = "", 0, 0.0
    with contextlib.closing(pieces):
        for piece in pieces:
            first = first or time.perf_counter() - start
            tokens += 1
            text += piece
            if _block_is_closed(text):
                break
    return {
        "text": text,
        "first": first,
        "seconds": time.perf_counter() - start,
        "tokens": tokens,
    }


def _block_is_closed(text: str) -> bool:
    """Whether the second line that is a fence has come."""
    fences = sum(line.strip().startswith("```") for line in text.split("\n"))
    return fences == 2 and text.rstrip(" ").endswith("```")
