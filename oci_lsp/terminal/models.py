"""`oci-lsp model` and `oci-lsp engine`: what is on this machine, fetching, starting, stopping."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import shutil
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from oci_lsp.engine import catalogue, devices, lifecycle
from oci_lsp.errors import ModelError
from oci_lsp.settings import Settings
from oci_lsp.terminal.ask import asker

_GB = 1e9


def run_model(options: argparse.Namespace, settings: Settings) -> int:
    """`model list`, `model pull NAME`, `model remove NAME`.

    Raises:
        OciError: no such model, no consent, no way to fetch it.
    """
    if options.action == "list":
        return _list(settings)
    if options.action == "remove":
        return _remove(options.name, settings)
    chosen = dataclasses.replace(settings.engine, model=options.name, url="")
    return asyncio.run(ready(dataclasses.replace(settings, engine=chosen), yes=options.yes))


def run_engine(options: argparse.Namespace, settings: Settings) -> int:
    """`engine start`, `engine stop`, `engine status`.

    Raises:
        OciError: the engine could not be started.
    """
    if options.action == "start":
        return asyncio.run(ready(settings, yes=options.yes))
    if options.action == "stop":
        count = asyncio.run(lifecycle.stop())
        print({0: "No engine runs.", 1: "The engine is stopped."}.get(count, f"{count} stopped."))
        return 0
    return asyncio.run(_status())


async def ready(settings: Settings, *, yes: bool) -> int:
    """Fetch, quantise and load the model, with a progress bar; leave the engine running.

    Raises:
        OciError: no such model, no consent, no room, or the engine did not start.
    """
    with ReadyBar() as bar:
        consent = asker(yes=yes, before=bar.pause, after=bar.resume)
        started = time.monotonic()
        client = await lifecycle.connect(settings.engine, progress=bar.report, consent=consent)
        await client.aclose()
    print(f"{client.model} is ready ({time.monotonic() - started:.1f} s).")
    return 0


class ReadyBar:
    """A progress bar for `lifecycle.connect`; a context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=None)
        self._last = ""

    def __enter__(self) -> Self:
        self.resume()
        return self

    def __exit__(self, *error: object) -> None:
        self.pause()

    def pause(self) -> None:
        """Take the bar away, so that a question can be asked."""
        self._progress.stop()

    def resume(self) -> None:
        """Show the bar, where there is a terminal."""
        if self._console.is_terminal:
            self._progress.start()

    def report(self, what: str, fraction: float | None) -> None:
        """Show a step and how much of it is done (0..1)."""
        if self._console.is_terminal:
            total = None if fraction is None else 1.0
            self._progress.update(self._task, description=what, total=total, completed=fraction)
        elif what != self._last:
            # Percentages would fill a log: each step is told once.
            self._console.print(what, markup=False)
        self._last = what


def _list(settings: Settings) -> int:
    device = devices.detect(settings.engine.device)
    auto = catalogue.choose(device)
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for column in ("model", "parameters", "memory in NF4", "here", "fits", ""):
        table.add_column(column, justify="right" if column == "parameters" else "left")
    for entry in catalogue.entries():
        source = catalogue.local_source(entry.ref)
        here = "" if source is None else ("NF4" if catalogue.has_nf4(entry.ref) else "fetched")
        table.add_row(
            entry.name,
            f"{entry.parameters / _GB:.1f} B",
            f"{entry.memory_bytes / _GB:.1f} GB",
            here,
            "yes" if entry.fits(device) else "no",
            "<- auto" if entry == auto else "",
        )
    console.print(table)
    why = "the best local one that fits" if catalogue.entry_is_local(auto) else "none is local yet"
    gib = device.memory_bytes / devices.GIB
    console.print(f"\n{device.name}, {gib:.1f} GiB. `auto` takes {auto.name}: {why}.")
    return 0


def _remove(name: str, settings: Settings) -> int:
    """Delete what oci-lsp itself keeps of a model: NF4 weights and downloads."""
    ref = catalogue.resolve(name, devices.detect(settings.engine.device))
    files = [file.path() for file in catalogue.wheel_files() if file.model == ref.name]
    found = [path for path in (ref.nf4_dir, *files) if path.exists()]
    if not found:
        raise ModelError(f"Nothing of {ref.name} is kept by oci-lsp", "`oci-lsp model list`")
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        print(f"deleted {path}")
    if ref.hub and (snapshot := catalogue.hub_snapshot(ref.hub)):
        print(f"left as it is, Hugging Face's own copy: {snapshot}")
    return 0


async def _status() -> int:
    engines = await lifecycle.status()
    if not engines:
        print("No engine runs. The first fix starts it, or `oci-lsp engine start`.")
    for engine in engines:
        minutes = (time.time() - engine.started) / 60
        health = engine.health
        state = "does not answer" if health is None else health.status
        queue = f", {health.queue} waiting" if health and health.queue else ""
        print(
            f"{engine.identity.model} on {engine.identity.device}: {state}{queue} "
            f"(process {engine.pid}, {minutes:.0f} min, log {engine.identity.log})"
        )
    return 0
