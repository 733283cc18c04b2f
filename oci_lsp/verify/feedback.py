"""The text about a failed run that the model and the user read, and hints at settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from oci_lsp.verify.verdict import TestResult

_SHOWN = 3
_OUTPUT = 1000
_LIMIT = 5000

_HINTS = (
    (
        r"Network is unreachable|Name or service not known|Temporary failure in name resolution"
        r"|nodename nor servname|Cannot assign requested address",
        "Tests have no network here; the setting verify.network lets them.",
    ),
    (
        r"No CUDA GPUs are available|Found no NVIDIA driver|CUDA driver initialization failed"
        r"|/dev/(nvidia|dri|kfd|snd|video)",
        "Tests have no devices here; the setting verify.devices lets them.",
    ),
    (
        r"os\.environ|getenv|environment variable",
        "Tests see few environment variables here; the setting verify.env names more.",
    ),
    (
        r"Read-only file system",
        "Tests can write only inside the project and in the temporary folder here.",
    ),
)


def hint(tests: Sequence[TestResult], summary: str, python: Path) -> str:
    """A sentence on what to set or install to let a failed test through; empty: nothing known.

    `python` is the interpreter that ran the tests.
    """
    if summary.startswith("The test cannot be collected") and "No module named" in summary:
        return (
            f"The tests ran with {python}: install the project or the dependency there, set"
            " pytest's pythonpath, or set verify.interpreter."
        )
    text = summary + "".join(test.message + test.details for test in tests)
    return next((advice for pattern, advice in _HINTS if re.search(pattern, text)), "")


def compose(summary: str, tests: Sequence[TestResult], printed: str) -> str:
    """The failures for the model and for the user: values first, the user's frames, the output.

    A prompt's tokens are waited for, so each failure is told once and in few lines.
    """
    bad = [test for test in tests if test.outcome != "passed"]
    parts = [_block(test) for test in bad[:_SHOWN]]
    if len(bad) > _SHOWN:
        names = ", ".join(test.id for test in bad[_SHOWN : _SHOWN + 10])
        parts.append(f"{len(bad) - _SHOWN} more did not pass: {names}")
    if not any(test.message and test.message in summary for test in bad):
        parts.insert(0, summary)
    if printed.strip():
        parts.append("Printed:\n" + cut(printed.strip(), _OUTPUT))
    return cut("\n\n".join(parts), _LIMIT)


def _block(test: TestResult) -> str:
    name = test.id.rpartition("::")[2]
    # `skipped` and the like say more than a message alone; a failure's message speaks for itself.
    head = f"{name}: {test.message}" if test.outcome == "failed" else f"{name} ({test.outcome})"
    lines = [head]
    if test.outcome != "failed" and test.message:
        lines.append(test.message)
    if test.details:
        lines.append(test.details)
    if test.output.strip():
        lines += ["Printed by the test:", cut(test.output.strip(), _OUTPUT)]
    return "\n".join(lines)


def cut(text: str, limit: int) -> str:
    """Head and tail of the text, about `limit` characters in all, with a mark of what was cut."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    between = text[head:-tail]
    mark = f"\n[... {len(between)} characters, {between.count(chr(10))} lines cut ...]\n"
    return text[:head] + mark + text[-tail:]
