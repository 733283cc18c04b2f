"""A run in the words of the supervisor, and its judgement in those of the host."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from oci_lsp.verify.verdict import Run

# As it stands; without the candidate's body (the negative control); with the tests renamed and in
# reverse order.
Variant = Literal["plain", "control", "disguised"]


def request(run: Run, root: Path, seen: Path, variant: Variant = "plain") -> dict[str, Any]:
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
        "suite": run.suite,
        "control": variant == "control",
        "disguised": variant == "disguised",
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


# What steers a terminal, reorders a line for the eye, or is no text at all.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with control characters as Python writes them in a string; line ends stay."""
    text = text.replace("\r\n", "\n")
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def moved(value: Any, paths: Mapping[str, str]) -> Any:
    """The judgement for the host's eyes: the copy's paths replaced by the project's own, control
    characters made visible."""
    if isinstance(value, str):
        for copy, real in paths.items():
            value = value.replace(copy, real)
        return visible(value)
    if isinstance(value, dict):
        return {key: moved(item, paths) for key, item in value.items()}
    return [moved(item, paths) for item in value] if isinstance(value, list) else value
