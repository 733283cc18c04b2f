"""Fixing all that fails, with the scripted engine and real kernels."""

from __future__ import annotations

import asyncio

import pytest

from oci_lsp.refine.session import Session
from oci_lsp.refine.suite import SuiteResult, fix_failing
from oci_lsp.refine.task import Attempted, Event, Stage, Suspected
from tests.projects import calc, fenced, settings, write
from tests.scripted_engine import Reply, ScriptedEngine

# Callers, and what is wrong at the bottom: no test names `rate`.
CART = """\
from pricing import discounted


def total(prices):
    return sum(map(discounted, prices))
"""
PRICING = """\
from rates import rate


def discounted(price):
    return price - price * rate(price) // 100
"""
RATES = "def rate(price):\n    if price >= 100:\n        return 1\n    return 0\n"
CART_TESTS = """\
from cart import total


def test_nothing():
    assert total([]) == 0


def test_one():
    assert total([10]) == 10


def test_discount():
    assert total([200, 10]) == 190
"""
RATE = "def rate(price):\n    if price >= 100:\n        return 10\n    return 0\n"


def reply(code: str, *, to: str = "") -> Reply:
    """A reply for the prompt that shows this line of the function as it is."""
    return Reply((fenced(code),), when=to)


async def fix(root, engine, observe=lambda event: None, **more) -> SuiteResult:
    sections = more.pop("sections", {})
    async with Session(root, settings(engine.url, **sections)) as session:
        return await fix_failing(session, observe, **more)


def tried(result: SuiteResult) -> list[tuple[str, str]]:
    return [(one.function, one.result.outcome) for one in result.repairs]


def three_modules(root):
    return write(
        root,
        {"cart.py": CART, "pricing.py": PRICING, "rates.py": RATES, "test_cart.py": CART_TESTS},
    )


async def test_the_culprit_that_no_test_names_is_found_by_what_the_failing_test_entered(tmp_path):
    root = three_modules(tmp_path)
    events: list[Event] = []
    with ScriptedEngine([reply(RATE, to="return 1\n")]) as engine:
        result = await fix(root, engine, events.append)
    assert result.whole.outcome == "passed", result.whole.message
    assert result.whole.message == "1 function repaired (rate); 3 tests passed."
    assert tried(result) == [("rate", "passed")]
    (change,) = result.changes
    assert (change.path, change.old, change.new) == (root / "rates.py", RATES, RATE)
    assert "--- a/rates.py\n+++ b/rates.py\n" in result.whole.diff
    assert (root / "rates.py").read_text() == RATES
    assert [event for event in events if isinstance(event, Suspected)] == [
        Suspected("rate", ("test_cart.py::test_discount",))
    ]
    stages = [str(event) for event in events if isinstance(event, Stage)]
    assert stages[0] == "running the test suite"
    assert "rate: attempt 1/2: testing" in stages
    assert len([event for event in events if isinstance(event, Attempted)]) == 1


async def test_where_the_first_suspect_cannot_help_the_next_one_is_tried(tmp_path):
    # Equal in coverage: the one that was called last comes first, and is right as it is.
    root = write(
        tmp_path,
        {
            "shop.py": "def total(a, b):\n    return plus(a, b) + 1\n\n\n"
            "def plus(a, b):\n    return a + b\n",
            "test_shop.py": "import shop\n\n\ndef test_it():\n    assert shop.total(2, 3) == 5\n",
        },
    )
    script = [
        reply("def plus(a, b):\n    return b + a\n"),
        reply("def plus(a, b):\n    return -a\n"),
    ]
    script.append(reply("def total(a, b):\n    return plus(a, b)\n"))
    with ScriptedEngine(script) as engine:
        result = await fix(root, engine)
    assert tried(result) == [("plus", "failed"), ("total", "passed")]
    assert result.whole.outcome == "passed"


TWO = "def add(a, b):\n    return a - b\n\n\ndef mul(a, b):\n    return a + b\n"
TWO_RIGHT = "def add(a, b):\n    return a + b\n\n\ndef mul(a, b):\n    return a * b\n"
TWO_TESTS = """\
import pytest
from calc import add, mul


@pytest.mark.parametrize("n", [3, 4])
def test_add(n):
    assert add(2, n) == 2 + n


def test_mul():
    assert mul(2, 3) == 6
"""


