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
from oci_lsp.verify import interpreter, layer, probing, remedies, sandbox, workspace
from oci_lsp.verify.kernel import Plan
from oci_lsp.verify.remedies import Refusal

Consent = Callable[[str], Awaitable[bool]]


async def decide(
    root: Path, settings: VerifySettings, python: Path, consent: Consent | None
) -> Plan:
    """The strictest plan that works here, found by trying it: the project under an overlay, a copy
    of it in a sandbox, a copy without one.

    `verify.isolation` rules the last of these alone: where a sandbox can be had, it is used.

    Raises:
        SandboxError: no sandbox can be had, and the settings ask for one; or the project is too
            large to be copied.
        ConsentError: no sandbox can be had, and the user did not agree to reduced isolation.
    """
    if not await asyncio.to_thread(root.is_dir):
        raise SandboxError(f"{root} is not a folder", "Open the project's folder.")
    readable = (*_own_paths(), *interpreter.needed_paths(python))
    plan = Plan(root, settings, python, readable, None, overlay=False)
    folder = await asyncio.to_thread(workspace.private_folder)
    try:
        layout = sandbox.Layout(root, folder, readable)
        bwrap, refusals = await _first_that_works(layout, settings)
        if bwrap is not None:
            mixed = await asyncio.to_thread(layer.has_foreign, root)
            return dataclasses.replace(plan, bwrap=bwrap, overlay=True, foreign=mixed)
        # The overlay may be at fault: some file systems cannot be a lower layer.
        copy = folder / "copy"
        copy.mkdir(exist_ok=True)
        bwrap, others = await _first_that_works(dataclasses.replace(layout, copy=copy), settings)
    finally:
        await asyncio.to_thread(workspace.remove, folder)
    if bwrap is not None:
        reason, advice = _told(refusals), remedies.advice(refusals, root)
        note = f"a copy of the project in the sandbox: {reason}"
        plan = dataclasses.replace(plan, bwrap=bwrap, note=note, advice=advice)
    else:
        reason, advice = _told(others), remedies.advice(others, root)
        await _agree_to_reduced(settings, consent, reason, advice)
        note = f"reduced isolation, a copy of the project without a sandbox: {reason}"
        plan = dataclasses.replace(plan, note=note, advice=advice)
    await asyncio.to_thread(workspace.require_small, root, settings.copy_mb, reason, advice)
    return plan


async def _first_that_works(
    layout: sandbox.Layout, settings: VerifySettings
) -> tuple[Path | None, list[Refusal]]:
    refusals: list[Refusal] = []
    for bwrap in sandbox.find_bwrap():
        refusal = await probing.probe(bwrap, layout, settings)
        if refusal is None:
            return bwrap, refusals
        refusals.append(refusal)
    return None, refusals or [Refusal("missing", "bubblewrap was not found")]


def _told(refusals: list[Refusal]) -> str:
    return "; ".join(map(str, refusals))


async def _agree_to_reduced(
    settings: VerifySettings, consent: Consent | None, reason: str, advice: str
) -> None:
    if settings.isolation == "reduced":
        return
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
