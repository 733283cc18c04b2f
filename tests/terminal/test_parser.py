"""The command line's words: help with examples that hold, and what is said of a wrong word."""

from __future__ import annotations

import argparse
import shlex

import pytest

from oci_lsp.cli import command_parser
from tests.terminal.test_cli import oci


def parsers(parser, name="oci-lsp"):
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, inner in action.choices.items():
                yield from parsers(inner, f"{name} {word}")


ALL = dict(parsers(command_parser()))


@pytest.mark.parametrize("name", ALL)
def test_each_commands_help_has_examples_that_it_understands(name):
    _, _, examples = ALL[name].format_help().partition("\nexample")
    lines = [line.strip() for line in examples.splitlines()[1:]]
    assert lines, f"{name} --help shows no example"
    for line in lines:
        assert line.startswith(name), line
        words = shlex.split(line.partition(" > ")[0])[1:]
        command_parser().parse_args(words)


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["fxi", "calc.py::add"], "fix"),
        (["engine", "stpo"], "stop"),
        (["fix", "calc.py::add", "--aply"], "--apply"),
        (["fix", "calc.py::add", "--tets=x"], "--test"),
        (["settings", "--shema"], "--schema"),
        (["--sett", "refine.turns=1", "settings"], "--set"),
        (["settings", "--set", "refine.trns=1"], "refine.turns"),
    ],
)
def test_a_wrong_word_names_the_nearest(words, near):
    done = oci(*words)
    assert done.returncode == 2
    assert f"Did you mean {near}?" in done.stderr


@pytest.mark.parametrize("words", [["quux"], ["fix", "a.py::f", "--quux"], ["doctor", "quux"]])
def test_a_word_like_no_other_names_where_all_are(words):
    done = oci(*words)
    assert done.returncode == 2
    assert "Did you mean" not in done.stderr
    assert "--help` lists what there is" in done.stderr
