"""The seal on each event: a keyed chain, so that no line can be added, left out or repeated.

Used by both ends of the driver's pipe (standard library, Python 3.9).
"""

from hashlib import blake2b as _blake2b


def seal(key: str, before: str, payload: bytes) -> str:
    """The seal of a line, from the run's key, the seal of the line before, and the line itself."""
    digest = _blake2b(before.encode("ascii"), key=key.encode("ascii"), digest_size=16)
    digest.update(payload)
    return digest.hexdigest()
