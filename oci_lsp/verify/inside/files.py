"""Files of a run: laid over the project before it, compared after it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import tokenize
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

_FILE_LIMIT = 64 << 20


def lay(path: Path, content: str) -> None:
    """Write one file, with its compiled forms removed: those are told apart by whole seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = _encoded(path, content)
    try:
        path.write_bytes(data)
    except PermissionError:
        _replace(path, data)
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        with _writable(compiled.parent):
            compiled.unlink()


def _encoded(path: Path, content: str) -> bytes:
    """The text as Python will read it: in the encoding that its first lines name, else UTF-8."""
    data = content.encode("utf-8", "surrogatepass")
    if path.suffix != ".py" or b"coding" not in data[:400]:
        return data
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        named = content.encode(encoding)
    except (SyntaxError, UnicodeError, LookupError):
        return data
    return named if named.decode(encoding) == content else data


def _replace(path: Path, data: bytes) -> None:
    """Write a read-only file anew, with its mode: it is an overlay's or a copy's."""
    with _writable(path.parent):
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        if mode is not None:
            path.chmod(mode)


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """The folder can be written to for as long as the block lasts."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & stat.S_IWUSR:
        yield
        return
    folder.chmod(mode | stat.S_IWUSR)
    try:
        yield
    finally:
        folder.chmod(mode)


def digests(paths: list[str]) -> dict[str, str]:
    found = {}
    for path in paths:
        try:
            with opened(Path(path)) as file:
                size = os.fstat(file.fileno()).st_size
                large = size > _FILE_LIMIT
                content = str(size).encode() if large else file.read(_FILE_LIMIT + 1)
                found[path] = hashlib.sha256(content).hexdigest()
        except OSError:
            found[path] = ""
    return found


def opened(path: Path) -> BufferedReader:
    """A file of the run's, open for reading: never a pipe or a device, which may have no end.

    Raises:
        OSError: it is no regular file, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no file")
    return os.fdopen(descriptor, "rb")
