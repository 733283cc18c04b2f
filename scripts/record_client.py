"""Record what a real editor says of itself: a language server that keeps `initialize` and leaves.

    python scripts/record_client.py FILE.json

Let the editor start this as its server for some file. FILE.json then holds `clientInfo` and
`capabilities` as the editor sent them, in the form of tests/lsp/clients/ and of pytest-lsp's own
recordings; whatever names the machine (paths, process id, options) is left out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

KEPT = ("clientInfo", "capabilities")


def receive(stream: BinaryIO) -> dict[str, Any] | None:
    """The next message; None at the end of the stream."""
    length = 0
    while line := stream.readline().strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    message: dict[str, Any] | None = json.loads(stream.read(length)) if length else None
    return message


def answer(stream: BinaryIO, request: dict[str, Any], result: Any) -> None:
    """Answer a request."""
    body = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode()
    stream.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    stream.flush()


def main() -> None:
    target = Path(sys.argv[1])
    while (message := receive(sys.stdin.buffer)) is not None:
        if message.get("method") == "initialize":
            kept = {key: message["params"][key] for key in KEPT if key in message["params"]}
            target.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            answer(sys.stdout.buffer, message, {"capabilities": {}})
        elif message.get("method") == "exit":
            return
        elif "id" in message and "method" in message:
            answer(sys.stdout.buffer, message, None)


if __name__ == "__main__":
    main()
