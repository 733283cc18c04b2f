"""`oci-lsp model` and `oci-lsp engine`: what is on this machine, fetching, starting, stopping."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import shutil
import time
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table

from oci_lsp.engine import catalogue, devices, lifecycle
from oci_lsp.engine.catalogue import Entry
from oci_lsp.errors import EngineError, ModelError
from oci_lsp.settings import Settings, assigned, from_command_line
from oci_lsp.terminal.ask import asker
from oci_lsp.terminal.settings import of_project
from oci_lsp.terminal.working import Working

_GB = 1e9


def run(options: argparse.Namespace) -> int:
    """`model list|pull|remove` and `engine start|stop|status`; the exit status.

    What a project may want of the engine counts where the user is at the project: for the list and
    the start.

    Raises:
        OciError: no such model, no consent, no way to fetch it, or the engine could not be started.
    """
    if options.action in ("list", "start"):
        settings = of_project(options)
    else:
        settings = from_command_line(Settings(), options.assignments)
    match options.action:
        case "list":
            return _list(settings)
        case "remove":
            return _remove(options.name, settings)
        case "pull":
            engine = dataclasses.replace(settings.engine, model=options.name, url="")
            settings = dataclasses.replace(settings, engine=engine)
            return asyncio.run(ready(settings, yes=options.yes))
        case "start":
            return asyncio.run(ready(settings, yes=options.yes))
        case "stop":
            return asyncio.run(_stop(settings, assigned(options.assignments)))
        case _:
            return asyncio.run(_status())


async def ready(settings: Settings, *, yes: bool) -> int:
    """Fetch, quantise and load the model, and show how far it is; leave the engine running.

    Raises:
        OciError: no such model, no consent, no room, or the engine did not start.
    """
    with Working() as working:
        consent = asker(yes=yes, before=working.pause, after=working.resume)
        started = time.monotonic()
        client = await lifecycle.connect(settings.engine, progress=working.step, consent=consent)
        await client.aclose()
    print(f"{client.model} is ready ({time.monotonic() - started:.1f} s).")
    return 0


async def _stop(settings: Settings, given: Mapping[str, object]) -> int:
    """End the engine of the model and device that the user named, or all."""
    weights = device = ""
    if "engine.url" in given:
        raise EngineError("The server at engine.url is not oci-lsp's to stop")
    if given.get("engine.device", "auto") != "auto":
        device = settings.engine.device
    if "engine.model" in given:
        # Only `auto` asks for a device, and means what would be started now.
        weights = catalogue.resolve(settings.engine.model, devices.detect(settings.engine)).slug
    count = await lifecycle.stop(
        lambda engine: weights in ("", engine.weights) and device in ("", engine.device)
    )
    none = "No such engine runs." if weights or device else "No engine runs."
    print({0: none, 1: "The engine is stopped."}.get(count, f"{count} engines are stopped."))
    return 0


def _list(settings: Settings) -> int:
    device = devices.detect(settings.engine)
    auto = catalogue.choose(device)
    named = catalogue.find(settings.engine.model)
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    # The names are what a user copies from here: they are never cut short.
    table.add_column("model", min_width=max(len(entry.name) for entry in catalogue.entries()))
    table.add_column("weights", justify="right")
    table.add_column("memory", justify="right")
    for column in ("here", "fits", ""):
        table.add_column(column)
    for entry in catalogue.entries():
        source = catalogue.local_source(entry.ref)
        here = "" if source is None else ("NF4" if catalogue.has_nf4(entry.ref) else "fetched")
        table.add_row(
            entry.name,
            f"{entry.parameters / _GB:.1f} B",
            f"{entry.memory_bytes(device.kind) / _GB:.1f} GB",
            here,
            f"no: {obstacle}" if (obstacle := entry.obstacle(device)) else "yes",
            ", ".join(_marks(entry, auto, named)),
        )
    console.print(table)
    others = catalogue.others_kept()
    if others:
        console.print(f"\nKept too, in NF4: {', '.join(path.name for path in others)}.")
    gib, usable = (count / devices.GIB for count in (device.memory_bytes, device.usable_bytes))
    console.print(f"\n{device.name}, {gib:.1f} GiB; a model may take {usable:.1f} GiB of them.")
    if device.kind == "cpu":
        console.print(
            "Beyond the memory of the list, up to a quarter of what is free is used for dense "
            "weights, where those are quicker."
        )
    console.print(f"`auto` takes {auto.name}: {catalogue.why(device)}.")
    if settings.engine.url:
        console.print(f"None is used here: engine.url is {settings.engine.url}.")
    elif settings.engine.model not in ("", "auto"):
        console.print(f"engine.model is {settings.engine.model} here.")
    return 0


def _marks(entry: Entry, auto: Entry, named: Entry | None) -> Iterator[str]:
    if entry == auto:
        yield "<- auto"
    if entry == named:
        yield "<- engine.model"


def _remove(name: str, settings: Settings) -> int:
    """Delete what oci-lsp itself keeps of a model: NF4 weights and downloads."""
    # The list's names of what is not in the catalogue; a file that was its source may be gone.
    for folder in catalogue.others_kept():
        if folder.name == name:
            shutil.rmtree(folder)
            print(f"deleted {folder}")
            return 0
    ref = catalogue.resolve(name, devices.detect(settings.engine))
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
