"""`oci-lsp fix --failing` as users run it: a process, real kernels, the scripted engine."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest

from tests.projects import fenced, write
from tests.scripted_engine import Reply, ScriptedEngine
from tests.terminal.test_cli import SECONDS, command, oci

FILES = {
    "shop/__init__.py": "",
    "shop/cart.py": "def total(prices):\n    return sum(prices) + 1\n",
    "shop/text.py": "def slug(text):\n    return text.upper()\n",
    "tests/test_shop.py": "from shop.cart import total\nfrom shop.text import slug\n\n\n"
    "def test_total():\n    assert total([1, 2]) == 3\n\n\n"
    "def test_slug():\n    assert slug('A B') == 'a-b'\n",
}
TOTAL = Reply((fenced("def total(prices):\n    return sum(prices)\n"),), when="sum(prices) + 1")
RIGHT = "def slug(text):\n    return text.lower().replace(' ', '-')\n"
SLUG = Reply((fenced(RIGHT),), when="text.upper()")
NO_SLUG = [
    Reply((fenced("def slug(text):\n    return text\n"),), when="text.upper()"),
    Reply((fenced("def slug(text):\n    return text.lower()\n"),), when="text.upper()"),
]


def texts(root):
    return {name: (root / name).read_text() for name in FILES}


def test_all_that_fails_is_one_diff_that_git_takes(tmp_path):
    root = write(tmp_path, FILES)
    with ScriptedEngine([TOTAL, SLUG]) as engine:
        done = oci("fix", "--failing", engine=engine, cwd=root / "tests")
    assert done.returncode == 0, done.stderr
    assert texts(root) == FILES
    assert "total: 1 failing test, tests/test_shop.py::test_total" in done.stderr
    assert "2 functions repaired (total, slug); 2 tests passed." in " ".join(done.stderr.split())
    subprocess.run(["git", "apply"], input=done.stdout, text=True, cwd=root, check=True)
    assert (root / "shop/text.py").read_text() == RIGHT
    assert oci("fix", "--failing", cwd=root).returncode == 0


def test_apply_writes_what_passed_and_the_status_tells_that_something_still_fails(tmp_path):
    root = write(tmp_path, FILES)
    (root / "shop/cart.py").write_bytes(b"\xef\xbb\xbf" + FILES["shop/cart.py"].encode())
    with ScriptedEngine([TOTAL, *NO_SLUG]) as engine:
        done = oci("fix", "--failing", "--apply", "--json", engine=engine, cwd=root)
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    assert result["outcome"] == "failed"
    assert [one["outcome"] for one in result["functions"]] == ["passed", "failed"]
    assert result["functions"][0]["path"] == "shop/cart.py"
    assert [one["test"] for one in result["failing"]] == ["tests/test_shop.py::test_slug"]
    assert result["message"].endswith("Changed: cart.py.")
    written = (root / "shop/cart.py").read_bytes()
    assert written == b"\xef\xbb\xbfdef total(prices):\n    return sum(prices)\n"
    assert (root / "shop/text.py").read_text() == FILES["shop/text.py"]


def test_a_path_narrows_it_down(tmp_path):
    root = write(tmp_path, FILES)
    with ScriptedEngine([SLUG]) as engine:
        done = oci("fix", "--failing", "shop/text.py", "--apply", engine=engine, cwd=root)
    assert done.returncode == 0, done.stderr
    assert "Failing elsewhere: tests/test_shop.py::test_total" in " ".join(done.stderr.split())
    assert texts(root) == FILES | {"shop/text.py": RIGHT}


def test_tests_that_are_named_themselves_count_though_no_function_in_them_is_changed(tmp_path):
    root = write(tmp_path, FILES)
    done = oci("fix", "--failing", "tests", cwd=root)
    assert done.returncode == 1
    assert "Still failing: tests/test_shop.py::test_total" in " ".join(done.stderr.split())


def test_nothing_is_written_where_a_file_changed_meanwhile(tmp_path):
    root = write(tmp_path, FILES)
    newer = FILES["shop/text.py"] + "\n\nNEWER = True\n"
    late = Reply(SLUG.texts, first_delay=4, when=SLUG.when)
    with ScriptedEngine([TOTAL, late]) as engine:
        process = subprocess.Popen(
            command("fix", "--failing", "--apply", "--json", root, engine=engine),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        while len(engine.requests) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        (root / "shop/text.py").write_text(newer)
        out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    result = json.loads(out)
    assert result["outcome"] == "stale"
    assert "text.py changed meanwhile. Nothing was written" in result["message"]
    assert "+    return sum(prices)\n" in result["diff"]
    assert texts(root) == FILES | {"shop/text.py": newer}


def test_a_signal_shows_what_was_repaired_by_then_and_writes_nothing(tmp_path):
    root = write(tmp_path, FILES)
    with ScriptedEngine([TOTAL, Reply(SLUG.texts, first_delay=60)]) as engine:
        process = subprocess.Popen(
            command("fix", "--failing", "--apply", root, engine=engine),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while len(engine.requests) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "+    return sum(prices)\n" in out
    assert "as they were" in err
    assert "Traceback" not in err
    assert texts(root) == FILES


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fix", "--failing", "absent"], "There is no file or folder absent"),
        (["fix", "--failing", "shop/cart.py::total"], "name a file or a folder"),
        (["fix", "--failing", "--test", "x.py"], "--failing finds the tests itself"),
        (["fix"], "What to fix is missing"),
        (["fix", "--failing", "--set", "verify.interpreter=/none"], "verify.interpreter"),
    ],
)
def test_bad_input_is_told_and_is_status_2(tmp_path, words, said):
    root = write(tmp_path, FILES)
    done = oci(*words, cwd=root)
    assert done.returncode == 2, done
    assert said in " ".join(done.stderr.split()), done.stderr
    assert "Traceback" not in done.stderr
