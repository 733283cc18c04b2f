"""The engine process: `python -m oci_lsp.engine.process`, started by engine/lifecycle.py."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from oci_lsp.engine.identity import Identity

if TYPE_CHECKING:
    import uvicorn

    from oci_lsp.engine.process.model import Loaded
    from oci_lsp.engine.process.worker import Worker

# After a failure to load, long enough for every waiting client to read why.
ERROR_SECONDS = 15.0


def main() -> int:
    """Serve one model until idle; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m oci_lsp.engine.process")
    parser.add_argument("--identity", required=True, help="the engine's identity, as JSON")
    parser.add_argument("--source", type=Path, required=True, help="GGUF file or model folder")
    parser.add_argument("--nf4", type=Path, required=True, help="where the NF4 weights are kept")
    parser.add_argument(
        "--idle", type=float, required=True, help="seconds without use to end after"
    )
    options = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # A model is on this machine when the engine starts: it never asks the hub.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    identity = Identity(**json.loads(options.identity))
    alive = filelock.FileLock(identity.alive_lock)
    try:
        # A client that looks whether it lives may hold the lock for a moment.
        alive.acquire(timeout=2)
    except filelock.Timeout:
        logging.warning("This engine runs already")
        return 1
    identity.socket.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(identity.socket))
    finally:
        os.umask(mask)
    # Clients that come while torch is being imported wait here.
    listener.listen(64)
    state = {**identity.as_json(), "pid": os.getpid(), "started": time.time()}
    identity.state_file.write_text(json.dumps(state), "utf-8")
    try:
        _serve(listener, identity, options.source, options.nf4, options.idle)
    finally:
        identity.socket.unlink(missing_ok=True)
        identity.state_file.unlink(missing_ok=True)
        alive.release()
    logging.info("The engine has ended")
    return 0


def _serve(
    listener: socket.socket, identity: Identity, source: Path, nf4: Path, idle: float
) -> None:
    import uvicorn

    from oci_lsp.engine.process.service import application
    from oci_lsp.engine.process.worker import Worker

    def load(report: Callable[[str, float], None]) -> Loaded:
        from transformers.utils import logging as transformers_logging

        from oci_lsp.engine.process.model import load as load_model

        # Bars are for terminals; the log and the clients get our own reports.
        transformers_logging.disable_progress_bar()
        return load_model(source, nf4, identity.device, report, memory=identity.memory)

    worker = Worker(load, identity.model)
    app = application(
        worker, model=identity.model, device=identity.device, version=identity.version
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=2,
        )
    )

    async def run() -> None:
        watch = asyncio.create_task(_end_when_idle(server, worker, idle))
        try:
            await server.serve(sockets=[listener])
        finally:
            watch.cancel()

    worker.start()
    try:
        asyncio.run(run())
    finally:
        if not worker.close():
            # The thread hangs in a long call; waiting for it would keep the memory.
            logging.warning("The worker did not end in time")
            identity.socket.unlink(missing_ok=True)
            identity.state_file.unlink(missing_ok=True)
            logging.shutdown()
            os._exit(0)


async def _end_when_idle(server: uvicorn.Server, worker: Worker, idle: float) -> None:
    while not server.should_exit:
        await asyncio.sleep(min(1.0, idle / 5))
        limit = min(idle, ERROR_SECONDS) if worker.status == "error" else idle
        if worker.idle_seconds >= limit:
            logging.info("Idle for %.0f s: ending", limit)
            server.should_exit = True


if __name__ == "__main__":
    sys.exit(main())
