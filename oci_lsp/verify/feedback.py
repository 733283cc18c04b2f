"""The text about a failed run that the model and the user read."""

from __future__ import annotations

from collections.abc import Sequence

from oci_lsp.verify.verdict import TestResult

_SHOWN = 3
_OUTPUT = 1000
_LIMIT = 5000


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