async def test_two_functions_of_one_file_make_one_change(tmp_path):
    root = write(tmp_path, {"calc.py": TWO.replace("\n", "\r\n"), "test_calc.py": TWO_TESTS})
    script = [
        reply("def add(a, b):\n    return a + b\n", to="return a - b"),
        reply("def mul(a, b):\n    return a * b\n", to="test_mul"),
    ]
    with ScriptedEngine(script) as engine:
        result = await fix(root, engine)
    assert result.whole.outcome == "passed", result.whole.message
    assert tried(result) == [("add", "passed"), ("mul", "passed")]
    assert result.repairs[0].task.tests == (
        "test_calc.py::test_add[3]",
        "test_calc.py::test_add[4]",
    )
    (change,) = result.changes
    assert change.new == TWO_RIGHT.replace("\n", "\r\n")
    assert result.whole.diff.count("--- a/calc.py") == 1


async def test_a_repair_that_breaks_what_an_earlier_one_mended_is_refused(tmp_path):
    code = (
        "def total(items):\n    return sum(map(size, items)) + 1\n\n\n"
        "def size(item):\n    return item\n"
    )
    tests = (
        "import pytest\nfrom shop import size, total\n\n\n"
        "def test_total():\n    assert total([1, 2]) == 3\n\n\n"
        "def test_size():\n    assert size(-5) == 5\n\n\n"
        "@pytest.mark.parametrize('n', [1, 2, 3, 4])\ndef test_sign(n):\n    assert size(n) > 0\n"
    )
    root = write(tmp_path, {"shop.py": code, "test_shop.py": tests})
    script = [
        reply("def total(items):\n    return sum(map(size, items))\n"),
        reply("def size(item):\n    return 5\n"),
        reply("def size(item):\n    return abs(item)\n"),
    ]
    with ScriptedEngine(script) as engine:
        result = await fix(root, engine)
        assert "test_total" in engine.prompts[2]
    assert result.whole.outcome == "passed", result.whole.message
    assert tried(result) == [("total", "passed"), ("size", "passed")]
    verdicts = [attempt.verdict for attempt in result.repairs[1].result.attempts]
    assert verdicts == ["regressed", "passed"]
    assert result.repairs[1].result.regressions == ("test_shop.py::test_total",)
    assert result.changes[0].new.endswith("return abs(item)\n")


async def test_a_test_that_another_function_fails_does_not_stand_in_the_way(tmp_path):
    # Both tests blame `norm` first; only one of them rightly.
    code = (
        "def norm(x):\n    return x\n\n\ndef one(x):\n    return norm(x)\n\n\n"
        "def two(x):\n    return norm(x) + 1\n"
    )
    tests = (
        "from shop import one, two\n\n\ndef test_one():\n    assert one(-2) == 2\n\n\n"
        "def test_two():\n    assert two(-3) == 3\n"
    )
    root = write(tmp_path, {"shop.py": code, "test_shop.py": tests})
    right = reply("def norm(x):\n    return abs(x)\n")
    more = reply("def norm(x):\n    return abs(x) + 0\n")
    script = [right, more, right, reply("def two(x):\n    return norm(x)\n", to="+ 1")]
    with ScriptedEngine(script) as engine:
        result = await fix(root, engine)
    assert tried(result) == [("norm", "failed"), ("norm", "passed"), ("two", "passed")]
    assert result.repairs[1].task.tests == ("test_shop.py::test_one",)
    assert result.whole.outcome == "passed", result.whole.message


async def test_a_test_that_hangs_hides_no_other_for_long(tmp_path):
    code = "def first(n):\n    while n: pass\n    return 0\n\n\ndef second(n):\n    return n\n"
    tests = (
        "from shop import first, second\n\n\ndef test_first():\n    assert first(2) == 0\n\n\n"
        "def test_second():\n    assert second(2) == 4\n"
    )
    root = write(tmp_path, {"shop.py": code, "test_shop.py": tests})
    script = [
        reply("def first(n):\n    return 0\n"),
        reply("def second(n):\n    return n * 2\n"),
    ]
    brief = {"refine": {"suiteSeconds": 4}, "verify": {"timeout": 4}}
    with ScriptedEngine(script) as engine:
        result = await fix(root, engine, sections=brief)
    assert tried(result) == [("first", "passed"), ("second", "passed")]
    assert result.whole.outcome == "passed", result.whole.message


async def test_a_function_that_fails_at_import_is_mended_through_its_test_file(tmp_path):
    code = "def size(n):\n    return 1 / n\n\n\nSIZE = size(0)\n"
    tests = "import shop\n\n\ndef test_size():\n    assert shop.SIZE == 0\n"
    root = write(tmp_path, {"shop.py": code, "test_shop.py": tests})
    with ScriptedEngine([reply("def size(n):\n    return n\n")]) as engine:
        result = await fix(root, engine)
    assert tried(result) == [("size", "passed")]
    assert result.whole.outcome == "passed", result.whole.message


