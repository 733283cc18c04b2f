"""A job's context: inference runs beside the baseline, and the prompt takes what has come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from oci_lsp.refine.task import Task
from oci_lsp.source.context import Context, context
from oci_lsp.source.functions import Function
from oci_lsp.source.inference import Inference, questions
from oci_lsp.source.project import Project
from oci_lsp.source.tests import Selection

# Seconds that a finished baseline waits for inference that has not ended.
_PATIENCE = 0.5


class Surroundings:
    """Gathers the context of one task; `start` early, `ready` when the prompt is due, `close`.

    Args:
        tokens: the budget; 0: no context.
        across: look beyond the target's module.
        infer: ask jedi too.
    """

    def __init__(self, task: Task, tokens: int, *, across: bool = True, infer: bool = True) -> None:
        self._task = task
        self._tokens = tokens
        self._across = across
        self._infer = infer and across and tokens > 0
        self._inference = Inference()
        # Files are parsed once for the questions and the context.
        self._project = Project(task.root, task.buffers, {task.path: task.module})
        self._running: asyncio.Task[None] | None = None

    def start(self, selection: Selection) -> None:
        """Begin the inference; returns at once. The loop must be running."""
        if self._infer and isinstance(self._task.target, Function):
            self._running = asyncio.create_task(
                self._work(self._task.target, selection.node_ids), name="oci-lsp inference"
            )

    async def _work(self, target: Function, tests: Sequence[str]) -> None:
        asked = await asyncio.to_thread(questions, self._project, self._task.path, target, tests)
        await self._inference.run(self._project, asked, self._task.path)

    async def ready(self) -> None:
        """Wait a little for inference that has not ended, then end it."""
        if self._running is not None:
            await asyncio.wait((self._running,), timeout=_PATIENCE)
            await self.close()

    async def close(self) -> None:
        """End the worker, if it runs."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def context(self, selection: Selection) -> Context:
        """The context, with what inference has found so far; reads files."""
        return context(
            self._project,
            self._task.path,
            self._task.target,
            tokens=self._tokens,
            tests=selection.node_ids,
            snippets=[item.text for item in selection.snippets],
            inferred=self._inference.found,
            across=self._across,
        )
