"""The wire: nothing but messages on stdout, TCP on the loopback only, odd ends of the input."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

from oci_lsp.errors import OciError
from oci_lsp.lsp.server import main_tcp
from tests.lsp.editor import capabilities, editor
from tests.projects import calc

COMMAND = [sys.executable, "-m", "oci_lsp"]


def framed(*messages: dict[str, Any]) -> bytes:
    bodies = [json.dumps({"jsonrpc": "2.0", **message}).encode() for message in messages]
    return b"".join(b"Content-Length: %d\r\n\r\n" % len(body) + body for body in bodies)


def frames(stream: bytes) -> list[dict[str, Any]]:
    """Every message of a stream that holds nothing else."""
    found = []
    while stream:
        head, _, rest = stream.partition(b"\r\n\r\n")
        match = re.fullmatch(rb"Content-Length: (\d+)(\r\n[\w-]+: [^\r\n]*)*", head)
        assert match, head
        length = int(match.group(1))
        found.append(json.loads(rest[:length]))
        stream = rest[length:]
    return found


INITIALIZE = {
    "id": 1,
    "method": "initialize",
    "params": {"processId": None, "rootUri": None, "capabilities": {}},
}
LEAVE = ({"id": 2, "method": "shutdown"}, {"method": "exit"})


def talk(data: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *words], input=data, capture_output=True, timeout=60)


def test_stdout_carries_messages_only_and_a_polite_end_is_status_0():
    done = talk(framed(INITIALIZE, {"method": "initialized", "params": {}}, *LEAVE))
    first, second = frames(done.stdout)
    assert first["result"]["serverInfo"]["name"] == "oci-lsp"
    provider = first["result"]["capabilities"]["codeActionProvider"]
    assert provider["codeActionKinds"] == [
        "quickfix",
        "refactor.rewrite.fix",
        "refactor.rewrite.generate",
        "source.fixFailing",
    ]
    commands = first["result"]["capabilities"]["executeCommandProvider"]["commands"]
    assert sorted(commands) == [
        "oci_lsp.cancel",
        "oci_lsp.fixFailing",
        "oci_lsp.fixFunction",
        "oci_lsp.generateFunction",
        "oci_lsp.printDebugInformation",
        "oci_lsp.refineWithFeedback",
        "oci_lsp.restartEngine",
        "oci_lsp.runTest",
        "oci_lsp.showTranscript",
    ]
    assert (second["id"], second["result"]) == (2, None)
    assert done.returncode == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        framed(INITIALIZE),
        framed(INITIALIZE)[:-5],
        framed(INITIALIZE, {"method": "exit"}),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"x" * 3_000_000,
    ],
    ids=["nothing", "no leave", "half a message", "exit alone", "another protocol", "no line end"],
)
def test_an_end_without_a_shutdown_is_status_1(data):
    done = talk(data)
    assert done.returncode == 1
    frames(done.stdout)
    assert b"Traceback" not in done.stderr


def test_input_from_a_file_and_from_nowhere(tmp_path):
    path = tmp_path / "input"
    path.write_bytes(framed(INITIALIZE, *LEAVE))
    with path.open("rb") as file, (tmp_path / "output").open("wb") as out:
        status = subprocess.run(COMMAND, stdin=file, stdout=out, timeout=60).returncode
    assert status == 0
    assert len(frames((tmp_path / "output").read_bytes())) == 2
    nothing = subprocess.run(COMMAND, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (nothing.returncode, nothing.stdout) == (1, b"")


def test_a_log_of_the_users_own_and_one_that_cannot_be_written(tmp_path):
    log = tmp_path / "server.log"
    talk(framed(INITIALIZE, *LEAVE), "--log-file", str(log))
    assert log.stat().st_mode & 0o777 == 0o600
    done = talk(b"", "--log-file", str(tmp_path / "none" / "server.log"))
    assert done.returncode == 2
    assert b"cannot be written" in done.stderr


async def test_over_tcp_one_client_on_the_loopback(tmp_path):
    root = calc(tmp_path)
    server = await asyncio.create_subprocess_exec(
        *COMMAND, "serve", "--tcp", "--port", "0", stderr=asyncio.subprocess.PIPE
    )
    try:
        assert server.stderr
        line = (await asyncio.wait_for(server.stderr.readline(), 30)).decode()
        match = re.search(r"listens on 127\.0\.0\.1:(\d+)", line)
        assert match, line
        client = LanguageClient("test-tcp", "1")
        await client.start_tcp("127.0.0.1", int(match.group(1)))
        answer = await client.initialize_async(
            lsp.InitializeParams(capabilities=capabilities(), root_uri=root.as_uri())
        )
        assert answer.server_info and answer.server_info.name == "oci-lsp"
        await client.shutdown_async(None)
        client.exit(None)
        assert await asyncio.wait_for(server.wait(), 20) == 0
        await client.stop()
    finally:
        if server.returncode is None:
            server.kill()


def test_tcp_refuses_what_others_could_reach_and_a_port_that_is_taken():
    with pytest.raises(OciError, match="loopback"):
        main_tcp("0.0.0.0", 0)


async def test_a_tcp_server_that_nobody_talks_to_ends_with_a_signal():
    server = await asyncio.create_subprocess_exec(
        *COMMAND, "serve", "--tcp", "--port", "0", stderr=asyncio.subprocess.PIPE
    )
    assert server.stderr
    await asyncio.wait_for(server.stderr.readline(), 30)
    os.kill(server.pid, signal.SIGTERM)
    assert await asyncio.wait_for(server.wait(), 20) == 143


async def test_initialize_comes_before_the_heavy_imports(tmp_path):
    """The aim is 300 ms on a quiet machine (scripts/bench_latency.py); this one may be busy."""
    root = calc(tmp_path)
    code = (
        "import sys, oci_lsp.lsp.server as s; s.Server();"
        "print([m for m in sys.modules if m.split('.')[0] in"
        " ('torch', 'zmq', 'httpx', 'jinja2', 'tree_sitter', 'jupyter_client', 'psutil')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "[]", done.stderr
    async with editor(root) as ed:
        assert ed.seconds_to_initialize < 3
        await ed.execute("oci_lsp.printDebugInformation")
        maps = Path(f"/proc/{ed.pid}/maps").read_text()
    assert "libtorch" not in maps
