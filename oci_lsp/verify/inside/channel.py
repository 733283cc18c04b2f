"""The driver's end of its pipe to the supervisor: numbered JSON lines with the run's nonce."""

import json
import os
import threading
from typing import Any


class Channel:
    """Writes events; only from the process that made it, so a forked test cannot add to them."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._sequence = 0
        self.nonce = ""

    def send(self, kind: str, **fields: Any) -> None:
        """One event, written whole."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            event = {"type": kind, "nonce": self.nonce, "sequence": self._sequence, **fields}
            self._sequence += 1
            data = json.dumps(event).encode("ascii") + b"\n"
            while data:
                data = data[os.write(self._fd, data) :]
