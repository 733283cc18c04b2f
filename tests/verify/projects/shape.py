"""A shape: one kind of project, with a function that is wrong on the disk, and how it is run."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oci_lsp.settings import VerifySettings
from oci_lsp.source.functions import parse
from oci_lsp.verify.pool import Verifier
from oci_lsp.verify.verdict import Candidate, Report, Run, Snippet
from tests.verify.watching import snapshot

ADD = "def add(a, b):\n    return a - b\n"
TEST = "from calc import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n"
NODE = "tests/test_calc.py::test_add"
SAYS = "add(2, 3) returned -1, expected 5"


@dataclass(frozen=True)
class Shape:
    """A project, the function that is wrong in it, and the tests that tell.

    Attributes:
        files: relative path -> text (or bytes) on the disk, laid over calc.py and its test;
            None takes one of the two away.
        fix: what is wrong in the function's file, and what puts it right.
        says: what the failure's text must hold.
        make: makes what text files cannot: links, environments, compiled modules.
        where: the project's root below the made folder; what is above it can be shaped as well.
        at_home: the made folder lies in the home; in the temporary folder a sandbox shows nothing
            above the root.
        buffers: unsaved text of files, on the disk or not.
        opened: the root as the editor names it, relative to the made folder; "" for `where`.
        needs: modules without which there is nothing to try.
        env: the environment variables of the server.
    """

    name: str
    files: Mapping[str, str | bytes | None] = field(default_factory=dict)
    tests: tuple[str, ...] = (NODE,)
    file: str = "calc.py"
    function: str = "add"
    fix: tuple[str, str] = ("a - b", "a + b")
    says: str = SAYS
    make: Callable[[Path], None] | None = None
    where: str = "project"
    at_home: bool = False
    opened: str = ""
    buffers: Mapping[str, str] = field(default_factory=dict)
    snippets: tuple[Snippet, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60

    def write(self, folder: Path) -> Path:
        """Make the project below the folder; gives the root to open."""
        root = folder / self.where
        root.mkdir(parents=True)
        for name, text in {"calc.py": ADD, "tests/test_calc.py": TEST, **self.files}.items():
            if text is not None:
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        if self.make is not None:
            self.make(root)
        return folder / self.opened if self.opened else root

    def run(self, root: Path, *, right: bool, confirm: bool = True) -> Run:
        """The run of the function as it is, or put right; a pass may have to hold once more."""
        text = self._text()
        if right:
            assert self.fix[0] in text, "the shape has nothing to put right"
            text = text.replace(*self.fix)
        path = root / self.file
        function = parse(text).named(self.function)
        assert function is not None, self.function
        return Run(
            files={**{root / name: text for name, text in self.buffers.items()}, path: text},
            node_ids=self.tests,
            snippets=self.snippets,
            snippet_path=path if self.snippets else None,
            candidate=Candidate(path, function.name, function.qualname, function.lines),
            timeout=self.timeout,
            confirm=confirm,
        )

    def _text(self) -> str:
        """What an editor has in its buffer."""
        known = {"calc.py": ADD, **self.files, **self.buffers}
        text = known[self.file]
        if isinstance(text, bytes):
            cookie = re.search(rb"coding[:=]\s*([-\w.]+)", text)
            text = text.decode(cookie[1].decode() if cookie else "utf-8-sig")
        assert text is not None
        return text


@dataclass(frozen=True)
class Seen:
    """What came of both runs."""

    wrong: Report
    right: Report
    before: Mapping[str, object]
    after: Mapping[str, object]


async def see(shape: Shape, folder: Path, *, confirm: bool = True, **settings_too: Any) -> Seen:
    """Run the project with the function wrong and right, both at a time."""
    root = shape.write(folder)
    settings = VerifySettings(**{"standby": 0, **shape.settings, **settings_too})
    before = snapshot(folder)
    async with Verifier(root, settings) as verifier:
        wrong, right = await asyncio.gather(
            verifier.run(shape.run(root, right=False)),
            verifier.run(shape.run(root, right=True, confirm=confirm)),
        )
    return Seen(wrong, right, before, snapshot(folder))
