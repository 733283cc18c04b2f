"""Making a job's edit again on a buffer that changed while the job ran."""

from __future__ import annotations

from oci_lsp.errors import OciError
from oci_lsp.refine.task import Result, Task
from oci_lsp.source.functions import CommentBlock, Function, Module, parse
from oci_lsp.source.splice import Spliced, splice


def own_text(module: Module, target: Function | CommentBlock) -> str:
    """What a job's result depends on most: the function and the comment above it."""
    start = target.span.start
    if isinstance(target, Function) and target.comment:
        start = target.comment.start
    return module.text[start : target.span.end]


def reapplied(task: Task, result: Result, current: str) -> str | None:
    """The current text with the passed candidate in it; None where the function itself changed.

    The reply is spliced anew, so that its imports join those that are there now.

    Args:
        result: one that passed, on `task.module.text`.
    """
    if current == task.module.text:
        return result.text
    module = parse(current)
    target = _same(task, module)
    if target is None or not result.messages or not result.attempts:
        return None
    reply, verified = result.messages[-1].content, result.attempts[-1].code
    try:
        spliced = splice(module, target, reply, keep_signature=not task.feedback)
    except OciError:
        return None
    # Only what was tested may be put in, and never a second function of the same name.
    if spliced.code != verified or _taken(task, module, spliced):
        return None
    return spliced.text


def _same(task: Task, module: Module) -> Function | CommentBlock | None:
    """The task's target in another version of the buffer; None where it is not what it was."""
    wanted = own_text(task.module, task.target)
    if isinstance(task.target, Function):
        before = _alike(task.module, task.target.qualname, wanted)
        after = _alike(module, task.target.qualname, wanted)
        return after[before.index(task.target)] if len(before) == len(after) else None
    text, start = task.module.text, task.target.span.start
    if text.count(wanted) != module.text.count(wanted):
        return None
    offset = -1
    for _ in range(text.count(wanted, 0, start) + 1):
        offset = module.text.index(wanted, offset + 1)
    block = module.comment_at(offset, offset + len(wanted))
    return block if block and own_text(module, block) == wanted else None


def _alike(module: Module, qualname: str, text: str) -> list[Function]:
    return [
        function
        for function in module.functions
        if function.qualname == qualname and own_text(module, function) == text
    ]


def _taken(task: Task, module: Module, spliced: Spliced) -> bool:
    """Whether the user wrote a function of that name while ours was being made."""
    return (
        isinstance(task.target, CommentBlock)
        and module.named(spliced.qualname) is not None
        and task.module.named(spliced.qualname) is None
    )
