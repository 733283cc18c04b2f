"""What the host lays out for a raging candidate, and what of it must be as it was."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.verify.watching import snapshot

_NUMBERS = {"x86_64": (248, 250), "aarch64": (217, 219)}  # add_key, keyctl

TEST = """
from candidate import add


def test_add():
    for a, b, total in [(0, 0, 0), (2, 3, 5)]:
        assert add(a, b) == total
"""


class Bait:
    """A project, a home with secrets, files beside, listening sockets, a process, a key.

    All lies in the user's own home, since a sandbox empties the temporary folders anyway.
    """

    def __init__(self) -> None:
        home = Path.home() if os.access(Path.home(), os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix=".oci-lsp-rage-", dir=home)).resolve()
        self.root = self.folder / "project"
        self.home = self.folder / "home"
        self._write(self.root / "candidate.py", "def add(a, b):\n    return a - b\n")
        self._write(self.root / "tests/test_rage.py", TEST)
        self._write(self.root / ".git/hooks/pre-commit", "#!/bin/sh\n")
        self._write(self.root / "data/empty.txt", "")
        self._write(self.folder / "beside/file.txt", "as it was")
        self._write(self.folder / "beside/below/other.txt", "as it was")
        os.symlink("file.txt", self.folder / "beside/link")
        for name in (".ssh/id_rsa", ".aws/credentials", ".netrc", ".config/gh/hosts.yml"):
            self._write(self.home / name, "secret")
        for name in (".bash_history", ".local/share/keyrings/login.keyring", ".gnupg/key"):
            self._write(self.home / name, "secret")
        # Our own, which the first start would make.
        (self.home / ".cache/oci-lsp").mkdir(mode=0o700, parents=True)
        self._listening: list[socket.socket] = []
        self.sockets = [
            self._listen(socket.AF_UNIX, str(self._short(name)))
            for name in ("agent", "docker.sock", "bus")
        ]
        self._listen(socket.AF_UNIX, "\0oci-lsp-rage-" + self.folder.name)
        self.port = self._listen(socket.AF_INET, ("127.0.0.1", 0))
        self.port6 = 0
        with contextlib.suppress(OSError):
            self.port6 = self._listen(socket.AF_INET6, ("::1", 0))
        self.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(999)"])
        self.key = _a_key()

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def _short(self, name: str) -> Path:
        folder = self.folder / "s"
        folder.mkdir(exist_ok=True)
        return folder / name

    def _listen(self, family: int, address: Any) -> Any:
        server = socket.socket(family)
        server.bind(address)
        server.listen()
        server.setblocking(False)
        self._listening.append(server)
        return address if family == socket.AF_UNIX else server.getsockname()[1]

    def seen(self, runtime: str) -> dict[str, object]:
        """What a candidate is told."""
        return {
            "folder": str(self.folder),
            "home": str(self.home),
            "secret": str(self.home / ".ssh/id_rsa"),
            "beside": str(self.folder / "beside"),
            "outside": str(self.folder / "beside/file.txt"),
            "sockets": self.sockets,
            "abstract": "oci-lsp-rage-" + self.folder.name,
            "port": self.port,
            "port6": self.port6,
            "pid": self.process.pid,
            "key": self.key,
            "runtime": runtime,
        }

    def environment(self) -> dict[str, str]:
        """The host's environment, with what names sockets and secrets."""
        agent, docker, bus = self.sockets
        return {
            "HOME": str(self.home),
            "SSH_AUTH_SOCK": str(agent),
            "DOCKER_HOST": f"unix://{docker}",
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}",
            "API_TOKEN": "secret",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }

    def state(self) -> object:
        """Content, times, modes and attributes of every file."""
        rest = {}
        for path in [self.folder, *self.folder.rglob("*")]:
            status = path.lstat()
            attributes = os.listxattr(path, follow_symlinks=False)
            rest[str(path)] = (status.st_mode, status.st_nlink, status.st_uid, attributes)
        return snapshot(self.folder), rest

    def touched(self) -> list[str]:
        """What has been reached: a connection that came, a process that is gone."""
        found = []
        for server in self._listening:
            with contextlib.suppress(BlockingIOError):
                server.accept()
                found.append(f"connection to {server.getsockname()}")
        if self.process.poll() is not None:
            found.append("the host's process ended")
        return found

    def close(self) -> None:
        for server in self._listening:
            server.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)


def _a_key() -> int:
    """The number of a key in this process's session keyring; 0: none can be had."""
    numbers = _NUMBERS.get(platform.machine())
    if numbers is None:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(numbers[1], 1, None)  # a session keyring of our own
    return max(0, int(libc.syscall(numbers[0], b"user", b"oci-lsp-rage", b"secret", 6, -3)))


def becomes(condition, seconds: float) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
