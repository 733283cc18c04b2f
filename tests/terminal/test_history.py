"""`oci-lsp history` in a process of its own, on jobs that `oci-lsp fix` really ran."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import time

import psutil
import pytest

from oci_lsp import history
from oci_lsp.paths import history_dir, pages_dir
from tests.projects import BUGGY, RIGHT, TEST, calc, fenced, write
from tests.scripted_engine import ScriptedEngine
from tests.terminal.test_cli import WRONG, command, oci

RIGHT_REPLY = fenced(RIGHT)
TWO = (WRONG, RIGHT_REPLY)


def fixed(root, replies=TWO, *words) -> str:
    """A job on `add`; gives its id."""
    with ScriptedEngine(list(replies)) as engine:
        done = oci("fix", root / "calc.py::add", *words, engine=engine)
    assert done.stdout or not replies, done.stderr
    return history.find("last").id


def test_list_has_the_newest_first_as_seen_from_here(tmp_path):
    root = calc(tmp_path)
    one, two = fixed(root), fixed(root, [])
    here = oci("history", "list", cwd=root)
    head, first, second = here.stdout.splitlines()
    assert head.split() == ["id", "when", "target", "outcome", "attempts", "model"]
    assert (first.split()[0], first.split()[3:]) == (
        two,
        ["calc.py::add", "error", "0", "scripted"],
    )
    assert second.split()[0] == one
    assert second.split()[3:] == ["calc.py::add", "passed", "2", "scripted"]
    elsewhere = oci("history", "list", cwd="/")
    assert str(root / "calc.py::add").lstrip("/") in elsewhere.stdout
    jobs = json.loads(oci("history", "list", "--json").stdout)
    assert [(job["id"], job["attempts"], job["outcome"]) for job in jobs] == [
        (two, 0, "error"),
        (one, 2, "passed"),
    ]


def test_show_is_the_page_and_json_is_the_records(tmp_path):
    job = fixed(calc(tmp_path))
    page = oci("history", "show", job[:4]).stdout
    assert page.startswith("# calc.py::add: passed\n")
    assert "## Attempt 1 (turn 1): failed" in page
    assert "+    return a + b" in page
    assert oci("history", "show", "last").stdout == page
    records = json.loads(oci("history", "show", "last", "--json").stdout)
    assert [record["type"] for record in records[:3]] == ["job", "task", "result"]
    assert records[-1]["reply"] == RIGHT_REPLY


def test_replay_finds_what_was_found_and_says_nothing_more(tmp_path):
    root = calc(tmp_path)
    job = fixed(root)
    done = oci("history", "replay", job)
    assert done.returncode == 0, done.stderr
    first, second, last = done.stdout.splitlines()
    assert first.startswith("attempt 1: failed then, failed now: ")
    assert "add(2, 3) returned 6, expected 5" in first
    assert second == "attempt 2: passed then, passed now"
    assert last == "Every verdict is as it was."
    assert (root / "calc.py").read_text() == BUGGY
    assert len(list(history.entries())) == 1


def test_replay_holds_the_candidates_against_the_tests_of_now(tmp_path):
    root = calc(tmp_path)
    fixed(root)
    (root / "test_calc.py").write_text(
        TEST.replace("== 5", "== 6") + "\n\ndef test_more():\n    assert add(0, 1) == 0\n"
    )
    done = oci("history", "replay", "last", "--set", "verify.timeout=20")
    assert done.returncode == 1, done.stderr
    tests, settings, *attempts, last = done.stdout.splitlines()
    assert tests.startswith("The tests differ. Then: test_calc.py::test_add. Now: ")
    assert "test_calc.py::test_more" in tests
    assert settings == "Settings differ: verify.timeout was 30.0 and is 20.0."
    assert attempts[0] == "attempt 1: failed then, passed now"
    assert attempts[1].startswith("attempt 2: passed then, failed now: ")
    assert last == "2 of 2 verdicts differ."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RIGHT, "calc.py holds the edit of this job."),
        (f"import os\n\n\n{BUGGY}", "calc.py has changed since, add has not."),
        ("def add(a, b):\n    return 5\n", "add has changed since."),
        ("def sub(a, b):\n    return 5\n", "calc.py has changed since, and add is gone."),
        (None, "calc.py is gone or cannot be read."),
    ],
)
def test_replay_says_when_the_code_is_not_as_it_was(tmp_path, text, said):
    root = calc(tmp_path)
    fixed(root, [RIGHT_REPLY])
    if text is None:
        (root / "calc.py").unlink()
    else:
        (root / "calc.py").write_text(text)
    done = oci("history", "replay", "last")
    assert done.returncode == 0, done.stderr
    first, attempt, last = done.stdout.splitlines()
    assert first == f"{said} The candidates run in the file as it was."
    assert attempt == "attempt 1: passed then, passed now"
    assert last == "Every verdict is as it was."


def test_what_cannot_be_replayed_says_why(tmp_path):
    root = calc(tmp_path / "project", RIGHT)
    with ScriptedEngine([]) as engine:
        oci("fix", root / "calc.py::add", engine=engine)
    done = oci("history", "replay", "last")
    assert done.returncode == 2
    assert "no candidate (already_passing)" in done.stderr
    (root / "calc.py").write_text(BUGGY)
    fixed(root, [RIGHT_REPLY])
    (root / "test_calc.py").unlink()
    done = oci("history", "replay", "last")
    assert done.returncode == 2
    assert "no test for calc.py::add any more" in done.stderr
    root.rename(tmp_path / "moved")
    done = oci("history", "replay", "last")
    assert done.returncode == 2
    assert f"The project {root} is no longer there" in done.stderr


def test_export_is_in_the_datasets_shape(tmp_path):
    root = calc(tmp_path)
    job = fixed(root, TWO, "--feedback", "no loops")
    unanswered = fixed(root, [])
    done = oci("history", "export", "--format", "code-feedback")
    assert done.returncode == 0
    assert "1 conversation exported; 1 job without an answer" in done.stderr
    (one,) = json.loads(done.stdout)
    assert set(one) == {"id", "messages"}
    assert one["id"] == job
    roles = [message["role"] for message in one["messages"]]
    assert roles == ["user", "assistant", "user", "assistant"]
    first = one["messages"][0]["content"]
    system = json.loads(oci("history", "show", job, "--json").stdout)[3]
    assert system["role"] == "system"
    assert first.startswith(system["content"] + "\n\n") and "no loops" in first
    assert "return a + b" in one["messages"][-1]["content"]
    file = tmp_path / "out.json"
    done = oci("history", "export", job, job[:6], unanswered, "--format", "code-feedback",
               "-o", file)  # fmt: skip
    assert done.stdout == ""
    assert json.loads(file.read_text()) == [one, one]
    assert file.stat().st_mode & 0o777 == 0o600


def test_export_of_everything_passes_over_what_is_damaged(tmp_path):
    job = fixed(calc(tmp_path), [RIGHT_REPLY])
    (history_dir() / "20200101-000000.000000-bad.jsonl").write_text('{"type": "job"}\n')
    done = oci("history", "export", "--format", "code-feedback")
    assert [one["id"] for one in json.loads(done.stdout)] == [job]
    assert "left out: bad: " in done.stderr
    done = oci("history", "export", "bad", "--format", "code-feedback")
    assert (done.returncode, done.stdout) == (2, "")
    assert "damaged or of another version" in done.stderr


def test_clear_asks_first(tmp_path):
    fixed(calc(tmp_path))
    (pages_dir() / "a1.md").write_text("secret")
    done = oci("history", "clear", stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "Nothing was deleted" in done.stderr and "--yes" in done.stderr
    assert len(list(history.entries())) == 1
    done = oci("history", "clear", "--yes")
    assert (done.returncode, done.stdout) == (0, "1 transcript deleted.\n")
    assert not list(history_dir().iterdir()) and not list(pages_dir().iterdir())
    assert "No job has been recorded yet" in oci("history", "list").stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "zz"], "There is no job 'zz'"),
        (["replay", "zz"], "`oci-lsp history list` lists them all"),
        (["export", "zz", "--format", "code-feedback"], "The last ones"),
        (["export", "last"], "--format"),
        (["export", "--format", "code-feedback", "-o", "/none/x"], "/none/x cannot be written"),
        (["shew"], "invalid choice: 'shew'"),
        (["list", "--set", "a=b"], "no setting 'a'"),
        ([], "action"),
    ],
)
def test_bad_input_is_told_and_is_status_2(words, said):
    first = {"type": "job", "id": "a1", "outcome": "passed", "target": "calc.py::add"}
    (history_dir() / "20260101-000000.000000-a1.jsonl").write_text(json.dumps(first) + "\n")
    done = oci("history", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_off_on_the_command_line_keeps_nothing(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([RIGHT_REPLY]) as engine:
        oci("fix", root / "calc.py::add", "--set", "history.enabled=false", engine=engine)
    assert not list(history.entries())


def test_a_terminal_gets_no_control_characters(tmp_path):
    """What a model wrote could move the cursor, or set the window's title."""
    nasty = "\x1b]0;owned\x07 \x9b31m \u202e over\rwritten"
    fixed(calc(tmp_path, BUGGY.replace("\n", "\r\n")), [fenced(RIGHT, prose=nasty)])
    ours, theirs = pty.openpty()
    with subprocess.Popen(command("history", "show", "last"), stdout=theirs):
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux says that the other end was closed
            while more := os.read(ours, 4096):
                shown += more
    os.close(ours)
    assert rb"\x1b]0;owned\x07 \x9b31m \u202e over\rwritten" in shown
    assert b"\x1b" not in shown and b"return a + b\r" in shown
    assert rb"return a + b\r" not in shown
    piped = subprocess.run(command("history", "show", "last"), stdout=subprocess.PIPE, check=True)
    assert nasty.encode() in piped.stdout


