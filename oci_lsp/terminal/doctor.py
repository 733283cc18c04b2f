"""`oci-lsp doctor`: what works on this machine and for this project, and what to do where not."""

from __future__ import annotations

import asyncio
import json
import platform
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from oci_lsp.engine import catalogue, devices, lifecycle
from oci_lsp.errors import InterpreterError, OciError
from oci_lsp.settings import Settings, from_command_line, from_pyproject
from oci_lsp.source.target import find_root
from oci_lsp.verify.pool import Verifier
from oci_lsp.verify.verdict import Run, Snippet


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it is well, what was found, what to do."""

    what: str
    ok: bool
    found: str
    advice: str = ""


def run(assignments: Sequence[str], *, as_json: bool, trusted: bool) -> int:
    """Print the findings; 0 where all is well, 1 where something is not.

    Raises:
        SettingsError: an assignment is wrong.
    """
    root = find_root(Path.cwd())
    settings, messages = from_pyproject(Settings(), root, trusted=trusted)
    settings = from_command_line(settings, assignments)
    findings = [Finding("settings", False, message) for message in messages]
    findings += asyncio.run(_examine(root, settings))
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _show(findings)
    return 0 if all(finding.ok for finding in findings) else 1


def _show(findings: list[Finding]) -> None:
    console = Console(highlight=False)
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        mark = "[green]ok     [/]" if finding.ok else "[red]problem[/]"
        console.print(f"{mark} {finding.what:{width}}  {escape(finding.found)}")
        if finding.advice:
            console.print(f"{'':8}{'':{width}}  [bold]{escape(finding.advice)}[/]")


async def _examine(root: Path, settings: Settings) -> list[Finding]:
    findings = [Finding("Python", sys.version_info >= (3, 11), platform.python_version())]
    checks: tuple[tuple[str, Callable[[Path, Settings], Awaitable[Finding]]], ...] = (
        ("engine", _engine),
        ("model", _model),
        ("sandbox", _sandbox),
        ("tests", _tests),
    )
    for what, check in checks:
        try:
            findings.append(await check(root, settings))
        except InterpreterError as error:
            # No sandbox is tried without the Python that it must show; it is told once.
            first = what == "sandbox"
            found = "not looked at: the project's Python cannot be used" if first else error.message
            findings.append(Finding(what, False, found, "" if first else error.advice))
        except OciError as error:
            findings.append(Finding(what, False, error.message, error.advice))
    return findings


async def _engine(root: Path, settings: Settings) -> Finding:
    if settings.engine.url:
        client = await lifecycle.connect(settings.engine)
        async with client:
            models = await client.models()
        return Finding("engine", True, f"{settings.engine.url} has {', '.join(models)}")
    devices.require_local()
    device = devices.detect(settings.engine.device)
    gib = device.memory_bytes / devices.GIB
    return Finding("engine", True, f"local, on {device.name} with {gib:.1f} GiB")


async def _model(root: Path, settings: Settings) -> Finding:
    if settings.engine.url:
        return Finding("model", True, settings.engine.model)
    device = devices.detect(settings.engine.device)
    ref = catalogue.resolve(settings.engine.model, device)
    source = catalogue.local_source(ref)
    if source is None:
        advice = f"`oci-lsp model pull {ref.name}` fetches it; the first fix asks, too."
        return Finding("model", False, f"{ref.name} is not on this machine yet", advice)
    how = "ready in NF4" if catalogue.has_nf4(ref) else "to be quantised at the first start"
    return Finding("model", True, f"{ref.name}, {how} ({source})")


async def _sandbox(root: Path, settings: Settings) -> Finding:
    async with Verifier(root, settings.verify) as verifier:
        await verifier.prepare()
        if verifier.isolation == "reduced":
            found = f"{verifier.note} (verify.isolation allows it)"
            return Finding("sandbox", False, found, verifier.advice)
        opened = [
            what
            for what, is_open in (
                ("network", settings.verify.network),
                ("devices", settings.verify.devices),
            )
            if is_open
        ]
        usual = f"strict: no secrets, {'the ' + ' and '.join(opened) if opened else 'no network'}, "
        if verifier.note:
            return Finding("sandbox", True, usual + verifier.note, verifier.advice)
    return Finding("sandbox", True, usual + "the project under an overlay")


async def _tests(root: Path, settings: Settings) -> Finding:
    # A file that exists in the overlay only: the whole way is gone, nothing is written.
    probe = root / "oci_lsp_doctor_probe.py"
    async with Verifier(root, settings.verify) as verifier:
        started = time.monotonic()
        report = await verifier.run(
            Run(
                files={probe: "ANSWER = 42\n"},
                snippets=(Snippet("asserts", "assert ANSWER == 42\n"),),
                snippet_path=probe,
            )
        )
        seconds = time.monotonic() - started
    found = f"{verifier.interpreter}, a kernel and a test in {seconds:.1f} s"
    if report.verdict == "passed":
        return Finding("tests", True, found)
    return Finding("tests", False, f"{verifier.interpreter}: {report.summary}", report.feedback)
