"""What tells one engine process from another, and where its socket, locks and log lie."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oci_lsp
from oci_lsp import paths
from oci_lsp.errors import EngineError

# Linux takes 107 bytes, macOS 103.
SOCKET_PATH_BYTES = 103


@functools.cache
def version() -> str:
    """This installation's version: a changed engine is another one, even without a new number."""
    digest = hashlib.sha256()
    for file in sorted((Path(__file__).parent / "process").glob("*.py")):
        digest.update(file.read_bytes())
    return f"{oci_lsp.__version__}+{digest.hexdigest()[:8]}"


@dataclass(frozen=True)
class Identity:
    """One engine per user, model, device, limit and version; windows with the same one share it.

    `weights` tells apart models of one name (its slug); `memory` is the limit of `engine.maxMemory`
    in bytes, 0: none; `folder` is the user's runtime folder.
    """

    model: str
    weights: str
    device: str
    memory: int
    version: str
    folder: str
    log_folder: str

    @classmethod
    def of(cls, model: str, weights: str, device: str, memory: int = 0) -> Identity:
        """The identity that this installation gives an engine.

        Raises:
            EngineError: the runtime folder's path is too long for a unix socket.
        """
        identity = cls(
            model,
            weights,
            device,
            memory,
            version(),
            str(paths.runtime_dir()),
            str(paths.state_dir()),
        )
        if len(str(identity.socket).encode()) > SOCKET_PATH_BYTES:
            raise EngineError(
                f"The path of the engine's socket is too long: {identity.socket}",
                "Set OCI_LSP_RUNTIME_DIR to a folder with a short path.",
            )
        return identity

    @property
    def key(self) -> str:
        """A short name, unique to the identity."""
        text = json.dumps([self.model, self.weights, self.device, self.memory, self.version])
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def _in_folder(self, suffix: str) -> Path:
        return Path(self.folder) / f"engine-{self.key}.{suffix}"

    @property
    def socket(self) -> Path:
        """The unix socket; the folder, of mode 0700, is its guard."""
        return self._in_folder("sock")

    @property
    def start_lock(self) -> Path:
        """Held by the client that starts the engine."""
        return self._in_folder("lock")

    @property
    def alive_lock(self) -> Path:
        """Held by the engine as long as it lives."""
        return self._in_folder("alive")

    @property
    def state_file(self) -> Path:
        """Written by the engine: its identity, `pid` and `started` (seconds since the epoch)."""
        return self._in_folder("json")

    @property
    def log(self) -> Path:
        """The engine's log."""
        return Path(self.log_folder) / f"engine-{self.key}.log"

    def as_json(self) -> dict[str, Any]:
        """The fields, to be given to the process."""
        return dataclasses.asdict(self)
