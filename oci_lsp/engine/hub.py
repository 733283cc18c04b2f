"""The model hub: is a repository there, how large is it, and its download."""

from __future__ import annotations

import asyncio
import importlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from oci_lsp.engine.catalogue import hint, hub_cache, is_whole
from oci_lsp.errors import ModelError

Progress = Callable[[str, float | None], None]

# Short: a machine behind a wall must not wait long to learn it.
LOOK_UP_SECONDS = 5.0
_WANTED = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "chat_template*",
    "*.safetensors",
    "*.safetensors.index.json",
)
# Where there are no safetensors; read without running what a pickle can say.
_PICKLED = ("pytorch_model*.bin", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class Repository:
    """A repository of the hub that can be used.

    Attributes:
        name: its id.
        size: what its download takes, in bytes.
        wanted: masks of the files to download.
    """

    name: str
    size: int
    wanted: tuple[str, ...] = _WANTED


def endpoint() -> str:
    """The hub's address; `HF_ENDPOINT` overrides, as for Hugging Face's own tools."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def cache_dir() -> Path:
    """Where downloads go: the cache that Hugging Face's tools share."""
    return hub_cache()


async def look_up(name: str) -> Repository | str:
    """The repository, or the reason why it cannot be used.

    Raises:
        ModelError: the hub was reached and says that the model does not exist, or is not open to
            this user.
    """
    import httpx

    if not name:
        return "it is not on the model hub"
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return "HF_HUB_OFFLINE is set"
    url = f"{endpoint()}/api/models/{name}"
    headers = {"authorization": f"Bearer {token}"} if (token := _token()) else {}
    try:
        async with httpx.AsyncClient(timeout=LOOK_UP_SECONDS, follow_redirects=True) as client:
            response = await client.get(url, params={"blobs": "true"}, headers=headers)
    except httpx.HTTPError as error:
        return f"{endpoint()} cannot be reached: {error or type(error).__name__}"
    if response.status_code in (401, 403, 404):
        # The hub answers 401 for what does not exist, lest it tell private names.
        if not _is_hub(response):
            return f"{endpoint()} answers {response.status_code}"
        raise ModelError(
            f"The model hub has no {name} that you may use (it answers {response.status_code})",
            f"{hint(name)}Check the spelling; for a gated or private model accept its terms on "
            "the hub and set HF_TOKEN.",
        )
    if response.status_code != 200:
        return f"{endpoint()} answers {response.status_code}"
    try:
        files = {item["rfilename"]: item.get("size") or 0 for item in response.json()["siblings"]}
    except (ValueError, KeyError, TypeError):
        return f"{endpoint()} does not answer as a model hub"
    safe = any(file.endswith(".safetensors") for file in files)
    pickled = any(fnmatch(file, _PICKLED[0]) for file in files)
    if not (safe or pickled) or "config.json" not in files:
        raise ModelError(
            f"{name} has no weights to load",
            "Take a repository with config.json and *.safetensors, or a GGUF file by its path.",
        )
    wanted = _WANTED if safe else _WANTED + _PICKLED
    size = sum(
        count for file, count in files.items() if any(fnmatch(file, mask) for mask in wanted)
    )
    return Repository(name, size, wanted)


async def download(repository: Repository, report: Progress) -> Path:
    """Download a repository's weights, tokenizer and configuration; resumes what was begun.

    Raises:
        ModelError: it failed, or what arrived is not whole.
    """
    cancelled = threading.Event()

    def fetch() -> Path:
        # Read when it is imported: the hub is told what is wanted, and nothing of who wants it.
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        from huggingface_hub import snapshot_download

        return Path(
            snapshot_download(
                repository.name,
                allow_patterns=list(repository.wanted),
                cache_dir=cache_dir(),
                endpoint=endpoint(),
                tqdm_class=_bar(repository, report, cancelled),
            )
        )

    task = asyncio.ensure_future(asyncio.to_thread(fetch))
    try:
        folder = await asyncio.shield(task)
    except asyncio.CancelledError:
        cancelled.set()
        raise
    except Exception as error:
        raise ModelError(
            f"The download of {repository.name} failed: {error}",
            "Try again: what has arrived is kept and the rest is fetched.",
        ) from error
    if not is_whole(folder):
        raise ModelError(
            f"The download of {repository.name} is not whole", "Try again: it is completed then."
        )
    return folder


def _bar(repository: Repository, report: Progress, cancelled: threading.Event) -> Any:
    """A progress bar class that reports to us instead of drawing."""
    tqdm: Any = importlib.import_module("tqdm.auto").tqdm
    done = 0
    lock = threading.Lock()

    class Reporter(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            kwargs["disable"] = True
            # One bar counts the files, the other their bytes.
            self._bytes = kwargs.get("unit") == "B"
            super().__init__(*args, **kwargs)

        def update(self, n: float | None = 1) -> None:
            nonlocal done
            if cancelled.is_set():
                raise InterruptedError
            if self._bytes and n:
                with lock:
                    done += int(n)
                fraction = min(1.0, done / repository.size) if repository.size else None
                report(f"Downloading {repository.name}", fraction)
            super().update(n)

    return Reporter


def _is_hub(response: Any) -> bool:
    """Whether an answer comes from the hub and not from a wall in between."""
    return "x-error-code" in response.headers or "x-request-id" in response.headers


def _token() -> str:
    if token := os.environ.get("HF_TOKEN", "").strip():
        return token
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    try:
        return (home / "token").read_text("utf-8").strip()
    except OSError:
        return ""
