"""The negative control: without the candidate's body the tests must turn red."""

import ast
import tokenize
from typing import Any, Dict, Union

_Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]
STATEMENT = 'raise RuntimeError("negative control: the body of this function was removed")'


def disable(candidate: Dict[str, Any]) -> None:
    """Rewrite the candidate's file so that calling the function raises.

    Parsed here, by the project's own Python, which alone is sure to know its syntax.

    Raises:
        LookupError: the function is not in the file.
    """
    with open(candidate["path"], "rb") as file:
        encoding, _ = tokenize.detect_encoding(file.readline)
        file.seek(0)
        text = file.read().decode(encoding)
    text = without_body(text, candidate["name"], candidate["lines"][0], candidate["lines"][1])
    with open(candidate["path"], "wb") as file:
        file.write(text.encode(encoding))


def without_body(text: str, name: str, first: int, last: int) -> str:
    """The text with the body of the function between the 0-based lines replaced by a raise."""
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            and node.name == name
            and first <= node.lineno - 1 <= last
        ):
            return _replace_body(text, node)
    raise LookupError("no function {} between lines {} and {}".format(name, first, last))


def _replace_body(text: str, node: _Function) -> str:
    # ast counts \n, \r\n and \r as line ends and columns in UTF-8 bytes.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start, end = node.body[0], node.body[-1]
    head = lines[start.lineno - 1].encode("utf-8")[: start.col_offset].decode("utf-8")
    assert end.end_lineno is not None
    return "\n".join([*lines[: start.lineno - 1], head + STATEMENT, *lines[end.end_lineno :]])