def test_a_signal_ends_a_replay_with_130_and_leaves_no_process(tmp_path):
    root = calc(tmp_path)
    fixed(root, [RIGHT_REPLY])
    (root / "test_calc.py").write_text(
        TEST + "\n\ndef test_slow():\n    import time\n    time.sleep(add(20, 0))\n"
    )
    process = subprocess.Popen(
        command("history", "replay", "last"),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    process.stderr.readline()
    time.sleep(3)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children, "a kernel should be running"
    process.terminate()
    rest = process.stderr.read()
    assert process.wait(30) == 130
    process.stderr.close()
    assert "Traceback" not in rest
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


def test_what_a_comment_became_is_replayed(tmp_path):
    text = "x = 1\n\n# twice the number\n# >>> double(4)\n# 8\n"
    root = write(tmp_path, {"text.py": text})
    replies = [fenced(f"def double(n):\n    return {code}\n") for code in ("n", "n * 2")]
    with ScriptedEngine(replies) as engine:
        oci("generate", f"{root / 'text.py'}:3", "--apply", engine=engine)
    assert "def double" in (root / "text.py").read_text()
    done = oci("history", "replay", "last")
    assert done.returncode == 0, done.stderr
    changed, first, *why, second, _ = done.stdout.splitlines()
    assert changed.startswith("text.py holds the edit of this job.")
    assert first.startswith("attempt 1: failed then, failed now")
    assert why == ["    printed: 4", "    expected: 8"]
    assert second == "attempt 2: passed then, passed now"
    assert "text.py:3" in oci("history", "list", cwd=root).stdout
