"""Long work shows itself: bars on a terminal, a plain line now and then elsewhere, tokens live."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import time

from oci_lsp.refine.task import Stage, Token
from oci_lsp.terminal.show import Progress
from oci_lsp.terminal.working import Working
from tests.projects import RIGHT, calc, fenced
from tests.scripted_engine import Reply, ScriptedEngine
from tests.terminal.test_cli import SECONDS, WRONG, command


def on_a_terminal(words, *, env=os.environ, **more) -> str:
    """What a command writes to a terminal of 100 columns, without its colours and moves."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**env, "COLUMNS": "100", "TERM": "xterm-256color"}, **more,
    )  # fmt: skip
    os.close(theirs)
    written = b""
    # Linux: EIO is the end of a terminal whose last process has gone.
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65536):
            written += piece
    os.close(ours)
    assert process.wait(SECONDS) == 0, written
    text = written.decode().replace("\r", "\n")
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_off_a_terminal_each_step_is_told_and_then_told_again(capsys):
    with Working(every=0.3) as working:
        working.step("Downloading: part 1 of 9", 0.1)
        working.step("Downloading: part 2 of 9", 0.2)
        working.step("Downloading: part 3 of 9", 0.3)
        time.sleep(0.5)
        working.step("Loading")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Downloading: part 1 of 9"
    assert re.fullmatch(r"Downloading: part 3 of 9 \(30%, \d+ s\)", lines[1])
    assert lines[2:] == ["Loading"]


def test_nothing_is_told_while_a_question_is_asked(capsys):
    with Working(every=0.1) as working:
        working.step("Looking")
        working.pause()
        time.sleep(0.3)
        assert capsys.readouterr().err == "Looking\n"
        working.resume()
        time.sleep(0.3)
    assert "Looking (" in capsys.readouterr().err


def test_no_thread_is_left(capsys):
    import threading

    with Working():
        assert any("still" in thread.name for thread in threading.enumerate())
    assert not any("still" in thread.name for thread in threading.enumerate())


def test_on_a_terminal_the_attempts_are_a_bar(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([WRONG, Reply((fenced(RIGHT),), first_delay=1)]) as engine:
        shown = on_a_terminal(command("fix", root / "calc.py::add", engine=engine))
    assert re.search(r"attempt 2/2: generating +\S+.* 50% \d:\d\d", shown), shown
    assert "attempt 1 (turn 1" in shown
    # Where it ends depends on the model: nothing is foretold.
    assert "left" not in shown


def test_the_greedy_candidate_is_live_and_the_others_come_when_they_end(tmp_path):
    root = calc(tmp_path)
    texts = tuple(
        fenced(f"def add(a, b):\n    return a * b + {index}\n", prose=f"I am number {index}.")
        for index in range(3)
    )
    with ScriptedEngine([Reply((texts[0] + "slow " * 20, *texts[1:]), delay=0.02)]) as engine:
        done = subprocess.run(
            [
                *command("fix", root / "calc.py::add", "--verbose"),
                *("--set", f"engine.url={engine.url}", "--set", "refine.candidates=3"),
                *("--set", "refine.turns=1"),
            ],
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    shown = done.stderr
    at = [shown.index(f"turn 1, candidate {number}:") for number in (1, 2, 3)]
    assert at[0] < min(at[1:])
    # Nothing breaks into the live one, whichever ended before.
    live = shown[at[0] : min(at[1:])]
    assert texts[0].strip() in live
    assert "attempt" not in live
    assert all(text.strip() in shown for text in texts)
    assert shown.count("attempt 3 ") == 1


def test_a_live_candidate_that_is_cancelled_ends_its_line(capsys):
    with Progress(verbose=True) as show:
        show(Stage("generating", 1, 4, 1))
        show(Token(0, "def add(a"))
        show(Token(1, "def sub(a"))
        show(Token(1, "", last=True))
        show.note("noted")
    lines = capsys.readouterr().err.splitlines()
    at = lines.index("turn 1, candidate 1:")
    assert lines[at + 1] == "def add(a"
    assert lines[at + 2 :] == ["turn 1, candidate 2:", "def sub(a", "noted"]


def test_what_a_model_writes_moves_no_cursor(capsys):
    with Progress(verbose=True) as show:
        show(Token(0, "\x1b[2J[bold]x[/]\n", last=True))
        show(Token(1, "\x1b[2J[bold]y[/]", last=True))
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert "[bold]x[/]" in shown
    assert "[bold]y[/]" in shown
