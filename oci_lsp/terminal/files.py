"""A source file on the disk, read whole and replaced whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from oci_lsp.errors import TargetError

_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"


@dataclass(frozen=True)
class SourceFile:
    """A source file as it was read; `text` is without the byte-order mark."""

    path: Path
    raw: bytes
    text: str

    @classmethod
    def read(cls, name: str) -> SourceFile:
        path = Path(name).resolve()
        try:
            raw = path.read_bytes()
            text = raw.decode("utf-8")
        except FileNotFoundError:
            raise TargetError(f"There is no file {name}") from None
        except UnicodeDecodeError as error:
            raise TargetError(
                f"{name} is not UTF-8 ({error.reason} at byte {error.start})",
                "oci-lsp works on UTF-8 sources only: convert the file first.",
            ) from None
        except OSError as error:
            raise TargetError(f"{name} cannot be read: {error.strerror}") from None
        return cls(path, raw, text.removeprefix(_BOM))

    def write(self, text: str) -> bool:
        """Replace the file's content at once; False where it changed since it was read."""
        mark = _BOM if self.raw.startswith(_BOM.encode()) else ""
        if self.path.read_bytes() != self.raw:
            return False
        with tempfile.NamedTemporaryFile(
            "wb", dir=self.path.parent, prefix=f".{self.path.name}.", delete=False
        ) as file:
            temporary = Path(file.name)
            try:
                file.write((mark + text).encode())
                file.flush()
                os.fsync(file.fileno())
                status = self.path.stat()
                temporary.chmod(status.st_mode & 0o7777)
                with contextlib.suppress(PermissionError):
                    os.chown(temporary, status.st_uid, status.st_gid)
                temporary.replace(self.path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return True

    def check_writable(self) -> None:
        """Raises TargetError where the file may not be replaced; root is held to its mode too."""
        may = os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)
        if not (may and self.path.stat().st_mode & 0o222):
            raise TargetError(
                f"{self.path} is read-only, so --apply could not change it",
                "Make it writable, or leave --apply out and take the diff.",
            )
