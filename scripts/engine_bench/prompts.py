"""The product's own prompts for function repairs, with the failure that a kernel has shown."""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from bench_repair import task_of, tasks

from oci_lsp.engine.client import Request
from oci_lsp.errors import EngineError
from oci_lsp.refine import prompt
from oci_lsp.refine.loop import refine
from oci_lsp.settings import Settings
from oci_lsp.verify.pool import Verifier


class _Recorder:
    """Stands where the engine would: keeps the request and says no."""

    model = "recorder"

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def stream(self, request: Request) -> AsyncGenerator[Any]:
        """Keep the request.

        Raises:
            EngineError: always.
        """
        self.requests.append(request)
        raise EngineError("only the prompt is wanted")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which prompts, and where they are kept."""
    parser.add_argument("--data", type=Path, required=True, help="humanevalpack-python.jsonl[.gz]")
    parser.add_argument("--limit", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("engine-bench"))


def chosen(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The requests that the options ask for."""
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / f"prompts-{options.limit}.json"
    return asyncio.run(gather(options.data, options.limit, kept))


async def gather(data: Path, limit: int, kept: Path) -> list[dict[str, Any]]:
    """The first requests of so many repairs: `task`, `messages`, `prediction`; kept in a file."""
    if kept.exists():
        found: list[dict[str, Any]] = json.loads(kept.read_text())
        if len(found) >= limit:
            return found[:limit]
    found = []
    for record in tasks(data, None):
        if len(found) == limit:
            break
        request = await _first_request(record)
        if request is not None:
            found.append(
                {
                    "task": record["task_id"],
                    "messages": [dict(message) for message in request.messages],
                    "prediction": request.prediction,
                }
            )
    kept.write_text(json.dumps(found, indent=1))
    return found


async def _first_request(record: dict[str, Any]) -> Request | None:
    recorder = _Recorder()

    async def connect() -> _Recorder:
        return recorder

    with tempfile.TemporaryDirectory(prefix="oci-bench-") as name:
        folder = Path(name).resolve()
        task = task_of(record, folder, docstrings=False)
        settings = Settings()
        async with Verifier(folder, settings.verify) as verifier:
            await refine(task, connect, verifier, settings)
    return recorder.requests[0] if recorder.requests else None


def second(request: dict[str, Any], reply: str) -> dict[str, Any]:
    """The request of the next attempt, after a reply that failed."""
    failure = "The test fails as before: expected True, got False."
    name = request["prediction"].partition("def ")[2].partition("(")[0]
    again = prompt.again(name, passed=False, failure=failure)
    messages = [
        *request["messages"],
        {"role": "assistant", "content": reply.strip()},
        {"role": "user", "content": again.content},
    ]
    return {**request, "messages": messages}
