"""Why a test failed, in the words a reader (or a small model) needs: call, actual, expected."""

import ast
import contextlib
import linecache
import os
import re
import sys
import traceback
import types
from typing import Any, Dict, List, Optional, Tuple

from .snippets import FRAME_PREFIX, MismatchError

_VALUE = 200
_MESSAGE = 900
_DETAILS = 3000
_PLACES = 20
_FUNCTION = re.compile(r"<(?:function|class) '?([\w.]+)'?(?: at 0x[0-9a-f]+)?>(?=\()")
_PLAIN = (type(None), bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset)


def cut(text: str, limit: int) -> str:
    """The text's head and tail within `limit` characters or little more, saying what was cut."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    return "{}\n[... {} characters cut ...]\n{}".format(
        text[:head], len(text) - head - tail, text[-tail:]
    )


def short_repr(value: Any, limit: int = _VALUE) -> str:
    """repr() that neither raises nor grows."""
    from _pytest._io.saferepr import saferepr

    return saferepr(value, maxsize=limit)


class _Frame:
    """One frame of a traceback: where it is and what it was doing."""

    def __init__(self, frame: types.FrameType, line: int) -> None:
        self.filename = frame.f_code.co_filename
        self.name = frame.f_code.co_name
        self.line = line
        self.locals = frame.f_locals
        self.globals = frame.f_globals
        self.code = frame.f_code

    def statement(self) -> Optional[ast.stmt]:
        """The statement that was running; of a block (`with`, `for`) its head and body."""
        try:
            tree = ast.parse("".join(linecache.getlines(self.filename, self.globals)))
        except (SyntaxError, ValueError):
            return None
        best: Optional[ast.stmt] = None
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.stmt)
                and node.lineno <= self.line <= (node.end_lineno or 0)
                and (best is None or node.lineno >= best.lineno)
            ):
                best = node
        return best


class Explainer:
    """Explains failures of one run."""

    def __init__(self, root: str, candidate: Optional[Dict[str, Any]]) -> None:
        self._root = root
        self._candidate = candidate
        self._compared: Optional[Tuple[str, str, str]] = None

    def forget(self) -> None:
        """A new test begins."""
        self._compared = None

    def compared(self, op: str, left: Any, right: Any) -> None:
        """pytest found a comparison false."""
        self._compared = (op, short_repr(left), short_repr(right))

    # -- collection ------------------------------------------------------------------------

    def collection(self, error: BaseException) -> Dict[str, Any]:
        """Message, details, and whether the candidate's file is `blamed` for a failed import."""
        cause = error
        while type(cause).__name__ == "CollectError" and cause.__cause__ is not None:
            cause = cause.__cause__
        return {**self.failure(cause), "blamed": self._blamed(cause)}

    def _blamed(self, error: BaseException) -> bool:
        if self._candidate is None:
            return False
        path = self._candidate["path"]
        if isinstance(error, SyntaxError):
            return error.filename is not None and os.path.realpath(error.filename) == path
        if isinstance(error, ImportError) and os.path.realpath(error.path or "") == path:
            return True
        return any(
            os.path.realpath(frame.f_code.co_filename) == path
            for frame, _ in traceback.walk_tb(error.__traceback__)
        )

    # -- failures --------------------------------------------------------------------------

    def failure(self, error: BaseException) -> Dict[str, Any]:
        """`message`: call, actual and expected values; `details`: the user's frames.

        `places`: those frames as pairs of a file and a line that counts from 1, outermost first.
        """
        error, example = _of_doctest(error)
        frames = self._user_frames(error)
        try:
            message = self._message(error, frames, example)
        except Exception:  # a strange object in the user's frame must not cost the report
            message = self._exception_line(error)
        return {
            "message": cut(message, _MESSAGE),
            "details": self._details(error, frames, message),
            "places": [[self._relative(f.filename), f.line] for f in frames[:_PLACES]],
        }

    def _user_frames(self, error: BaseException) -> List[_Frame]:
        walked = list(traceback.walk_tb(error.__traceback__))
        mine = [
            _Frame(frame, line)
            for frame, line in walked
            if self._is_users(frame.f_code.co_filename)
            and not frame.f_locals.get("__tracebackhide__")
        ]
        return mine or [_Frame(frame, line) for frame, line in walked[-2:]]

    def _is_users(self, filename: str) -> bool:
        if filename.startswith(FRAME_PREFIX):
            return True
        real = os.path.realpath(filename)
        return real.startswith(self._root + os.sep) and "site-packages" not in real

    def _message(self, error: BaseException, frames: List[_Frame], example: str) -> str:
        if isinstance(error, MismatchError) or not frames:
            return self._exception_line(error)
        if type(error).__name__ == "FixtureLookupError":
            return "fixture {!r} not found".format(getattr(error, "argname", "?"))
        statement = frames[-1].statement()
        if isinstance(error, AssertionError) and isinstance(statement, ast.Assert):
            return self._assertion(error, frames[-1], statement)
        if isinstance(error, SyntaxError) and not isinstance(statement, ast.Call):
            return self._exception_line(error)
        caller = next((f for f in frames if self._calls_candidate(f)), frames[0])
        called = example or self._call(caller) or self._source(caller)
        if type(error).__name__ == "Failed" and str(error).startswith("DID NOT RAISE"):
            return "{} did not raise {}".format(called, str(error)[len("DID NOT RAISE ") :])
        message = "{}\n{}".format(called, self._exception_line(error))
        if frames[-1] is not caller:
            last = frames[-1]
            source = linecache.getline(last.filename, last.line).strip()
            message += "\nraised at {}:{} in {}: {}".format(
                self._relative(last.filename), last.line, last.name, source
            )
        return message

    def _assertion(self, error: BaseException, frame: _Frame, statement: ast.Assert) -> str:
        test = statement.test
        lines = str(error).splitlines()
        if (
            isinstance(test, ast.Compare)
            and len(test.ops) == 1
            and self._compared is not None
            and isinstance(test.ops[0], (ast.Eq, ast.Is))
        ):
            _, left, right = self._compared
            sides = [(test.left, left, right), (test.comparators[0], right, left)]
            asked = next((s for s in sides if self._candidate_call(s[0])), None)
            asked = asked or next(
                (s for s in sides if any(isinstance(n, ast.Call) for n in ast.walk(s[0]))),
                sides[0],
            )
            verb = "returned" if isinstance(asked[0], (ast.Call, ast.Await)) else "was"
            # A name's value is told already.
            bare = isinstance(asked[0], ast.Name)
            shown = ast.unparse(asked[0]) if bare else self._render(asked[0], frame)
            message = "{} {} {}, expected {}".format(shown, verb, asked[1], asked[2])
            # The text after `assert ..., "text"` comes first in pytest's explanation.
            if statement.msg is not None and lines:
                message += "\n" + lines[0]
            return message
        rendered = self._render(test, frame)
        message = "assert {} was false".format(rendered)
        if self._compared is not None and isinstance(test, ast.Compare):
            message += ": left is {}, right is {}".format(*self._compared[1:])
        elif lines:
            message += "\n" + "\n".join(lines[:6])
        return message

    def _exception_line(self, error: BaseException) -> str:
        if isinstance(error, MismatchError):
            return str(error)
        text = "".join(traceback.format_exception_only(type(error), error)).strip()
        return text[len("AssertionError: ") :] if text.startswith("AssertionError: ") else text

    # -- rendering calls -------------------------------------------------------------------

    def _candidate_call(self, tree: ast.AST) -> Optional[ast.Call]:
        if self._candidate is None:
            return None
        name = self._candidate["name"]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = node.func
                if (isinstance(called, ast.Name) and called.id == name) or (
                    isinstance(called, ast.Attribute) and called.attr == name
                ):
                    return node
        return None

    def _calls_candidate(self, frame: _Frame) -> bool:
        statement = frame.statement()
        return statement is not None and self._candidate_call(statement) is not None

    def _call(self, frame: _Frame) -> str:
        statement = frame.statement()
        call = self._candidate_call(statement) if statement is not None else None
        return self._render(call, frame) if call is not None else ""

    def _source(self, frame: _Frame) -> str:
        return linecache.getline(frame.filename, frame.line).strip()

    def _render(self, tree: ast.AST, frame: _Frame) -> str:
        """Source of an expression with the values of plain local names put in."""
        return cut(ast.unparse(_Substitute(frame.locals).visit(_copied(tree))), 2 * _VALUE)

    # -- details ---------------------------------------------------------------------------

    def _relative(self, filename: str) -> str:
        if filename.startswith(FRAME_PREFIX):
            return filename.strip("<>")
        relative = os.path.relpath(os.path.realpath(filename), self._root)
        return filename if relative.startswith(os.pardir) else relative

    def _details(self, error: BaseException, frames: List[_Frame], message: str) -> str:
        shown = [] if isinstance(error, MismatchError) else _without_repeats(frames)
        parts = [self._frame_text(frame) for frame in shown]
        # Values that the message cut, notes and causes; what it says already is not told twice.
        lines = self._error_lines(error) if "..." in message else self._more_lines(error)
        parts += ["E   " + line for line in lines]
        return cut("\n".join(parts), _DETAILS)

    def _frame_text(self, frame: Optional[_Frame]) -> str:
        if frame is None:
            return "[... the same frames again ...]"
        return "{}:{} in {}: {}".format(
            self._relative(frame.filename), frame.line, frame.name, self._source(frame)
        )

    def _error_lines(self, error: BaseException) -> List[str]:
        # pytest shows functions that are globals by their repr.
        text = _FUNCTION.sub(r"\1", self._exception_line(error))
        lines = text.splitlines() + self._more_lines(error)
        if len(lines) > 24:
            lines = [*lines[:16], "[... {} lines cut ...]".format(len(lines) - 24), *lines[-8:]]
        return lines

    def _more_lines(self, error: BaseException) -> List[str]:
        lines = [line for note in getattr(error, "__notes__", []) for line in note.splitlines()]
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is not None:
            lines.append("after " + cut(self._exception_line(cause), 400))
        return lines


