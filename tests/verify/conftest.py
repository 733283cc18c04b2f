"""A small project on disk, and a way to run its tests in real kernels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from oci_lsp.settings import VerifySettings
from oci_lsp.verify.pool import Verifier
from oci_lsp.verify.verdict import Candidate, Report, Run, Snippet

TEST = """
from calc import add


def test_add():
    for a, b, total in [(0, 0, 0), (2, 3, 5)]:
        assert add(a, b) == total
"""
NODE = "tests/test_calc.py::test_add"


@dataclass
class Project:
    """A project whose function under test is `add` in calc.py."""

    root: Path
    settings: VerifySettings = field(default_factory=lambda: VerifySettings(standby=0))

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def set(self, **changes: object) -> None:
        self.settings = replace(self.settings, **changes)  # type: ignore[arg-type]

    def verifier(self) -> Verifier:
        return Verifier(self.root, self.settings)

    def a_run(
        self,
        text: str,
        *node_ids: str,
        name: str = "add",
        file: str = "calc.py",
        snippets: tuple[Snippet, ...] = (),
        buffers: dict[Path, str] | None = None,
        timeout: float = 20,
    ) -> Run:
        """A run of the text as calc.py; every line of it counts as the candidate."""
        path = self.root / file
        lines = (0, text.count("\n"))
        return Run(
            files={path: text, **(buffers or {})},
            node_ids=node_ids if node_ids or snippets else (NODE,),
            snippets=snippets,
            snippet_path=path if snippets else None,
            candidate=Candidate(path, name, name, lines),
            timeout=timeout,
        )

    async def verify(self, text: str, *node_ids: str, **options: object) -> Report:
        async with self.verifier() as verifier:
            return await verifier.run(self.a_run(text, *node_ids, **options))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _own_runtime_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """What a kernel leaves behind shows, and nothing of the user's is touched."""
    monkeypatch.setenv("OCI_LSP_RUNTIME_DIR", str(tmp_path_factory.mktemp("r")))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    made.write("calc.py", "def add(a, b):\n    return a - b\n")
    made.write("tests/test_calc.py", TEST)
    return made
