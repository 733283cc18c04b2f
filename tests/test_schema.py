"""The settings' schema: it says what the reader of the settings does, and its files are fresh."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci_lsp.schema import json_schema
from oci_lsp.settings import Settings, as_tree, keys, merge

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = "scripts/settings_docs.py"
SCHEMA = jsonschema.Draft202012Validator(json_schema())


def test_it_is_a_schema_and_takes_the_defaults():
    jsonschema.Draft202012Validator.check_schema(json_schema())
    SCHEMA.validate(as_tree(Settings()))


def test_every_key_has_type_default_and_description():
    for name in keys():
        place = json_schema()
        for part in name.split("."):
            place = place["properties"][part]
        assert {"type", "default", "description"} <= set(place), name
        jsonschema.Draft202012Validator(place).validate(place["default"])


# 1.0 is an integer to JSON Schema, and no whole number to us; null means "not given" to editors.
_VALUES = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(-3, 3).filter(lambda x: not x.is_integer()),
    st.sampled_from(["auto", "cpu", "strict", "on", ""]),
    st.text(max_size=3),
    st.lists(st.sampled_from(["A", 1]), max_size=2),
)


@given(name=st.sampled_from([*keys(), "engine.modle", "colour"]), value=_VALUES)
def test_it_accepts_what_the_reader_accepts(name, value):
    tree = value
    for part in reversed(name.split(".")):
        tree = {part: tree}
    _, messages = merge(Settings(), tree)
    assert SCHEMA.is_valid(tree) == (not messages), messages


def test_pins_of_tests_may_stand_beside_the_settings():
    SCHEMA.validate({"tests": {"calc.py::add": ["test_calc.py::test_add"]}, "server": {}})
    assert not SCHEMA.is_valid({"tests": {"calc.py::add": "test_calc.py::test_add"}})


@pytest.mark.parametrize("file", ["README.md", "oci_lsp/settings.schema.json"])
def test_a_stale_file_is_told_and_written_anew(tmp_path, file):
    for name in (SCRIPT, "README.md", "oci_lsp/settings.schema.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())

    def script(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, tmp_path / SCRIPT, *words],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert script("--check").returncode == 0
    fresh = (tmp_path / file).read_text()
    (tmp_path / file).write_text(fresh.replace("engine.model", "engine.modle").replace("true", "1"))
    told = script("--check")
    assert told.returncode == 1
    assert told.stderr == f"{file} is stale: run `make format`\n"
    assert script().returncode == 0
    assert (tmp_path / file).read_text() == fresh