def _of_doctest(error: BaseException) -> Tuple[BaseException, str]:
    """A doctest's failure as pytest wraps it: what went wrong, and the example that raised."""
    doctest = sys.modules.get("doctest")
    if doctest is None:
        return error, ""
    with contextlib.suppress(Exception):  # what a candidate raises may be anything
        if type(error).__name__ == "MultipleDoctestFailures":
            error = getattr(error, "failures")[0]  # noqa: B009 - pytest's, which is not typed here
        if isinstance(error, doctest.DocTestFailure):
            return MismatchError(error.example, error.got), ""
        if isinstance(error, doctest.UnexpectedException) and error.exc_info[1] is not None:
            return error.exc_info[1], error.example.source.strip()
    return error, ""


def _without_repeats(frames: List[_Frame]) -> List[Optional[_Frame]]:
    """At most a dozen frames: a deep recursion shows its start and its end."""
    if len(frames) <= 12:
        return list(frames)
    return [*frames[:4], None, *frames[-6:]]


def _copied(tree: ast.AST) -> ast.AST:
    return ast.parse(ast.unparse(tree), mode="eval").body


class _Substitute(ast.NodeTransformer):
    """Puts the values of local names into an expression, where they are plain and short."""

    def __init__(self, values: Dict[str, Any]) -> None:
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and node.id in self._values:
            value = self._values[node.id]
            if isinstance(value, _PLAIN):
                with contextlib.suppress(Exception):
                    text = repr(value)
                    if len(text) <= _VALUE:
                        return ast.parse(text, mode="eval").body
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return node
