"""`oci-lsp doctor`: what works on this machine and for this project, and what to do where not."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from oci_lsp.source.target import find_root
from oci_lsp.terminal.checks.finding import Check, Finding
from oci_lsp.terminal.checks.machine import Machine
from oci_lsp.terminal.checks.project import Project
from oci_lsp.terminal.settings import in_force


def run(options: argparse.Namespace) -> int:
    """Print the findings; 0 where all is well, 1 where something is not.

    Raises:
        SettingsError: an assignment is wrong.
    """
    root = find_root(Path.cwd())
    settings, messages = in_force(root, options)
    checks = (*Machine(settings.engine).checks(), *Project(root, settings.verify).checks())
    early = [Finding("settings", False, message) for message in messages]
    findings = asyncio.run(_examine(early, checks, quiet=options.json))
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    return 0 if all(finding.ok for finding in findings) else 1


async def _examine(
    early: list[Finding], checks: tuple[Check, ...], *, quiet: bool
) -> list[Finding]:
    """All findings, each shown as it comes."""
    out = Console(highlight=False, soft_wrap=True)
    width = max(len("settings"), *(len(check.what) for check in checks))
    findings: list[Finding] = []
    async for finding in _each(early, checks):
        findings.append(finding)
        if not quiet:
            _show(out, finding, width)
    return findings


async def _each(early: list[Finding], checks: tuple[Check, ...]) -> AsyncIterator[Finding]:
    for finding in early:
        yield finding
    # One after the other: the seconds of a kernel are told, and should be its own.
    for check in checks:
        with Console(stderr=True).status(f"looking at: {check.what}"):
            finding = await check.finding()
        yield finding


def _show(out: Console, finding: Finding, width: int) -> None:
    mark = "[green]ok     [/]" if finding.ok else "[red]problem[/]"
    out.print(f"{mark} {finding.what:{width}}  {escape(finding.found)}")
    if finding.advice:
        for line in finding.advice.splitlines():
            out.print(f"{'':8}{'':{width}}  [bold]{escape(line)}[/]")
