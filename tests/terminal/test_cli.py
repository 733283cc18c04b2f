"""The command line in a process of its own: exit status, output, the file, what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.projects import BUGGY, RIGHT, calc, fenced, write
from tests.scripted_engine import Reply, ScriptedEngine

WRONG = fenced("def add(a, b):\n    return a * b\n")
SECONDS = 120


def command(*words, engine=None):
    sets = ["--set", f"engine.url={engine.url}", "--set", "refine.candidates=1"] if engine else []
    return [sys.executable, "-m", "oci_lsp", *map(str, words), *sets]


def oci(*words, engine=None, cwd=None, **more):
    return subprocess.run(
        command(*words, engine=engine),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=cwd,
        check=False,
        **more,
    )


def test_fix_prints_a_diff_that_git_takes_and_leaves_the_file(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([WRONG, fenced(RIGHT)]) as engine:
        done = oci("fix", root / "calc.py::add", engine=engine)
    assert done.returncode == 0, done.stderr
    assert (root / "calc.py").read_text() == BUGGY
    assert "attempt 1 " in done.stderr
    assert "attempt 2 " in done.stderr
    assert "1 test passed on attempt 2" in done.stderr
    subprocess.run(["git", "apply"], input=done.stdout, text=True, cwd=root, check=True)
    assert (root / "calc.py").read_text() == RIGHT


def test_fix_apply_changes_the_file_and_keeps_its_mode_and_mark(tmp_path):
    root = calc(tmp_path)
    path = root / "calc.py"
    path.write_bytes(b"\xef\xbb\xbf" + BUGGY.replace("\n", "\r\n").encode())
    path.chmod(0o750)
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        done = oci("fix", "calc.py::add", "--apply", engine=engine, cwd=root)
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == b"\xef\xbb\xbf" + RIGHT.replace("\n", "\r\n").encode()
    assert path.stat().st_mode & 0o777 == 0o750
    assert {p.name for p in root.iterdir()} == {"calc.py", "test_calc.py", "pyproject.toml"}


def test_json_is_one_object_with_every_field(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([WRONG, fenced(RIGHT)]) as engine:
        done = oci("fix", root / "calc.py::add", "--json", engine=engine)
    result = json.loads(done.stdout)
    fields = "outcome limit attempts diff tests regressions model seconds message"
    assert set(result) >= set(fields.split())
    assert result["outcome"] == "passed"
    assert [attempt["verdict"] for attempt in result["attempts"]] == ["failed", "passed"]
    fields = "turn verdict generate_seconds verify_seconds prompt_tokens completion_tokens"
    assert set(result["attempts"][0]) >= set(fields.split())


@pytest.mark.parametrize(
    ("code", "replies", "status", "outcome"),
    [
        (RIGHT, [], 0, "already_passing"),
        (BUGGY, [WRONG, WRONG.replace("*", "//")], 1, "failed"),
        (BUGGY, [Reply(status=401, message="no")], 2, "error"),
    ],
)
def test_exit_status_tells_the_outcome(tmp_path, code, replies, status, outcome):
    root = calc(tmp_path, code)
    with ScriptedEngine(replies) as engine:
        done = oci("fix", root / "calc.py::add", "--json", engine=engine)
    assert (done.returncode, json.loads(done.stdout)["outcome"]) == (status, outcome)
    assert (root / "calc.py").read_text() == code


def test_a_named_test_is_found_from_the_current_folder(tmp_path):
    root = calc(tmp_path)
    more = "from calc import add\n\n\ndef test_two():\n    assert add(1, 1) == 2\n"
    write(root, {"sub/test_more.py": more})
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        done = oci(
            "fix", "../calc.py::add", "--test", "test_more.py::test_two", "--json",
            engine=engine, cwd=root / "sub",
        )  # fmt: skip
    assert json.loads(done.stdout)["tests"] == ["sub/test_more.py::test_two"], done.stdout


def test_generate_at_a_comment_line_and_feedback_reaches_the_model(tmp_path):
    root = write(tmp_path, {"text.py": "x = 1\n\n# twice the number\n# >>> double(4)\n# 8\n"})
    code = "def double(n):\n    return n * 2\n"
    with ScriptedEngine([fenced(code)]) as engine:
        done = oci(
            "generate", f"{root / 'text.py'}:3", "--feedback", "no bit tricks", "--apply",
            engine=engine,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "no bit tricks" in engine.prompts[0]
    assert code in (root / "text.py").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fix", "absent.py::f"], "no file absent.py"),
        (["fix", "calc.py"], "Write FILE::QUALNAME"),
        (["fix", "calc.py::ad"], "Did you mean add?"),
        (["generate", "calc.py:99"], "no line 99"),
        (["generate", "notes.txt:1"], "not UTF-8"),
        (["fix", "calc.py::add", "--set", "refine.turn=1"], "no setting 'refine.turn'"),
        (["fix", "calc.py::add", "--set", "verify.timeout=soon"], "verify.timeout"),
        (["fix", "calc.py::add", "--set", "verify.interpreter=/none"], "verify.interpreter"),
        (["fix", "calc.py::add", "--set", "engine.url=ftp://x"], "engine.url"),
        (["fix", "calc.py::add", "--set", "engine.url=http://127.0.0.1:9"], "cannot be reached"),
        (["fix", "calc.py::add", "--set", "engine.model=gpt-9"], "no model called 'gpt-9'"),
        (["fix", "shop.py::Cart"], "Cart.total"),
        (["mend"], "invalid choice: 'mend'"),
        (["fix", "calc.py::add", "--aply"], "unrecognized arguments: --aply"),
        (["model", "remove", "qwen2.5-coder-32b"], "Nothing of qwen2.5-coder-32b"),
        (["serve", "--set", "a=b"], "no setting 'a'"),
    ],
)
def test_bad_input_is_told_and_is_status_2(tmp_path, words, said):
    root = calc(tmp_path)
    (root / "notes.txt").write_bytes(b"\xff\xfe\x00")
    (root / "shop.py").write_text("class Cart:\n    def total(self):\n        return 0\n")
    done = oci(*words, cwd=root)
    assert done.returncode == 2, done
    assert said in " ".join(done.stderr.split()), done.stderr
    assert "Traceback" not in done.stderr
    assert (root / "calc.py").read_text() == BUGGY


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_apply_to_a_read_only_file_is_refused_before_any_work(tmp_path):
    root = calc(tmp_path)
    (root / "calc.py").chmod(0o444)
    with ScriptedEngine([]) as engine:
        done = oci("fix", root / "calc.py::add", "--apply", engine=engine)
    assert done.returncode == 2
    assert "read-only" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_job_with_130_and_leaves_no_process(tmp_path, number):
    root = calc(tmp_path)
    loops = fenced("def add(a, b):\n    while True:\n        pass\n")
    with ScriptedEngine([loops]) as engine:
        process = subprocess.Popen(
            command("fix", root / "calc.py::add", "--apply", engine=engine),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            # Where the test run itself is in the background, SIGINT is ignored and so inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert process.stderr is not None
        for line in process.stderr:
            if "testing" in line:
                break
        time.sleep(1)
        children = psutil.Process(process.pid).children(recursive=True)
        assert children, "a kernel should be running"
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(30) == 130
        process.stderr.close()
    assert "Traceback" not in rest
    assert "as it was" in rest
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    assert (root / "calc.py").read_text() == BUGGY


def test_apply_keeps_what_was_written_meanwhile(tmp_path):
    root = calc(tmp_path)
    newer = BUGGY + "\n\nNEWER = True\n"
    with ScriptedEngine([Reply((fenced(RIGHT),), first_delay=4)]) as engine:
        process = subprocess.Popen(
            command("fix", root / "calc.py::add", "--apply", "--json", engine=engine),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        while not engine.requests:
            assert process.poll() is None
            time.sleep(0.05)
        (root / "calc.py").write_text(newer)
        out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert json.loads(out)["outcome"] == "stale"
    assert (root / "calc.py").read_text() == newer


def test_verbose_shows_the_tokens(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([fenced(RIGHT, prose="Watch me type.")]) as engine:
        done = oci("fix", root / "calc.py::add", "--verbose", engine=engine)
    assert "Watch me type." in done.stderr


@pytest.mark.parametrize(
    "where", [("--set", "engine.modle=x", "settings"), ("settings", "--set", "engine.modle=x")]
)
def test_settings_refuses_a_key_that_does_not_exist(where):
    done = oci(*where)
    assert done.returncode == 2
    assert "no setting 'engine.modle'" in done.stderr


def test_a_functions_name_may_not_be_empty(tmp_path):
    (tmp_path / "calc.py").write_text("def add(a, b):\n    return a\n")
    done = oci("fix", "calc.py::", cwd=tmp_path)
    assert done.returncode == 2
    assert "name is missing" in done.stderr


def test_settings_lists_every_key():
    from oci_lsp.settings import keys

    done = oci("settings")
    assert done.returncode == 0
    assert all(f"{name} = " in done.stdout for name in keys())


def test_version_and_help():
    assert oci("--version").stdout.startswith("oci-lsp ")
    done = oci("fix", "--help")
    assert done.returncode == 0
    assert "FILE::QUALNAME" in done.stdout


def test_a_comment_to_oci_is_the_users_word_here_too(tmp_path):
    code = RIGHT.replace("(a, b):\n", "(a, b):\n    # oci: name the sum\n")
    root = calc(tmp_path, code)
    better = "def add(a, b):\n    total = a + b\n    return total\n"
    with ScriptedEngine([fenced(better)]) as engine:
        done = oci("fix", root / "calc.py::add", "--apply", engine=engine)
        assert done.returncode == 0, done.stderr
        assert "The user says: name the sum" in engine.prompts[0]
    assert (root / "calc.py").read_text() == better


def test_with_json_an_early_error_is_an_object_too(tmp_path):
    done = oci("fix", "absent.py::f", "--json", cwd=tmp_path)
    assert done.returncode == 2
    result = json.loads(done.stdout)
    assert result["outcome"] == "error"
    assert "no file absent.py" in result["message"]


def test_the_command_line_outweighs_pyproject(tmp_path):
    root = calc(tmp_path)
    (root / "pyproject.toml").write_text("[tool.oci-lsp]\nverify.timeout = 'x'\nrefine.turns = 9\n")
    with ScriptedEngine([WRONG]) as engine:
        done = oci("fix", root / "calc.py::add", "--set", "refine.turns=1", engine=engine)
    assert done.returncode == 1
    assert "verify.timeout: 'x' is not a number" in done.stderr
    assert "within 1 turn (" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("pyproject", "folder", "said"),
    [
        ("tool = 3\n", None, "The test cannot be run"),
        ("", "/proc/nope", "/proc/nope cannot be used"),
    ],
)
def test_odd_surroundings_are_told_without_a_traceback(tmp_path, pyproject, folder, said):
    root = calc(tmp_path)
    (root / "pyproject.toml").write_text(pyproject)
    more = {"OCI_LSP_RUNTIME_DIR": folder} if folder else {}
    with ScriptedEngine([]) as engine:
        done = oci("fix", root / "calc.py::add", engine=engine, env=os.environ | more)
    assert done.returncode == 2
    # pytest's own complaint may be quoted; a fault of ours would name our command line.
    assert "oci_lsp/cli.py" not in done.stderr
    assert said in " ".join(done.stderr.split())
