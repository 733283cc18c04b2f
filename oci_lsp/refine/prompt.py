"""The words sent to the model: templates in prompts/, filled here and nowhere else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import cache

import jinja2

from oci_lsp.refine.task import Message, Task
from oci_lsp.source.functions import Function, parse
from oci_lsp.source.layout import dedented

# Characters of test source and of what was tried that go into one prompt. A 4-bit 1.5B model
# loses the thread beyond some 2,000 tokens, and prefill is what the user waits for on a CPU.
TESTS_LIMIT = 3000
TRIED_LIMIT = 1200


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(  # noqa: S701 - prompts are plain text, not HTML
        loader=jinja2.PackageLoader("oci_lsp.refine", "prompts"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )


def render(template: str, **values: object) -> str:
    """A template filled in.

    Raises:
        jinja2.UndefinedError: the template names a value that was not given.
    """
    return _templates().get_template(f"{template}.j2").render(**values).strip()


def opening(task: Task, name: str, tests: str, failure: str, around: str) -> tuple[Message, ...]:
    """The first messages of a job: what to write, what it must satisfy, how it fails today.

    `around` is the context, `oci_lsp.source.context`.
    """
    target = task.target
    function = target if isinstance(target, Function) else None
    text, lines = task.module.text, task.module.lines
    template = "fix" if task.kind == "fix" and function is not None else "generate"
    content = render(
        template,
        name=name,
        owner=(function.owner if function else None) or "",
        function=dedented(task.module, function) if function else "",
        description="" if function else text[target.span.start : target.span.end],
        context=around.strip(),
        tests=tests.strip(),
        failure=failure.strip(),
        comments=task.feedback,
        diagnostics=[
            {
                "source": item.source,
                "message": item.message,
                "code": lines.content(item.line).strip() if item.line < len(lines) else "",
            }
            for item in task.diagnostics
        ],
    )
    return (
        Message("system", render("system")),
        Message("user", content, "user" if task.feedback else "oci-lsp"),
    )


def afresh(task: Task, name: str, tests: str, around: str) -> Message:
    """The task told without the function's body: whoever only copies it must write it anew.

    Small models repeat a buggy body that they see, sample after sample; from the signature, the
    docstring and the tests they write another one.
    """
    function = task.target
    assert isinstance(function, Function)
    text = task.module.text
    start = function.docstring_span.end if function.docstring_span else function.body.start
    gap = f"\n{function.indent}    " if function.docstring_span else ""
    blank = parse(f"{text[:start]}{gap}...{text[function.body.end :]}")
    target = blank.named(function.qualname) or function
    other = dataclasses.replace(task, module=blank, target=target, kind="generate")
    return opening(other, name, tests, "", around)[1]


def again(
    name: str,
    *,
    passed: bool,
    failure: str = "",
    tried: Iterable[str] = (),
    feedback: Sequence[str] = (),
    tests: str = "",
) -> Message:
    """The next user message: the execution result, what else was tried, the user's words.

    `tests` is the source of those that the words name.
    """
    kept: list[str] = []
    room = TRIED_LIMIT
    for code in sorted(set(tried), key=len):
        room -= len(code)
        if room < 0:
            break
        kept.append(code)
    content = render(
        "retry",
        name=name,
        passed=passed,
        failure=failure.strip(),
        tried=kept,
        comments=feedback,
        tests=tests.strip(),
    )
    return Message("user", content, "user" if feedback else "oci-lsp")


def with_feedback(message: Message, feedback: Sequence[str], tests: str = "") -> Message:
    """An oci-lsp message with the user's words added: some chat formats want strict turns."""
    words = render("words", comments=feedback, tests=tests.strip())
    return Message(message.role, f"{message.content}\n\n{words}", "user")
