"""Making an edit again on a buffer that changed: what follows, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from oci_lsp.lsp.anchor import own_text, reapplied
from oci_lsp.refine.task import Attempt, Message, Result, Task
from oci_lsp.source.functions import Function, parse
from oci_lsp.source.splice import splice
from tests.projects import fenced

BEFORE = """\
import os


class Point:
    @property
    def x(self):
        return self.a

    # The setter.
    @x.setter
    def x(self, value):
        self.a = value


# function: double(x) -> twice x

# end
"""


def passed(text: str, offset: int, reply: str) -> tuple[Task, Result]:
    """A task on what is at an offset, and the result of a reply that passed."""
    module = parse(text)
    target = module.comment_at(offset) or module.at(offset)
    assert target
    kind = "fix" if isinstance(target, Function) else "generate"
    task = Task(Path("/p"), Path("/p/a.py"), module, target, kind)  # type: ignore[arg-type]
    spliced = splice(module, target, reply)
    attempt = Attempt(1, 1, "passed", spliced.code, "", "", 0, 0, None, None)
    messages = (Message("user", "do it"), Message("assistant", reply))
    return task, Result("passed", "", text=spliced.text, attempts=(attempt,), messages=messages)


SETTER = fenced("@x.setter\ndef x(self, value):\n    self.a = float(value)\n")
DOUBLE = fenced("import math\n\n\ndef double(x):\n    return math.prod((2, x))\n")


def test_an_unchanged_buffer_gets_what_was_tested():
    task, result = passed(BEFORE, BEFORE.index("self.a = value"), SETTER)
    assert reapplied(task, result, BEFORE) == result.text


def test_of_like_named_functions_the_right_one_is_found_again():
    task, result = passed(BEFORE, BEFORE.index("self.a = value"), SETTER)
    assert task.label == "Point.x"
    now = BEFORE.replace("import os\n", "import os\nimport sys\n").replace("self.a\n", "self._a\n")
    text = reapplied(task, result, now)
    assert text == now.replace("self.a = value", "self.a = float(value)")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.a = value", "self.a = value  # so"),
        ("# The setter.", "# A setter."),
        ("class Point", "class Place"),
        ("    # The setter.\n", ""),
    ],
)
def test_a_changed_function_or_comment_or_owner_is_left_alone(old, new):
    task, result = passed(BEFORE, BEFORE.index("self.a = value"), SETTER)
    assert reapplied(task, result, BEFORE.replace(old, new)) is None


def test_a_comment_is_found_again_and_its_imports_join_the_present_ones():
    task, result = passed(BEFORE, BEFORE.index("function:"), DOUBLE)
    now = BEFORE.replace("import os\n", "import math\nimport os\n")
    text = reapplied(task, result, now)
    assert text is not None
    assert text.count("import math") == 1
    assert "# function: double(x) -> twice x\ndef double(x):\n" in text
    assert reapplied(task, result, now.replace("twice x", "2 x")) is None


def test_a_function_of_that_name_written_meanwhile_is_not_written_twice():
    task, result = passed(BEFORE, BEFORE.index("function:"), DOUBLE)
    assert reapplied(task, result, BEFORE + "\n\ndef double(x):\n    return x + x\n") is None


def test_a_comment_that_now_occurs_twice_is_nobodys():
    task, result = passed(BEFORE, BEFORE.index("function:"), DOUBLE)
    twice = BEFORE + "\n\nX = 1\n\n# function: double(x) -> twice x\n"
    assert reapplied(task, result, twice) is None


def test_the_own_text_has_the_comment_and_the_decorators():
    module = parse(BEFORE)
    function = module.at(BEFORE.index("self.a = value"))
    assert function
    assert own_text(module, function).startswith("# The setter.\n    @x.setter\n")
