"""Which earlier conversation the user's words go on with."""

from __future__ import annotations

from oci_lsp import history
from oci_lsp.refine.conversation import last_conversation
from oci_lsp.refine.task import Attempt, Message, Result
from oci_lsp.refine.transcript import Transcript
from oci_lsp.settings import HistorySettings
from tests.projects import BUGGY, RIGHT, calc, task, write

WORDS = "    # oci: use sum\n    return"


def ended(words: str, code: str = "") -> Result:
    """A job that said these words, and passed with this code if any."""
    attempt = Attempt(1, 1, "passed", code, "", "", 0.0, 0.0, 1, 1)
    messages = (Message("user", words), Message("assistant", "```python\n```", "model"))
    return Result("passed", "", attempts=(attempt,) if code else (), messages=messages)


def keep(job_id, earlier, result):
    records = Transcript.of(job_id, earlier, result).records()
    path = history.save(job_id, records, HistorySettings())
    assert path
    return path


def said(found) -> str:
    return found[0].content if found else ""


def test_the_function_is_what_the_job_found_or_made(tmp_path):
    root = calc(tmp_path)
    before = task(root, "calc.py", "add")
    job = ((before, ended("one", RIGHT.rstrip())),)
    for text, expected in (
        (BUGGY, "one"),
        (RIGHT, "one"),
        ("import os\r\n\r\n" + RIGHT.replace("\n", "\r\n"), "one"),
        (RIGHT.replace("    return", WORDS), "one"),
        (RIGHT.replace("a + b", "b + a"), ""),
    ):
        (root / "calc.py").write_text(text, newline="")
        assert said(last_conversation(task(root, "calc.py", "add"), job)) == expected, text


def test_the_newest_transcript_on_the_function_counts(tmp_path):
    files = {"calc.py": BUGGY + "\n\ndef other():\n    pass\n", "twin.py": BUGGY}
    root = write(tmp_path, files)
    add = task(root, "calc.py", "add")
    assert last_conversation(add) == ()
    first = keep("a" * 12, add, ended("first"))
    # Names sort by the second: what follows is made to be later.
    first.rename(first.with_name(first.name.replace("20", "19", 1)))
    keep("b" * 12, add, ended("second"))
    keep("c" * 12, task(root, "calc.py", "other"), ended("of another function"))
    keep("d" * 12, task(root, "twin.py", "add"), ended("of another file"))
    keep("e" * 12, add, Result("already_passing", "nothing was said"))
    keep("f" * 12, add, ended("damaged")).write_text('{"type": "job"}\n')
    assert said(last_conversation(add, ((add, ended("remembered")),))) == "second"


def test_a_function_made_from_a_comment_is_known_by_its_code(tmp_path):
    comment = "# function: add(a, b)\n# oci: quick\n"
    root = write(tmp_path, {"calc.py": comment})
    described = task(root, "calc.py", 0, "generate")
    job = ((described, ended("made", RIGHT.rstrip())),)
    assert said(last_conversation(described, job)) == "made"
    (root / "calc.py").write_text(comment.splitlines()[0] + "\n" + RIGHT)
    assert said(last_conversation(task(root, "calc.py", "add"), job)) == "made"
    (root / "calc.py").write_text("# function: add(a, b, c)\n")
    assert last_conversation(task(root, "calc.py", 0, "generate"), job) == ()
