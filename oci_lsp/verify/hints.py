"""What keeps honest tests from passing in a sandbox, and the setting that lets them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from oci_lsp.settings import VerifySettings
from oci_lsp.verify import masks, sandbox
from oci_lsp.verify.verdict import TestResult

_COLLECTION = "The test cannot be collected"
_NETWORK = re.compile(
    r"Network is unreachable|Name or service not known|Temporary failure in name resolution"
    r"|nodename nor servname|No address associated with hostname|Cannot assign requested address"
    r"|getaddrinfo failed|NewConnectionError|ClientConnectorError"
)
_REFUSED = re.compile(r"Connection refused|ConnectionRefusedError")
_DEVICE = re.compile(
    r"No CUDA GPUs are available|Found no NVIDIA driver|CUDA driver initialization failed"
    r"|no CUDA-capable device|CUDA driver version is insufficient|NVML|libcuda\.so"
    r"|No HIP GPUs are available|hipErrorNoDevice|Unable to initialize backend '(cuda|rocm|gpu)'"
    r"|/dev/(nvidia|dri|kfd|kvm|snd|video|ttyUSB|ttyACM|bus/usb|input)"
)
# Reasons that skipped tests give.
_SKIP_NETWORK = re.compile(r"\b(network|internet|offline|online)\b", re.IGNORECASE)
_SKIP_DEVICE = re.compile(r"\b(GPU|CUDA|ROCm)s?\b", re.IGNORECASE)
_MEMORY = re.compile(
    r"\bMemoryError\b|Cannot allocate memory|Unable to allocate .* for an array"
    r"|DefaultCPUAllocator: can't allocate memory"
)
_PROCESSES = re.compile(r"can't start new thread|BlockingIOError.*Resource temporarily unavailable")
_READ_ONLY = re.compile(r"Read-only file system(?:: '([^']*)')?")
_PATH = re.compile(r"(?:No such file or directory|Permission denied)[^'\n]*'(/[^'\n]+)'")
_READS = re.compile(
    r"""(?:environ(?:\.get|\.pop)?|getenv|environb?\.setdefault|\benv(?:\.\w+)?)\s*[\[(]\s*["'](\w+)["']"""
)
_KEY = re.compile(r"""\bKeyError: ["'](\w+)["']""")
_NAME = re.compile(r"(?<!\w)[A-Z][A-Z0-9]*_[A-Z0-9_]+\b|(?<=\$)[A-Z]+\b")
_PLUGIN = re.compile(
    r"fixture '(\w+)' not found|unrecognized arguments?: |Missing required plugins"
    r"|async def functions are not natively supported|No module named "
)


@dataclass(frozen=True)
class Facts:
    """What a hint is made from; `text` is all that the failed tests and the run said."""

    text: str
    skipped: str
    summary: str
    root: Path
    python: Path
    settings: VerifySettings


def hint(
    tests: Sequence[TestResult], summary: str, root: Path, python: Path, settings: VerifySettings
) -> str:
    """A sentence on what to set or install to let a failed test through; empty: nothing known.

    `root` is the project's, `python` the interpreter that ran the tests.
    """
    bad = [test for test in tests if test.outcome != "passed"]
    parts = [summary, *(part for test in bad for part in (test.message, test.details, test.output))]
    reasons = "\n".join(test.message for test in bad if test.outcome == "skipped")
    facts = Facts("\n".join(parts), reasons, summary, root, python, settings)
    return next((advice for rule in _RULES for advice in rule(facts)), "")


def _installed(facts: Facts) -> Iterator[str]:
    found = _PLUGIN.search(facts.text)
    if not found or not (found[1] or facts.summary.startswith(_COLLECTION)):
        return
    ran = f"The tests ran with {facts.python}"
    if facts.python == Path(sys.executable):
        ran += " (oci-lsp's own, since no environment of the project was found)"
    if "No module named" in found[0]:
        yield (
            f"{ran}: install the project or the dependency there, set pytest's pythonpath, or set"
            " verify.interpreter."
        )
    else:
        yield f"{ran}: install the pytest plugin that it needs there, or set verify.interpreter."


def _variables(facts: Facts) -> Iterator[str]:
    visible = sandbox.environment(facts.settings)
    read = dict.fromkeys(_READS.findall(facts.text))
    keys = dict.fromkeys(_KEY.findall(facts.text))
    named = [*keys, *read, *dict.fromkeys(_NAME.findall(facts.text))]
    for name in dict.fromkeys(named):
        if name in os.environ and name not in visible:
            yield (
                f"Tests do not see the environment variable {name}, which is set here: name it in"
                " the setting verify.env."
            )
    for name in keys:
        if name in read and name not in os.environ:
            yield (
                f"The environment variable {name} is not set where this server was started; once"
                " it is, name it in the setting verify.env."
            )


def _network(facts: Facts) -> Iterator[str]:
    if facts.settings.network:
        return
    if _NETWORK.search(facts.text) or _SKIP_NETWORK.search(facts.skipped):
        yield "Tests have no network here; the setting verify.network lets them."
    if _REFUSED.search(facts.text):
        yield (
            "Tests have no network here, so no service of this machine either; the setting"
            " verify.network lets them."
        )


def _devices(facts: Facts) -> Iterator[str]:
    if facts.settings.devices:
        return
    if _DEVICE.search(facts.text) or _SKIP_DEVICE.search(facts.skipped):
        yield "Tests have no devices here; the setting verify.devices lets them."


def _limits(facts: Facts) -> Iterator[str]:
    settings = facts.settings
    if f"did not end within {settings.timeout:g} s" in facts.summary:
        yield "If they need more time, the setting verify.timeout gives it."
    if _MEMORY.search(facts.text) and "verify.memoryMb" not in facts.summary:
        yield (
            f"Tests have {settings.memory_mb} MB of memory here; the setting verify.memoryMb gives"
            " more."
        )
    if _PROCESSES.search(facts.text) and "verify.processes" not in facts.summary:
        yield (
            f"Tests may have {settings.processes} processes here; the setting verify.processes"
            " allows more."
        )


def _files(facts: Facts) -> Iterator[str]:
    if found := _READ_ONLY.search(facts.text):
        where = f" ({found[1]})" if found[1] else ""
        yield (f"Tests can write only inside the project and in the temporary folder here{where}.")
    for name in _PATH.findall(facts.text):
        path = Path(name)
        places = [*map(Path, masks.EMPTIED), *masks.secrets()]
        is_hidden = any(place == path or place in path.parents for place in places)
        if is_hidden and facts.root not in path.parents and os.path.lexists(path):
            yield (
                f"{path} is hidden from tests: they have a fresh /tmp, /run and /var/tmp and see no"
                " secrets. Put what they need into the project."
            )


_RULES: tuple[Callable[[Facts], Iterator[str]], ...] = (
    _installed,
    _variables,
    _network,
    _devices,
    _limits,
    _files,
)
