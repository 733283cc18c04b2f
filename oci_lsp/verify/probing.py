"""The probe: whether a bubblewrap program can make the sandbox of a project, found by making it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import stat
import sys
from pathlib import Path

from oci_lsp.settings import VerifySettings
from oci_lsp.verify import sandbox
from oci_lsp.verify.remedies import Refusal, classify

_SECONDS = 20.0
_SEEN = 500
# What a run does to a project: a new file, a new folder, a file rewritten.
_SCRIPT = """
import os, sys
name, existing = sys.argv[1:]
try:
    open(os.devnull, "w").close()
    with open(name, "w") as file: file.write("x")
    os.mkdir(name + ".d")
    with open(name + ".d/x", "w") as file: file.write("x")
    if existing:
        with open(existing, "r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(first or b"x")
except OSError as error:
    sys.exit("probe: writing to the project failed: %s" % error)
"""


async def probe(bwrap: Path, layout: sandbox.Layout, settings: VerifySettings) -> Refusal | None:
    """Write to the project in the sandbox and look for it on the disk; None: all is as promised."""
    name = f".oci-lsp-probe-{secrets.token_hex(4)}"
    if not os.access(bwrap, os.X_OK):
        return Refusal("missing", "there is no such program", bwrap)
    existing = "" if layout.copy else await asyncio.to_thread(_a_file, layout.root)
    before = _state(layout.root / existing)
    said = await _run(sandbox.command(bwrap, layout, settings), [name, existing], settings)
    if leaked := await asyncio.to_thread(_removed, layout.root, name):
        return Refusal("leak", f"what was written in the sandbox is on the disk ({leaked})", bwrap)
    if existing and _state(layout.root / existing) != before:
        return Refusal("leak", f"{existing} was changed on the disk", bwrap)
    if said is None:
        return None
    refusal = classify(said, bwrap)
    if refusal.kind == "old":
        version = await _version(bwrap)
        return Refusal("old", f"{version} is too old ({refusal.said})", bwrap)
    return refusal


async def _run(prefix: list[str], words: list[str], settings: VerifySettings) -> str | None:
    """What the probe complained of; None where it did not."""
    program = [sys.executable, "-I", "-S", "-c", _SCRIPT, *words]
    try:
        process = await asyncio.create_subprocess_exec(
            *prefix,
            *program,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=sandbox.environment(settings),
        )
    except OSError as error:
        return str(error)
    try:
        _, errors = await asyncio.wait_for(process.communicate(), _SECONDS)
    except TimeoutError:
        return f"no answer within {_SECONDS:g} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == 0:
        return None
    return errors.decode("utf-8", "replace") or f"exit status {process.returncode}"


async def _version(bwrap: Path) -> str:
    output = b""
    with contextlib.suppress(OSError, TimeoutError):
        process = await asyncio.create_subprocess_exec(
            *(str(bwrap), "--version"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), _SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if found := re.search(rb"\d+(\.\d+)+", output):
            return f"bubblewrap {found[0].decode()}"
    return "this bubblewrap"


def _a_file(root: Path) -> str:
    """A file of this user's in the project, relative to it; empty: none was met with."""
    uid, gid = os.geteuid(), os.getegid()
    seen = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names, key=lambda name: not name.endswith(".py")):
            path = Path(folder, name)
            with contextlib.suppress(OSError):
                status = path.lstat()
                mine = status.st_uid == uid and status.st_gid == gid
                if mine and stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IWUSR:
                    return str(path.relative_to(root))
            seen += 1
        if seen > _SEEN:
            break
    return ""


def _state(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _removed(root: Path, name: str) -> str:
    """Take what the probe left on the disk away; its name, empty where it left nothing."""
    found = ""
    for path in (root / name, root / f"{name}.d"):
        if os.path.lexists(path):
            found = path.name
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True) if not path.is_dir() else None
    return found
