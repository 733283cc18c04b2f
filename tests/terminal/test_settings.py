"""`oci-lsp settings`: what is in force in a project, and who said so."""

from __future__ import annotations

import json

import pytest

from oci_lsp.settings import Settings, as_tree, from_command_line, keys
from tests.terminal.test_cli import oci


@pytest.fixture
def project(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        "[tool.oci-lsp]\nrefine.turns = 3\nrefine.candidates = 4\nrefine.seed = -1\n"
        'engine.url = "http://x"\nrefine.candidate = 2\n'
    )
    return tmp_path


def listed(root, *words):
    done = oci("settings", "--json", *words, cwd=root)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_each_value_tells_where_it_comes_from(project):
    told = listed(project / ".", "--set", "verify.timeout=5", "--set", "refine.turns=9")
    assert told["root"] == str(project.resolve())
    settings = told["settings"]
    assert list(settings) == list(keys())
    said = {name: (one["value"], one["from"]) for name, one in settings.items()}
    assert said["verify.timeout"] == (5.0, "--set")
    assert said["refine.turns"] == (9, "--set")
    # As the default is, and yet said by the project.
    assert said["refine.candidates"] == (4, "pyproject.toml")
    assert said["refine.seed"] == (0, "default")
    assert said["engine.url"] == ("", "default")
    told_of = " ".join(told["messages"])
    assert "refine.seed" in told_of
    assert "engine.url from pyproject.toml is ignored" in told_of
    assert "Unknown setting refine.candidate. Did you mean refine.candidates?" in told_of


def test_trust_lets_the_project_set_guarded_keys(project):
    told = listed(project, "--trust")
    assert told["settings"]["engine.url"]["value"] == "http://x"
    assert told["settings"]["engine.url"]["from"] == "pyproject.toml"


def test_what_is_told_is_what_a_job_would_use(tmp_path):
    words = ["verify.env=HOME,CI", "refine.topP=0.5", "apply=preview"]
    told = listed(tmp_path, *(word for one in words for word in ("--set", one)))
    tree = as_tree(from_command_line(Settings(), words))
    for name, one in told["settings"].items():
        value = tree
        for part in name.split("."):
            value = value[part]
        assert one["value"] == value, name


def test_in_words(project):
    done = oci("settings", "--set", "refine.turns=5", cwd=project)
    assert done.returncode == 0
    assert "refine.turns = 5  (from --set; default: 2)" in done.stdout
    assert "refine.tokens = 32768  (default)" in done.stdout
    assert "a whole number, at least 1, at most 16" in done.stdout
    assert "Did you mean refine.candidates?" in done.stderr


def test_the_schema_is_printed(tmp_path):
    from oci_lsp.schema import json_schema

    assert json.loads(oci("settings", "--schema", cwd=tmp_path).stdout) == json_schema()
