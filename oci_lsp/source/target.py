"""Where a request points: the project a file belongs to, and the function or comment in it."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from oci_lsp.errors import TargetError
from oci_lsp.paths import exists, is_dir
from oci_lsp.source.functions import CommentBlock, Function, Module
from oci_lsp.source.lines import Lines

_MARKERS = ("pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg", "setup.py", ".git")


def find_root(path: Path, within: Path | None = None) -> Path:
    """The project's folder, a real path: the nearest one above `path` that looks like a project.

    Args:
        path: a file or a folder; it need not exist.
        within: the workspace's folder; nothing above it is considered, and it is the answer where
            no folder below it looks like a project.
    """
    path = path.resolve()
    start = path if is_dir(path) else path.parent
    top = within.resolve() if within is not None else None
    if top is not None and start != top and top not in start.parents:
        top = None
    for folder in (start, *start.parents):
        if any(exists(folder / marker) for marker in _MARKERS):
            return folder
        if folder == top:
            return folder
    return start


def target_named(module: Module, qualname: str) -> Function:
    """The function of that qualified name.

    Raises:
        TargetError: there is none; names those that come near.
    """
    if not qualname:
        raise TargetError("The function's name is missing", "Write it after the `::`.")
    if found := module.named(qualname):
        return found
    names = [function.qualname for function in module.functions]
    if methods := [name for name in names if name.rpartition(".")[0] == qualname]:
        advice = f"{qualname} has the functions: {', '.join(methods)}"
        raise TargetError(f"{qualname} is no function itself; name one of those in it", advice)
    same_leaf = [name for name in names if name.rpartition(".")[2] == qualname.rpartition(".")[2]]
    near = same_leaf or get_close_matches(qualname, names, n=5)
    if near:
        advice = "Did you mean " + ", ".join(near) + "?"
    elif names:
        more = " ..." if len(names) > 10 else ""
        advice = "The file has: " + ", ".join(names[:10]) + more
    else:
        advice = "The file has no functions."
    raise TargetError(f"There is no function {qualname!r}", advice)


def target_at(module: Module, start: int, end: int | None = None) -> Function | CommentBlock:
    """The comment block or function at an offset (or in a selection), the comment first.

    Raises:
        TargetError: there is neither.
    """
    if comment := module.comment_at(start, end):
        return comment
    if found := module.at(start):
        return found
    line = module.text.count("\n", 0, start) + 1
    raise TargetError(
        f"There is no function and no comment in line {line}",
        "Point at a function, or at a comment that describes one.",
    )


def offset_of_line(text: str, line: int) -> int:
    """The offset at which a line's text begins (past its indentation); `line` counts from 1.

    Raises:
        TargetError: the text has fewer lines.
    """
    lines = Lines(text)
    if not 1 <= line <= len(lines):
        raise TargetError(f"There is no line {line}: the file has {len(lines)}")
    return lines.code_start(line - 1)
