"""The code of a reply is found, however the model wrapped it."""

from __future__ import annotations

import time

import pytest

from oci_lsp.errors import RejectedReplyError
from oci_lsp.source.reply import extract_code

CODE = "def f(x):\n    return x\n"
FENCED_DOC = 'def f(x):\n    """Doc.\n\n    ```\n    f(1)\n    ```\n    """\n    return x\n'


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (f"```python\n{CODE}```", CODE),
        (f"Sure!\n\n```py\n{CODE}```\nBye.", CODE),
        (f"```\n{CODE}```", CODE),
        (f"~~~python\n{CODE}~~~", CODE),
        (f"````python\n{CODE}````", CODE),
        (f"```Python3\r\n{CODE}```".replace("\n", "\r\n"), CODE),
        (f"Here: ```python\n{CODE}```", CODE),
        ("```python\ndef f(x):\n    return x```", CODE),
        ("1. Do:\n   ```python\n   def f(x):\n       return x\n   ```", CODE),
        ("```python\ndef f[T](x: T):\n    return x\n\nprint(f(", "def f[T](x: T):\n    return x\n"),
        (f"```python\n{CODE}", CODE),
        (f"```python\n{CODE}\n# Example\nprint(f(", CODE + "\n# Example\n"),
        (f"```python\n{CODE}\nprint(f(1)\n```", CODE),
        (f"```bash\npip install x\n```\n```python\n{CODE}```\n```text\n1\n```", CODE),
        (f"```python\nprint(f(1))\n```\n```python\n{CODE}```", CODE),
        (f"```python\n{CODE}```\n```python\nf(1)\n```", CODE),
        (f"```python\n{FENCED_DOC}```", FENCED_DOC),
        (CODE, CODE),
        (f"The fix is simple.\n\n{CODE}", CODE),
        (f"{CODE}\nThis returns x.\nIt isn't hard.", CODE),
        ("```python\n    def f(x):\n        return x\n```", "    def f(x):\n        return x\n"),
        (f"```python\n\n\n{CODE}\n\n```", CODE),
        (FENCED_DOC, FENCED_DOC),
    ],
)
def test_the_block_that_holds_the_function(reply, code):
    assert extract_code(reply) == code
    assert extract_code(reply, "f") == code


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "no code block"),
        ("No idea.", "no code block"),
        ("Use `f(x)` here.", "no code block"),
        ("```json\n{}\n```", "no code block"),
        ("```diff\n-def f(x):\n+def f(y):\n```", "no code block"),
        ("```python\n```", "no code block"),
        ("```python\nprint(1)\n```", "defines no function"),
        ("```python\ndef f(x):\n    return (x\n```", r"'\(' was never closed at the line `return"),
        ("```python\ndef f(x):\n    if x:\n        x = [", "never closed.*stopped before its end"),
        (
            "```python\ndef f(x):\n  return x\n    y = 1\n```",
            "unexpected indent at the line `y = 1`",
        ),
        ("def f(x): print x", "does not parse"),
    ],
)
def test_without_usable_code_the_reason_is_told(reply, reason):
    with pytest.raises(RejectedReplyError, match=reason):
        extract_code(reply)


def test_the_function_that_is_asked_for_decides_the_block():
    reply = "```python\ndef g():\n    return 2\n```\n```python\ndef f(x):\n    return x\n```"
    assert "def g" in extract_code(reply, "g")
    with pytest.raises(RejectedReplyError, match="does not define `h`"):
        extract_code(reply, "h")


def test_a_runaway_reply_is_read_in_good_time():
    start = time.perf_counter()
    with pytest.raises(RejectedReplyError):
        extract_code("```python\ndef f(x):\n    return (\n" + "x,\n" * 5000)
    with pytest.raises(RejectedReplyError):
        extract_code("```python\ndef f(x):\n    return [\n" + "```\n" * 5000)
    assert extract_code("```python\n" + CODE + "f(1)\n" * 5000 + "f(").startswith(CODE)
    # 0.3 s on a quiet core; trying every line as the end took minutes.
    assert time.perf_counter() - start < 10