async def test_what_only_helps_to_test_is_never_changed(tmp_path):
    tests = {
        "tests/helpers.py": "def check(x):\n    assert x == 5\n",
        "tests/conftest.py": "import pytest\n\n\n@pytest.fixture\ndef five():\n    return 4\n",
        "tests/test_it.py": "from helpers import check\n\n\ndef test_it(five):\n    check(five)\n",
    }
    root = write(tmp_path, {"calc.py": TWO, **tests})
    with ScriptedEngine([]) as engine:
        result = await fix(root, engine)
        assert engine.requests == []
    assert result.whole.outcome == "failed"
    assert (
        "Still failing: tests/test_it.py::test_it (it entered no function" in result.whole.message
    )
    assert [test.id for test in result.failing] == ["tests/test_it.py::test_it"]


async def test_what_cannot_be_mended_stays_and_what_was_mended_counts(tmp_path):
    root = write(tmp_path, {"calc.py": TWO, "test_calc.py": TWO_TESTS})
    script = [
        reply("def add(a, b):\n    return a + b\n"),
        reply("def mul(a, b):\n    return a\n"),
        reply("def mul(a, b):\n    return b\n"),
    ]
    with ScriptedEngine(script) as engine:
        result = await fix(root, engine)
    assert result.whole.outcome == "failed"
    message = "1 function repaired (add). Still failing: test_calc.py::test_mul."
    assert result.whole.message == message
    assert result.changes[0].new == TWO.replace("a - b", "a + b")
    tree = result.as_json(root)
    assert [one["outcome"] for one in tree["functions"]] == ["passed", "failed"]
    assert [one["test"] for one in tree["failing"]] == ["test_calc.py::test_mul"]


async def test_only_functions_in_the_scope_are_touched_and_unsaved_texts_count(tmp_path):
    root = three_modules(tmp_path)
    write(root, {"calc.py": TWO_RIGHT, "test_calc.py": TWO_TESTS})
    unsaved = {root / "calc.py": TWO_RIGHT.replace("a * b", "a / b")}
    with ScriptedEngine([reply("def mul(a, b):\n    return a * b\n")]) as engine:
        result = await fix(root, engine, scope=root / "calc.py", buffers=unsaved)
    assert result.whole.outcome == "passed", result.whole.message
    assert "Failing elsewhere: test_cart.py::test_discount." in result.whole.message
    (change,) = result.changes
    assert (change.old, change.new) == (unsaved[root / "calc.py"], TWO_RIGHT)


@pytest.mark.parametrize(
    ("files", "outcome", "said"),
    [
        ({"calc.py": TWO_RIGHT, "test_calc.py": TWO_TESTS}, "already_passing", "3 tests passed"),
        ({"calc.py": TWO}, "no_test", "There are no tests"),
        (
            {"calc.py": TWO, "test_calc.py": TWO_TESTS, "conftest.py": "import absent\n"},
            "broken_test",
            "No module named 'absent'",
        ),
        ({"calc.py": TWO, "test_calc.py": TWO_TESTS}, "error", "scripted error"),
    ],
)
async def test_ways_to_end_without_a_repair(tmp_path, files, outcome, said):
    root = write(tmp_path, files)
    with ScriptedEngine([Reply(status=401)]) as engine:
        result = await fix(root, engine)
    assert result.whole.outcome == outcome, result.whole.message
    assert said in result.whole.message
    assert result.changes == ()


async def test_what_was_repaired_before_a_cancellation_is_told(tmp_path):
    root = write(tmp_path, {"calc.py": TWO, "test_calc.py": TWO_TESTS})
    ended: list[SuiteResult] = []
    script = [reply("def add(a, b):\n    return a + b\n"), Reply(("",), first_delay=60)]
    with ScriptedEngine(script) as engine:
        work = asyncio.create_task(fix(root, engine, finished=ended.append))
        while len(engine.requests) < 2:
            await asyncio.sleep(0.05)
            assert not work.done()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    assert ended[0].whole.outcome == "cancelled"
    assert "+    return a + b" in ended[0].whole.diff


async def test_a_doctest_that_pytest_collects_is_one_of_the_suite(tmp_path):
    code = 'def add(a, b):\n    """Add.\n\n    >>> add(2, 3)\n    5\n    """\n    return a - b\n'
    root = write(
        calc(tmp_path), {"calc.py": code, "pytest.ini": "[pytest]\naddopts = --doctest-modules\n"}
    )
    (root / "test_calc.py").unlink()
    with ScriptedEngine([reply("def add(a, b):\n    return a + b\n")]) as engine:
        result = await fix(root, engine)
    assert result.whole.outcome == "passed", result.whole.message
    assert result.changes[0].new == code.replace("a - b", "a + b")
