"""What holds without a sandbox, where user namespaces are really refused: the copy takes the blows,
limits end what grows, and every process ends. (Files and sockets of the user do not hold there.)"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.verify import elsewhere
from tests.verify.hostile_rage.bait import TEST
from tests.verify.hostile_rage.reduced import PREFIX, ROWS
from tests.verify.hostile_rage.rows import Row
from tests.verify.watching import snapshot

pytestmark = [
    pytest.mark.skipif(
        not elsewhere.can(PREFIX), reason="no user namespaces here to forbid any in"
    ),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of each row, and whether the project is as it was."""
    root = tmp_path_factory.mktemp("reduced") / "project"
    for name, text in {
        "candidate.py": "def add(a, b):\n    return a - b\n",
        "tests/test_rage.py": TEST,
        ".git/hooks/pre-commit": "#!/bin/sh\n",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    before = snapshot(root)
    ended = subprocess.run(
        [*PREFIX, sys.executable, "-m", "tests.verify.hostile_rage.reduced", str(root)],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OCI_LSP_RUNTIME_DIR": str(tmp_path_factory.mktemp("r"))},
        capture_output=True,
        text=True,
        timeout=380,
    )
    assert ended.returncode == 0, ended.stderr
    assert snapshot(root) == before
    return {result["name"]: result for result in json.loads(ended.stdout)}


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_it_is_contained_without_a_sandbox(row: Row, ran: dict[str, Any]):
    result = ran[row.name]
    bad, honest = result["bad"], result["honest"]
    assert bad["verdict"] in row.verdicts, bad
    assert not row.says or any(words in bad["told"] for words in row.says), bad["told"]
    assert honest["verdict"] == "passed", honest
    assert result["waited"] < 10
    assert result["left"] == []
    assert result["runtime"] == []
