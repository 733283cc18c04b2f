"""What a starting kernel prints, kept for the message that it did not start."""

from __future__ import annotations

import contextlib
import os

_MOST = 1 << 16


class Printed:
    """A pipe for the kernel's output. A file would do, but one on the host could be filled up from
    inside the sandbox, through /proc, by whoever finds it open there."""

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        os.set_blocking(self._read, False)

    def handed_over(self) -> None:
        """The kernel has the writing end: ours goes."""
        os.close(self.write)
        self.write = -1

    def text(self) -> str:
        """What came; empty where nothing did, or after `close`."""
        data = b""
        with contextlib.suppress(OSError):
            while self._read >= 0 and len(data) < _MOST and (more := os.read(self._read, _MOST)):
                data += more
        return data.decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Stop to listen; who writes from now on gets an error."""
        for end in (self._read, self.write):
            if end >= 0:
                os.close(end)
        self._read = self.write = -1
