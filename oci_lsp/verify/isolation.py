"""Which isolation this machine and this project's file system allow, and the user's consent."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import sysconfig
from collections.abc import Awaitable, Callable
from pathlib import Path

from oci_lsp.errors import ConsentError, SandboxError
from oci_lsp.settings import VerifySettings
from oci_lsp.verify import interpreter, sandbox, workspace
from oci_lsp.verify.kernel import Plan

Consent = Callable[[str], Awaitable[bool]]


async def decide(
    root: Path, settings: VerifySettings, python: Path, consent: Consent | None
) -> Plan:
    """The strictest plan that works here, found by trying it.

    Raises:
        SandboxError: no sandbox can be had, and the settings ask for one.
        ConsentError: no sandbox can be had, and the user did not agree to reduced isolation.
    """
    if not await asyncio.to_thread(root.is_dir):
        raise SandboxError(f"{root} is not a folder", "Open the project's folder.")
    readable = (*_own_paths(), *interpreter.needed_paths(python))
    plan = Plan(root, settings, python, readable, None, overlay=False)
    folder = await asyncio.to_thread(workspace.private_folder)
    reasons = ["bubblewrap was not found"] if not sandbox.find_bwrap() else []
    try:
        for bwrap in sandbox.find_bwrap():
            layout = sandbox.Layout(root, folder, readable)
            reason = await sandbox.probe(bwrap, layout, settings)
            if not reason:
                return dataclasses.replace(plan, bwrap=bwrap, overlay=True)
            reasons.append(f"{bwrap}: {reason}")
            # The overlay may be at fault: some file systems cannot be a lower layer.
            copy = folder / "copy"
            copy.mkdir(exist_ok=True)
            layout = dataclasses.replace(layout, copy=copy)
            if not await sandbox.probe(bwrap, layout, settings):
                return dataclasses.replace(plan, bwrap=bwrap, overlay=False)
    finally:
        await asyncio.to_thread(workspace.remove, folder)
    await _agree_to_reduced(settings, consent, "; ".join(reasons))
    return plan


async def _agree_to_reduced(settings: VerifySettings, consent: Consent | None, reason: str) -> None:
    if settings.isolation == "reduced":
        return
    advice = sandbox.advice(reason)
    refused = f"No sandbox can be had on this machine ({reason})"
    if settings.isolation == "strict":
        raise SandboxError(refused, advice)
    question = (
        f"{refused}. {advice} Run the tests with reduced isolation instead: in a copy of the"
        " project, with limits and a clean environment, but able to read and write your files"
        " and to use the network?"
    )
    if consent is None or not await consent(question):
        raise ConsentError(refused, f"{advice} Or set verify.isolation to reduced.")


def _own_paths() -> list[Path]:
    package = Path(__file__).resolve().parents[2]
    own = [Path(sys.prefix), Path(sys.base_prefix), package, Path(sysconfig.get_path("purelib"))]
    own += interpreter.needed_paths(Path(sys.executable))
    return [path for path in dict.fromkeys(own) if path != Path("/")]
