"""The loop with the scripted engine and real kernels: outcomes, limits, what the model is told."""

from __future__ import annotations

import time

import pytest

from oci_lsp.refine.task import Attempted, Diagnostic, Stage, Token, unified_diff
from tests.projects import BUGGY, CALLS_NOTHING, RIGHT, TEST, calc, fenced, task, write
from tests.refine.solving import solve, wrong
from tests.scripted_engine import Reply, ScriptedEngine

SKIPPED = """

@pytest.mark.skip(reason='not today')
def test_skipped():
    assert add(1, 1) == 2
"""


async def test_wrong_then_right_and_the_second_prompt_holds_the_firsts_failure(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([wrong(0), fenced(RIGHT)]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine)
    assert result.outcome == "passed"
    assert [attempt.verdict for attempt in result.attempts] == ["failed", "passed"]
    assert [attempt.turn for attempt in result.attempts] == [1, 2]
    assert result.text == RIGHT
    assert "-    return a - b\n+    return a + b\n" in result.diff
    assert "add(2, 3) returned -1, expected 5" in engine.prompts[0]
    assert "returned 6" not in engine.prompts[0]
    assert "add(2, 3) returned 6, expected 5" in engine.prompts[1]
    assert "return a * b + 0" in engine.prompts[1]
    assert result.tests == ("test_calc.py::test_add",)
    assert result.model == "scripted"
    assert (root / "calc.py").read_text() == BUGGY


async def test_never_right_ends_at_the_turns_and_says_how_the_best_one_failed(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([wrong(0), wrong(1)]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine)
    assert (result.outcome, result.limit, result.text) == ("failed", "turns", None)
    assert result.diff == ""
    assert "2 attempts" in result.message
    assert "add(2, 3) returned 6, expected 5" in result.message


async def test_the_first_that_passes_wins_and_the_rest_are_cancelled(tmp_path):
    root = calc(tmp_path)
    slow = fenced("def add(a, b):\n    return " + " + ".join(["0"] * 400) + "\n")
    right = fenced(RIGHT, prose="This one takes a little longer to write:")
    script = Reply((wrong(0), right, slow), delay=0.02)
    with ScriptedEngine([script]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine, refine={"candidates": 3})
        engine.wait("disconnected")
    assert [attempt.verdict for attempt in result.attempts] == ["failed", "passed"]
    assert [attempt.turn for attempt in result.attempts] == [1, 1]


async def test_equal_candidates_run_once(tmp_path):
    root = calc(tmp_path)
    same = [wrong(0), wrong(0), fenced("def add(a, b):\n    return a * b + 0\n", prose="Else:")]
    with ScriptedEngine([same, same]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine, refine={"candidates": 3})
    assert result.outcome == "failed"
    assert len(result.attempts) == 1
    assert "(1 attempt, 5 repeats not run again)" in result.message


async def test_prose_without_code_and_the_unchanged_function_are_told_to_the_model(tmp_path):
    root = calc(tmp_path)
    replies = ["I would rather not.", fenced(BUGGY), fenced(RIGHT)]
    with ScriptedEngine(replies) as engine:
        result = await solve(task(root, "calc.py", "add"), engine, refine={"turns": 3})
    assert [a.verdict for a in result.attempts] == ["rejected", "rejected", "passed"]
    assert "no code block" in engine.prompts[1]
    assert "a - b" in engine.prompts[0]
    assert "a - b" not in engine.prompts[2]


async def test_a_model_that_only_copies_is_asked_afresh_without_the_body(tmp_path):
    code = 'def add(a, b):\n    """Adds."""\n    return a - b\n'
    root = calc(tmp_path, code)
    with ScriptedEngine([fenced(code), fenced(RIGHT)]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine)
    assert [a.verdict for a in result.attempts] == ["rejected", "passed"]
    assert result.text == 'def add(a, b):\n    """Adds."""\n    return a + b\n'
    roles = [m["role"] for m in engine.requests[1].payload["messages"]]
    assert roles == ["system", "user"]
    assert "a - b" not in engine.prompts[1]
    assert 'def add(a, b):\n    """Adds."""\n    ...' in engine.prompts[1]
    assert "assert add(2, 3) == 5" in engine.prompts[1]
    assert [m.role for m in result.messages] == ["system", "user", "assistant", "user", "assistant"]


@pytest.mark.parametrize(
    ("second", "stuck"),
    [([wrong(0), wrong(1), wrong(1)], True), ([wrong(0), wrong(3), wrong(4)], False)],
    ids=["repeats", "mostly new"],
)
async def test_a_model_that_repeats_what_failed_is_asked_afresh(tmp_path, second, stuck):
    root = calc(tmp_path)
    first = [wrong(0), wrong(1), wrong(2)]
    with ScriptedEngine([first, second, fenced(RIGHT)]) as engine:
        result = await solve(
            task(root, "calc.py", "add"), engine, refine={"candidates": 3, "turns": 3}
        )
    assert result.outcome == "passed"
    assert "return a * b" in engine.prompts[1]
    roles = [m["role"] for m in engine.requests[2].payload["messages"]]
    assert (roles == ["system", "user"]) is stuck
    assert ("return a * b" in engine.prompts[2]) is not stuck
    assert "assert add(2, 3) == 5" in engine.prompts[2]


async def test_after_the_last_turn_the_conversation_ends_with_what_failed(tmp_path):
    root = calc(tmp_path)
    replies = [wrong(0), wrong(1), wrong(2)]
    with ScriptedEngine([replies, replies, [fenced(RIGHT)] * 3]) as engine:
        result = await solve(
            task(root, "calc.py", "add"), engine, refine={"candidates": 3, "turns": 2}
        )
    assert result.outcome == "failed"
    assert "expected 5" in result.messages[-1].content
    assert "return a * b" in result.messages[-2].content


async def test_a_green_test_ends_the_job_before_the_model_is_asked(tmp_path):
    root = calc(tmp_path, RIGHT)
    with ScriptedEngine([]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine)
    assert result.outcome == "already_passing"
    assert engine.requests == []


async def test_a_diagnostic_keeps_the_job_going_on_green_and_is_not_claimed_to_be_checked(tmp_path):
    root = calc(tmp_path, RIGHT)
    better = "def add(a: int, b: int) -> int:\n    return b + a\n"
    job = task(
        root,
        "calc.py",
        "add",
        diagnostics=(Diagnostic(1, "operands in the wrong order", "linter"),),
    )
    with ScriptedEngine([fenced(RIGHT), fenced(better)]) as engine:
        result = await solve(job, engine)
    assert result.outcome == "passed"
    assert [a.verdict for a in result.attempts] == ["rejected", "passed"]
    assert "operands in the wrong order" in engine.prompts[0]
    assert "`return a + b`" in engine.prompts[0]
    assert "diagnostic itself was not checked" in result.message


async def test_no_test_says_how_to_name_one(tmp_path):
    root = write(tmp_path, {"calc.py": BUGGY})
    with ScriptedEngine([]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine)
    assert result.outcome == "no_test"
    assert "--test" in result.message
    assert engine.requests == []


UNIMPORTABLE = f"import nowhere_to_be_found\n{TEST}"


@pytest.mark.parametrize(
    ("test", "named", "said"),
    [
        (UNIMPORTABLE, (), "nowhere_to_be_found"),
        (TEST, ("test_calc.py::test_absent",), "test_absent"),
        (TEST, ("test_absent.py::test_add",), "test_absent.py"),
        (CALLS_NOTHING, (), "without ever calling add"),
    ],
    ids=["import", "no such test", "no such file", "never calls it"],
)
async def test_a_test_that_cannot_judge_is_broken_test(tmp_path, test, named, said):
    root = calc(tmp_path)
    (root / "test_calc.py").write_text(test)
    with ScriptedEngine([]) as engine:
        result = await solve(task(root, "calc.py", "add", tests=named), engine)
    assert result.outcome == "broken_test", result.message
    assert said in result.message
    assert engine.requests == []


async def test_a_syntax_error_elsewhere_in_the_file_is_told(tmp_path):
    root = calc(tmp_path, BUGGY + "\n\ndef other(:\n    pass\n")
    with ScriptedEngine([]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine)
    assert result.outcome == "error"
    assert "syntax error in line 5" in result.message


async def test_a_syntax_error_in_the_function_itself_is_repaired(tmp_path):
    root = calc(tmp_path, "def add(a, b):\n    return a +\n")
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine)
    assert result.outcome == "passed", result.message
    assert result.text == RIGHT


async def test_other_tests_that_were_green_must_stay_green(tmp_path):
    root = calc(tmp_path)
    other = "from calc import add\n\n\ndef test_zero():\n    assert add(0, 0) == 0\n"
    red = "from calc import add\n\n\ndef test_red():\n    assert add(1, 1) == 3\n"
    write(root, {"test_other.py": other, "test_red.py": red})
    greedy = fenced("def add(a, b):\n    return 5\n")
    job = task(root, "calc.py", "add", tests=("test_calc.py::test_add",))
    with ScriptedEngine([greedy, fenced(RIGHT)]) as engine:
        result = await solve(job, engine)
    assert [a.verdict for a in result.attempts] == ["regressed", "passed"]
    assert result.regressions == ("test_other.py::test_zero",)
    assert "test_zero" in engine.prompts[1]


async def test_a_test_that_vanishes_is_a_regression_by_name(tmp_path):
    root = calc(tmp_path)
    many = (
        "import pytest\nfrom calc import add\n\n\n"
        "@pytest.mark.parametrize('n', range(add(2, 0)))\n"
        "def test_many(n):\n    assert add(n, 0) == n\n"
    )
    write(root, {"test_many.py": many})
    job = task(root, "calc.py", "add", tests=("test_calc.py::test_add",))
    empties = fenced("def add(a, b):\n    return a + b if b else 0\n")
    with ScriptedEngine([empties, fenced(RIGHT)]) as engine:
        result = await solve(job, engine)
    assert [a.verdict for a in result.attempts] == ["regressed", "passed"]
    assert "test_many" in result.attempts[0].summary
    assert "no longer collected" in engine.prompts[1]


async def test_a_skipped_test_is_told_before_the_model_is_asked(tmp_path):
    root = calc(tmp_path)
    marked = TEST.replace("def test_add", "@pytest.mark.skip(reason='not today')\ndef test_add")
    (root / "test_calc.py").write_text(f"import pytest\n{marked}")
    with ScriptedEngine([]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine)
    assert result.outcome == "broken_test"
    assert "not today" in result.message
    assert "Take the mark away" in result.message
    assert engine.requests == []


async def test_a_skipped_test_that_was_only_found_is_left_out_with_a_word(tmp_path):
    root = calc(tmp_path)
    more = (
        "\n\n@pytest.mark.xfail(reason='not yet')\ndef test_xfailed():\n    assert add(1, 1) == 3\n"
        "\n\n@pytest.mark.parametrize('a', [1, pytest.param(2, marks=pytest.mark.skip)])\n"
        "def test_some(a):\n    assert add(a, 1) == a + 1\n"
    )
    (root / "test_calc.py").write_text(f"import pytest\n{TEST}{SKIPPED}{more}")
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine)
    assert result.outcome == "passed"
    assert result.tests == ("test_calc.py::test_add", "test_calc.py::test_some[1]")
    assert "Left out: " in result.message
    assert "test_skipped (skipped: not today)" in result.message
    assert "test_xfailed (expected to fail)" in result.message
    assert "test_some[2] (skipped" in result.message


