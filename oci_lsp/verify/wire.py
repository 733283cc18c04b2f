"""A run in the words of the supervisor, and its judgement in those of the host."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oci_lsp.verify.verdict import Run


def request(run: Run, root: Path, seen: Path, *, control: bool) -> dict[str, Any]:
    """What the supervisor is asked, in paths as its driver sees them."""

    def there(path: Path) -> str:
        return str(seen / path.relative_to(root))

    candidate = run.candidate
    return {
        "files": {there(path): text for path, text in run.files.items()},
        "guarded": [there(path) for path in _guarded(run, root)],
        "node_ids": list(run.node_ids),
        "snippets": [dataclasses.asdict(snippet) for snippet in run.snippets],
        "snippet_path": there(run.snippet_path) if run.snippet_path else None,
        "candidate": None
        if candidate is None
        else {
            "path": there(candidate.path),
            "name": candidate.name,
            "qualname": candidate.qualname,
            "lines": list(candidate.lines),
        },
        "original": run.original,
        "control": control,
        "moved": {} if seen == root else {str(root): str(seen)},
        "timeout": run.timeout,
    }


def _guarded(run: Run, root: Path) -> list[Path]:
    """Test files and the conftest.py files above them; the candidate's own file is excepted."""
    found: dict[Path, None] = {}
    for node_id in run.node_ids:
        path = root / node_id.partition("::")[0]
        found[path] = None
        for folder in path.parents:
            if folder == root or root in folder.parents:
                found[folder / "conftest.py"] = None
    excepted = run.candidate.path if run.candidate is not None else None
    return [path for path in found if path != excepted]


def moved(value: Any, paths: Mapping[str, str]) -> Any:
    """The judgement with the copy's paths replaced by the project's own."""
    if isinstance(value, str):
        for copy, real in paths.items():
            value = value.replace(copy, real)
        return value
    if isinstance(value, dict):
        return {key: moved(item, paths) for key, item in value.items()}
    return [moved(item, paths) for item in value] if isinstance(value, list) else value
