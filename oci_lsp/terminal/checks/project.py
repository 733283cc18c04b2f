"""The current project: its sandbox, its Python and pytest, a kernel, a test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from oci_lsp.errors import InterpreterError, SandboxError
from oci_lsp.settings import VerifySettings
from oci_lsp.terminal.checks.finding import BlockedError, Check, Finding
from oci_lsp.verify import interpreter, isolation
from oci_lsp.verify.kernel import Kernel, Plan
from oci_lsp.verify.pool import Verifier
from oci_lsp.verify.preload import Preload
from oci_lsp.verify.verdict import Run, Snippet

_NO_PYTHON = "the project's Python cannot be used"


class Project:
    """The checks of a project. Nothing of it runs outside of the sandbox."""

    def __init__(self, root: Path, settings: VerifySettings) -> None:
        self._root = root
        self._settings = settings
        self._plan: Plan | None = None
        self._seconds = 0.0
        self._versions: tuple[str, str] | None = None

    def checks(self) -> Sequence[Check]:
        """In the order in which one builds upon another."""
        return (
            Check("sandbox", self.sandbox),
            Check("interpreter", self.interpreter),
            Check("kernel", self.kernel),
            Check("tests", self.tests),
        )

    async def sandbox(self) -> Finding | str:
        """Which isolation can be had, found by trying it."""
        try:
            python = await asyncio.to_thread(
                interpreter.find_interpreter, self._root, self._settings
            )
        except InterpreterError as error:
            # No sandbox is tried without the Python that it must show.
            raise BlockedError(_NO_PYTHON) from error
        self._plan = plan = await isolation.decide(self._root, self._settings, python, None)
        if plan.bwrap is None:
            found = f"{plan.note} (verify.isolation allows it)"
            return Finding("sandbox", False, found, plan.advice)
        opened = " and ".join(
            what
            for what, is_open in (
                ("network", self._settings.network),
                ("devices", self._settings.devices),
            )
            if is_open
        )
        usual = f"strict: no secrets, {f'the {opened}' if opened else 'no network'}, "
        if plan.note:
            return Finding("sandbox", True, usual + plan.note, plan.advice)
        return usual + "the project under an overlay"

    async def interpreter(self) -> str:
        """The project's Python and its pytest, as a kernel's driver tells them."""
        python = await asyncio.to_thread(interpreter.find_interpreter, self._root, self._settings)
        try:
            version, pytest = await self._start()
        except SandboxError as error:
            raise BlockedError("no kernel starts") from error
        return f"{python}: Python {version}, pytest {pytest}"

    async def kernel(self) -> str:
        """A kernel, from nothing to its hello."""
        try:
            await self._start()
        except InterpreterError as error:
            raise BlockedError(_NO_PYTHON) from error
        return f"started in {self._seconds:.1f} s"

    async def tests(self) -> Finding | str:
        """A test of a file that exists in the overlay only: the whole way is gone, nothing is
        written."""
        if self._versions is None:
            raise BlockedError("no kernel starts")
        probe = self._root / "oci_lsp_doctor_probe.py"
        run = Run(
            files={probe: "ANSWER = 42\n"},
            snippets=(Snippet("asserts", "assert ANSWER == 42\n"),),
            snippet_path=probe,
        )
        async with Verifier(self._root, self._settings) as verifier:
            report = await verifier.run(run)
        if report.verdict != "passed":
            return Finding("tests", False, report.summary, report.feedback)
        return f"one passed in {report.seconds:.1f} s, with a kernel of its own"

    async def _start(self) -> tuple[str, str]:
        """Start a kernel and end it, once; the versions of its driver's Python and pytest.

        Raises:
            InterpreterError: the project's Python is broken or has no pytest.
            SandboxError: the kernel did not start.
            BlockedError: there is no sandbox to start one in.
        """
        if self._versions is None:
            if self._plan is None:
                raise BlockedError("there is no sandbox")
            kernel = Kernel(self._plan, frozenset(), Preload())
            started = time.monotonic()
            try:
                await kernel.start()
                self._seconds = time.monotonic() - started
                self._versions = kernel.versions
            finally:
                await kernel.reap()
        return self._versions
