"""The driver's end of its pipe to the supervisor: sealed JSON lines.

What it needs to know (descriptor, key, seal so far) lives in the frame of a generator: nothing
leads there but calls that the sentinel hears of (`gi_frame`, the gc module, frames). And the
generator looks who calls it: events come from this package alone, and never from below a
candidate's frame.
"""

import _thread
import json.encoder
import os
import sys
from typing import Any, Callable, Generator, Optional, Tuple

from .seal import seal as _seal

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_Message = Tuple[str, Any]
Owns = Callable[[Any], bool]


class Channel:
    """Writes events; only from the process and the thread that made it."""

    def __init__(self, fd: int) -> None:
        writer = _writer(fd, os.getpid(), _thread.get_ident(), _encoder())
        next(writer)
        self._tell = writer.send
        self._lock = _thread.RLock()

    def send(self, kind: str, **fields: Any) -> None:
        """One event, written whole."""
        with self._lock:
            self._tell((kind, fields))

    def seal(self, key: str, owns: Owns) -> None:
        """From now on lines carry the run's seal; `owns` tells a candidate's code. Once."""
        self._tell(("", (key, owns)))


def _encoder() -> Callable[[Any], str]:
    """json.dumps of parts that nobody can replace later."""
    encoder = json.encoder.JSONEncoder()
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    encode = make(None, encoder.default, json.encoder.encode_basestring_ascii, *_FORM)
    join = "".join
    return lambda value: join(encode(value, 0))


# indent, key separator, item separator, sort_keys, skipkeys, allow_nan
_FORM = (None, ": ", ", ", False, False, True)


def _writer(
    fd: int, owner: int, thread: int, encode: Callable[[Any], str]
) -> Generator[None, _Message, None]:
    # All that is called from here is bound before any user code ran.
    getpid, write, ident, getframe, seal = (
        os.getpid,
        os.write,
        _thread.get_ident,
        sys._getframe,
        _seal,
    )
    here, code = _HERE, Channel.send.__code__
    codes = (code, Channel.seal.__code__)
    key, last = "", ""
    owns: Optional[Owns] = None
    while True:
        kind, fields = yield
        if getpid() != owner:
            continue
        if kind == "" and owns is None:
            key, owns = fields
            continue
        caller: Any = getframe(1)
        # Of itself the candidate may tell the worst, from wherever it is.
        honest = kind == "tampered"
        forged = not honest and (caller.f_code not in codes or ident() != thread)
        frame = caller.f_back
        if not honest and (frame is None or not frame.f_code.co_filename.startswith(here)):
            forged = True
        while owns is not None and frame is not None and not (forged or honest):
            forged = owns(frame.f_code)
            frame = frame.f_back
        event = {"type": kind, **fields}
        if forged:
            event = {"type": "tampered", "what": "the stream of results"}
        caller = frame = None
        payload = encode(event).encode("ascii")
        last = seal(key, last, payload)
        data = last.encode("ascii") + b" " + payload + b"\n"
        while data:
            data = data[write(fd, data) :]