async def test_a_skipped_test_that_the_user_named_is_not_left_out(tmp_path):
    root = calc(tmp_path)
    (root / "test_calc.py").write_text(f"import pytest\n{TEST}{SKIPPED}")
    named = ("test_calc.py::test_add", "test_calc.py::test_skipped")
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        result = await solve(task(root, "calc.py", "add", tests=named), engine, refine={"turns": 1})
    assert result.outcome == "failed"
    assert result.tests == named


async def test_examples_are_joined_by_the_tests_that_reference_the_function(tmp_path):
    documented = (
        'def add(a, b):\n    """Adds.\n\n    >>> add(2, 0)\n    2\n    """\n    return a - b\n'
    )
    root = calc(tmp_path, documented)
    with ScriptedEngine([wrong(0), fenced(RIGHT)]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine)
    assert result.outcome == "passed"
    assert result.tests == ("test_calc.py::test_add", "doctest in line 4")
    assert engine.prompts[0].index("add(2, 0)") < engine.prompts[0].index("def test_add")


async def test_a_limit_leaves_a_conversation_that_can_go_on(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([wrong(0)]) as engine:
        first = await solve(task(root, "calc.py", "add"), engine, refine={"attempts": 1})
    assert first.limit == "attempts"
    job = task(root, "calc.py", "add", feedback=("it must add",), conversation=first.messages)
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        second = await solve(job, engine)
    assert second.outcome == "passed"
    messages = engine.requests[0].payload["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"]
    assert "returned 6" in messages[-1]["content"]
    assert "it must add" in messages[-1]["content"]


def test_a_diff_is_one_that_patch_takes_whatever_the_line_ends():
    old = "A = 1\n\x0c\ndef f():\n    return '\u2028'\r\n"
    assert unified_diff("x.py", old, old.replace("1", "2")).splitlines()[2] == "@@ -1,4 +1,4 @@"
    assert "No newline" not in unified_diff("x.py", old, old.replace("1", "2"))


async def test_limits_end_a_job_by_name(tmp_path):
    root = calc(tmp_path)
    many = [[wrong(n) for n in range(4)], [wrong(n) for n in range(4, 8)]]
    with ScriptedEngine(many) as engine:
        result = await solve(
            task(root, "calc.py", "add"), engine, refine={"candidates": 4, "attempts": 3}
        )
    assert (result.outcome, result.limit, len(result.attempts)) == ("failed", "attempts", 3)
    with ScriptedEngine([wrong(0), wrong(1)]) as engine:
        result = await solve(task(root, "calc.py", "add"), engine, refine={"tokens": 16})
    assert (result.outcome, result.limit) == ("failed", "tokens")
    with ScriptedEngine([Reply((wrong(0),), delay=5)]) as engine:
        started = time.monotonic()
        result = await solve(task(root, "calc.py", "add"), engine, refine={"seconds": 3})
        engine.wait("disconnected")
    assert (result.outcome, result.limit) == ("failed", "seconds")
    assert time.monotonic() - started < 10


async def test_generate_from_a_comment_with_an_example(tmp_path):
    comment = "# function: slug(text) -> words joined by dashes\n# >>> slug('a b')\n# 'a-b'\n"
    root = write(tmp_path, {"text.py": comment})
    code = "def slug(text):\n    return '-'.join(text.split())\n"
    bad = "def slug(text):\n    return text\n"
    with ScriptedEngine([fenced(bad), fenced(code)]) as engine:
        result = await solve(task(root, "text.py", 3, "generate"), engine)
    assert [a.verdict for a in result.attempts] == ["failed", "passed"], result.message
    assert result.text is not None
    assert result.text.startswith(comment)
    assert code in result.text
    assert "words joined by dashes" in engine.prompts[0]
    assert "'a b'" in engine.prompts[1] or "'a-b'" in engine.prompts[1]


async def test_feedback_continues_the_conversation(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        first = await solve(task(root, "calc.py", "add"), engine)
    (root / "calc.py").write_text(first.text or "")
    asked = "def add(a, b):\n    return sum((a, b))\n"
    job = task(root, "calc.py", "add", feedback=("use sum()",), conversation=first.messages)
    with ScriptedEngine([fenced(asked)]) as engine:
        second = await solve(job, engine)
    assert second.outcome == "passed"
    assert second.text == asked
    messages = engine.requests[0].payload["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"]
    assert "use sum()" in messages[-1]["content"]
    assert "return a + b" in messages[2]["content"]
    assert [m.author for m in second.messages][-2:] == ["user", "model"]


async def test_events_tell_what_goes_on(tmp_path):
    root = calc(tmp_path)
    seen: list[object] = []
    with ScriptedEngine([wrong(0), fenced(RIGHT)]) as engine:
        await solve(task(root, "calc.py", "add"), engine, seen.append)
    stages = [str(event) for event in seen if isinstance(event, Stage)]
    assert stages[0] == "running the test on today's code"
    assert "attempt 1/2: testing" in stages
    assert "attempt 2/2: generating" in stages
    verdicts = [event.attempt.verdict for event in seen if isinstance(event, Attempted)]
    assert verdicts == ["failed", "passed"]
    assert "".join(e.text for e in seen if isinstance(e, Token)) == wrong(0) + fenced(RIGHT)


async def test_unsaved_buffers_are_what_is_tested(tmp_path):
    root = calc(tmp_path)
    unsaved = {root / "test_calc.py": TEST.replace("== 5", "== 6")}
    job = task(root, "calc.py", "add", buffers=unsaved)
    right = fenced("def add(a, b):\n    return a * b\n")
    with ScriptedEngine([right]) as engine:
        result = await solve(job, engine)
    assert result.outcome == "passed"
    assert "== 6" in engine.prompts[0]


async def test_less_than_the_full_isolation_is_said_once(tmp_path, monkeypatch):
    """A machine without bubblewrap: the progress tells what is done instead, the model does not."""
    monkeypatch.setenv("OCI_LSP_BWRAP", str(tmp_path / "none"))
    root = calc(tmp_path / "project")
    seen: list[str] = []

    def observe(event):
        if isinstance(event, Stage):
            seen.append(str(event))

    with ScriptedEngine([wrong(0), fenced(RIGHT)]) as engine:
        result = await solve(
            task(root, "calc.py", "add"), engine, observe, verify={"isolation": "reduced"}
        )
    assert result.outcome == "passed"
    (said,) = [words for words in seen if words.startswith("isolation")]
    assert "reduced isolation" in said and "no such program" in said
    assert seen.index(said) == 1
