"""How a command that works for long ends: on SIGTERM as on Ctrl-C."""

from __future__ import annotations

import asyncio
import signal


def end_on_sigterm() -> None:
    """Cancel the running task on SIGTERM: the kernels and the model stop, nothing is left."""
    current = asyncio.current_task()
    assert current is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, current.cancel)
