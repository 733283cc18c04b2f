"""One job of the loop, from a test."""

from __future__ import annotations

from oci_lsp.refine.session import Session
from tests.projects import fenced, settings


async def solve(job, engine, observe=lambda event: None, **sections):
    """Work on a job with the scripted engine and real kernels; its result."""
    async with Session(job.root, settings(engine.url, **sections)) as session:
        return await session.run(job, observe, session.new_job_id())


def wrong(n: int) -> str:
    """A reply that fails the test of `calc`, each number with other code."""
    return fenced(f"def add(a, b):\n    return a * b + {n}\n")
