"""How the server reads and writes, and how it ends: streams, signals, the last seconds."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pygls.io_ import StdinAsyncReader, StdoutWriter

from oci_lsp.errors import OciError
from oci_lsp.lsp.reading import read_messages

if TYPE_CHECKING:
    from oci_lsp.lsp.protocol import Protocol
    from oci_lsp.lsp.server import Server

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_LONGEST_HEADER = 2**20
# Kernels die at once; this bounds what could hang after them (a thread in a slow file system).
_LEAVING_SECONDS = 5.0

_log = logging.getLogger(__name__)


def set_up_logging(log_file: Path | None) -> None:
    """Log to stderr, or to a file that only the user can read.

    Raises:
        OciError: the file cannot be written.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if log_file is not None:
        try:
            os.close(os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
            handler = logging.FileHandler(log_file, encoding="utf-8")
        except OSError as error:
            raise OciError(f"The log {log_file} cannot be written: {error.strerror}") from error
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format=form)
    logging.getLogger("oci_lsp").setLevel(logging.INFO)


def serve_stdio(create: Callable[[], Server]) -> int:
    """Serve on stdin and stdout, which nothing else in this process can reach from here on."""
    stdin, stdout = os.dup(0), os.dup(1)
    # A stray print, a C library's or a child's, must not get between the messages.
    os.dup2(2, 1)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)

    async def serve() -> int:
        server = create()
        reader = await _reader(stdin, server)
        return await _serve(server, reader, await _writer(stdout))

    return _run(serve)


def serve_tcp(create: Callable[[], Server], host: str, port: int) -> int:
    """Serve one client over TCP.

    Raises:
        OciError: not a loopback address, or the port is taken.
    """
    if not _is_loopback(host):
        raise OciError(
            f"{host} is not a loopback address",
            "Whoever reaches the server can run code as you: use 127.0.0.1.",
        )

    async def serve() -> int:
        status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            listening.close()  # one client; whoever comes later is refused
            code = await _serve(create(), reader, writer)
            if not status.done():
                status.set_result(code)

        try:
            listening = await asyncio.start_server(connected, host, port, limit=_LONGEST_HEADER)
        except OSError as error:
            raise OciError(
                f"Port {port} of {host} cannot be used: {error.strerror}", "Choose another one."
            ) from error
        place = listening.sockets[0].getsockname()
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, _resolve, status, 128 + number)
        told = (
            f"oci-lsp listens on {place[0]}:{place[1]}, for debugging: every user of this machine"
        )
        print(f"{told} can connect to it", file=sys.stderr, flush=True)  # noqa: T201
        return await status

    return _run(serve)


def _resolve(status: asyncio.Future[int], value: int) -> None:
    if not status.done():
        status.set_result(value)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _run(serve: Callable[[], Any]) -> int:
    status: int = asyncio.run(serve())
    # The interpreter joins its threads on the way out; none of them may keep the process.
    leave = threading.Timer(_LEAVING_SECONDS, os._exit, (status,))
    leave.daemon = True
    leave.start()
    return status


async def _serve(server: Server, reader: Any, writer: Any) -> int:
    """Read messages until the client leaves or a signal comes; the exit status."""
    loop, stopped = asyncio.get_running_loop(), threading.Event()
    signalled: asyncio.Future[int] = loop.create_future()
    for number in _SIGNALS:
        loop.add_signal_handler(number, _resolve, signalled, 128 + number)
    server._stop_event = stopped  # pygls sets it in start_io only, which we replace
    server.protocol.set_writer(writer)
    reading = asyncio.create_task(_read(server, reader, stopped), name="oci-lsp reading")
    try:
        ends: set[asyncio.Future[Any]] = {reading, signalled}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if signalled.done():
            return signalled.result()
        return 0 if cast("Protocol", server.protocol).was_shut_down else 1
    finally:
        reading.cancel()
        # What is left of the cleaning up when time is out dies with this process.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.aclose(), _LEAVING_SECONDS)
        await _flushed(writer)


async def _read(server: Server, reader: Any, stopped: threading.Event) -> None:
    try:
        await read_messages(reader, cast("Protocol", server.protocol), stopped)
    except (asyncio.IncompleteReadError, ConnectionError):
        _log.info("The client broke off in the middle of a message")
    except ValueError as error:
        _log.error("This is no language client: %s", error)


async def _reader(descriptor: int, server: Server) -> Any:
    """A reader of a pipe or a socket that needs no thread; of a file with one."""
    file = os.fdopen(descriptor, "rb")
    if not _is_pipe(descriptor):
        return StdinAsyncReader(file, server.thread_pool)
    reader = asyncio.StreamReader(limit=_LONGEST_HEADER)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, file)
    return reader


async def _writer(descriptor: int) -> Any:
    """A writer that never blocks: a client that is slow to read must not stop the server."""
    file = os.fdopen(descriptor, "wb")
    if not _is_pipe(descriptor):
        return StdoutWriter(file)
    transport, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, file)
    return transport


def _is_pipe(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


async def _flushed(writer: Any) -> None:
    """Wait until the last bytes are out, if the client still takes them."""
    transport = getattr(writer, "transport", writer)
    if not isinstance(transport, asyncio.WriteTransport):
        return
    for _ in range(100):
        if transport.is_closing() or not transport.get_write_buffer_size():
            break
        await asyncio.sleep(0.01)
    transport.close()
