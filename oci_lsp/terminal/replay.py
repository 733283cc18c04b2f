"""`oci-lsp history replay`: each candidate of a job with its verdict then and now."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import aclosing

from oci_lsp.refine.replay import Again, Replay
from oci_lsp.refine.task import counted
from oci_lsp.refine.transcript import Transcript
from oci_lsp.settings import Settings
from oci_lsp.terminal.ask import asker
from oci_lsp.terminal.ending import end_on_sigterm
from oci_lsp.terminal.history import write
from oci_lsp.terminal.settings import in_force
from oci_lsp.terminal.show import Progress
from oci_lsp.verify.pool import Verifier


def run(transcript: Transcript, options: argparse.Namespace) -> int:
    """Replay a job: 0 where every verdict is as it was, 1 where one differs, 130 cancelled.

    Raises:
        OciError: it cannot be replayed, or no kernel could be started.
    """
    settings, messages = in_force(transcript.root, options)
    for message in messages:
        print(message, file=sys.stderr)
    try:
        differing = asyncio.run(_replay(transcript, settings, yes=options.yes))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    total = counted(len(transcript.result.attempts), "verdict")
    print(f"{differing} of {total} differ." if differing else "Every verdict is as it was.")
    return 1 if differing else 0


async def _replay(transcript: Transcript, settings: Settings, *, yes: bool) -> int:
    """Show what comes out, and count the verdicts that differ."""
    end_on_sigterm()
    differing = 0
    with Progress() as progress:

        def tell(text: str) -> None:
            progress.pause()
            write(text)
            sys.stdout.flush()
            progress.resume()

        consent = asker(yes=yes, before=progress.pause, after=progress.resume)
        async with Verifier(transcript.root, settings.verify, consent=consent) as verifier:
            replay = Replay(transcript, verifier, settings, progress)
            for change in await replay.start():
                tell(change)
            async with aclosing(replay.attempts()) as attempts:
                async for again in attempts:
                    differing += not again.same
                    tell(_verdicts(again))
    return differing


def _verdicts(again: Again) -> str:
    attempt = again.attempt
    told = f"attempt {attempt.number}: {attempt.verdict} then, {again.now} now"
    return told if again.now == "passed" else f"{told}: {again.summary}".replace("\n", "\n    ")
