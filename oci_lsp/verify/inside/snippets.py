"""Snippets (plain asserts, doctests) as pytest items that see the globals of the user's module."""

import ast
import contextlib
import importlib
import linecache
import os
import sys
from types import ModuleType
from typing import Any, Callable, Dict, List

import pytest

FRAME_PREFIX = "<snippet "
_Call = Callable[[], None]


class MismatchError(AssertionError):
    """An example of a doctest printed something else than it should."""

    def __init__(self, example: Any, got: str) -> None:
        super().__init__(
            "{}\nprinted: {}\nexpected: {}".format(
                example.source.strip(),
                got.rstrip("\n") or "nothing",
                example.want.rstrip("\n") or "nothing",
            )
        )


def collect(session: Any, request: Dict[str, Any]) -> List[Any]:
    """One item per snippet; the module is imported once, as pytest would import it.

    Raises:
        Exception: whatever importing the module raised, or SyntaxError in the snippet.
    """
    path = type(session.config.rootpath)(request["snippet_path"])
    parent = _Module.from_parent(session, path=path)
    parent.imported = import_module(session.config, path)
    items: List[Any] = []
    for number, snippet in enumerate(request["snippets"], 1):
        kind = snippet["kind"]
        name = "{} {} (line {})".format(kind, number, snippet["line"] + 1)
        filename = FRAME_PREFIX + name + ">"
        text = snippet["text"].rstrip() + "\n"
        # A copy: names that the snippet assigns must not change the module.
        namespace = dict(vars(parent.imported))
        _register(filename, text)
        build = _doctest if kind == "doctest" else _asserts
        call = build(text, filename, namespace, session.config)
        items.append(pytest.Function.from_parent(parent, name=name, callobj=call))
    return items


def import_module(config: Any, path: Any) -> ModuleType:
    """The module at the path, imported by pytest's rules for the project's layout.

    pytest takes a file in a folder without `__init__.py` for a top-level module; where its
    relative imports show that it is not, it is imported by its dotted name from sys.path.
    """
    from _pytest.pathlib import import_path

    options: Dict[str, Any] = {"root": config.rootpath, "mode": config.getoption("importmode")}
    with contextlib.suppress(ValueError):  # pytest 7 and 8.0 do not know it
        options["consider_namespace_packages"] = config.getini("consider_namespace_packages")
    try:
        return _imported(import_path(path, **options))
    except ImportError as error:
        if "relative import" not in str(error):
            raise
        name = _dotted(str(path))
        if not name:
            raise
        return importlib.import_module(name)


def _imported(module: Any) -> ModuleType:
    assert isinstance(module, ModuleType)
    return module


def _dotted(path: str) -> str:
    stem = os.path.splitext(path)[0]
    for entry in sys.path:
        folder = os.path.realpath(entry or os.curdir)
        parts = os.path.relpath(stem, folder).split(os.sep)
        if len(parts) > 1 and os.pardir not in parts and all(p.isidentifier() for p in parts):
            return ".".join(parts)
    return ""


class _Module(pytest.Module):
    """The user's module as the parent of its snippets; nothing else in it is collected."""

    imported: ModuleType

    def _getobj(self) -> ModuleType:
        return self.imported


def _register(filename: str, text: str) -> None:
    """Let tracebacks show the snippet's lines."""
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)


def _asserts(text: str, filename: str, namespace: Dict[str, Any], config: Any) -> _Call:
    from _pytest.assertion.rewrite import rewrite_asserts

    tree = ast.parse(text, filename)
    rewrite_asserts(tree, text.encode("utf-8"), filename, config)
    code = compile(tree, filename, "exec", dont_inherit=True)

    def run_asserts() -> None:
        exec(code, namespace)

    return run_asserts


def _doctest(text: str, filename: str, namespace: Dict[str, Any], config: Any) -> _Call:
    # Not at the top: it brings `code` and `pdb`, and projects have modules of such names.
    import doctest

    from _pytest.doctest import _get_checker

    class Runner(doctest.DocTestRunner):
        """Raises at the first example that fails."""

        def report_failure(self, out: Any, test: Any, example: Any, got: str) -> None:
            raise MismatchError(example, got)

        def report_unexpected_exception(
            self, out: Any, test: Any, example: Any, exc_info: Any
        ) -> None:
            raise exc_info[1]

    checker: Any = _get_checker()
    for name in ("ALLOW_UNICODE", "ALLOW_BYTES", "NUMBER"):
        doctest.register_optionflag(name)  # pytest does so only when it collects doctests itself
    flags = 0
    for name in config.getini("doctest_optionflags"):
        flags |= doctest.OPTIONFLAGS_BY_NAME.get(name, 0)
    test = doctest.DocTestParser().get_doctest(text, namespace, filename, filename, 0)
    if not test.examples:
        raise ValueError("the doctest holds no `>>>` example: {!r}".format(text))

    def run_doctest() -> None:
        runner = Runner(checker=checker, optionflags=flags, verbose=False)
        runner.run(test, out=lambda text: None, clear_globs=False)

    return run_doctest
