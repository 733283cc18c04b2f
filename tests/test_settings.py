"""Settings: one tree, whatever writes it; wrong values are messages, never crashes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci_lsp.errors import SettingsError
from oci_lsp.settings import (
    GUARDED,
    Settings,
    as_tree,
    from_command_line,
    from_pyproject,
    keys,
    merge,
)


def test_nested_and_dotted_keys_mean_the_same():
    nested, _ = merge(Settings(), {"refine": {"topP": 0.5}, "engine": {"model": "m"}})
    dotted, _ = merge(Settings(), {"refine.topP": 0.5, "engine.model": "m"})
    assert nested == dotted
    assert nested.refine.top_p == 0.5
    assert nested.engine.model == "m"


def test_the_tree_written_out_reads_back_as_the_same_settings():
    changed = from_command_line(Settings(), ["verify.env=HOME,CI", "refine.candidates=7"])
    assert merge(Settings(), as_tree(changed)) == (changed, [])


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"refine": {"candidates": "many"}}, "refine.candidates: 'many' is not a whole number"),
        ({"refine": {"candidates": 0}}, "at least 1"),
        ({"refine": {"candidates": True}}, "refine.candidates"),
        ({"verify": {"isolation": "none"}}, "one of strict, reduced, ask"),
        ({"verify": {"env": "HOME"}}, "a list of strings"),
        ({"verify": {"timeuot": 3}}, "Unknown setting verify.timeuot"),
        ({"colour": "red"}, "Unknown setting colour"),
        ([1, 2], "not an object but list"),
    ],
)
def test_a_wrong_value_is_a_message_and_the_default(tree, said):
    settings, messages = merge(Settings(), tree)
    assert settings == Settings()
    assert len(messages) == 1
    assert said in messages[0]


def test_a_wrong_value_leaves_the_right_ones_beside_it():
    settings, messages = merge(Settings(), {"verify": {"timeout": -1, "memoryMb": 512}})
    assert settings.verify.memory_mb == 512
    assert settings.verify.timeout == Settings().verify.timeout
    assert len(messages) == 1


def test_null_counts_as_not_given():
    tree = {"engine": {"model": None}, "refine": None}
    assert merge(Settings(), tree) == (Settings(), [])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(keys())), inner),
        max_leaves=8,
    )
)
def test_no_tree_makes_it_raise(tree):
    settings, _ = merge(Settings(), tree)
    assert isinstance(settings, Settings)


def test_guarded_keys_count_from_pyproject_in_a_trusted_workspace_only(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.oci-lsp]\nverify.network = true\nrefine.turns = 3\nengine.url = "http://x"\n'
        '[tool.oci-lsp.tests]\nf = ["test_f.py"]\n'
    )
    untrusted, messages = from_pyproject(Settings(), tmp_path, trusted=False)
    assert not untrusted.verify.network
    assert untrusted.engine.url == ""
    assert untrusted.refine.turns == 3
    assert ["not trusted" in message for message in messages] == [True, True]
    trusted, messages = from_pyproject(Settings(), tmp_path, trusted=True)
    assert trusted.verify.network
    assert trusted.engine.url == "http://x"
    assert messages == []


def test_every_guarded_key_exists():
    assert set(keys()) >= GUARDED


def test_a_broken_pyproject_is_a_message(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.oci-lsp\n")
    settings, messages = from_pyproject(Settings(), tmp_path, trusted=True)
    assert settings == Settings()
    assert "cannot be read" in messages[0]


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ("refine.temperature=1", lambda s: s.refine.temperature == 1.0),
        ("oci_lsp.refine.turns=4", lambda s: s.refine.turns == 4),
        ("engine.model=a=b", lambda s: s.engine.model == "a=b"),
        ('verify.env=["A"]', lambda s: s.verify.env == ("A",)),
        ("verify.env=", lambda s: s.verify.env == ()),
        ("verify.isolation=reduced", lambda s: s.verify.isolation == "reduced"),
        ("history.enabled=false", lambda s: s.history.enabled is False),
    ],
)
def test_command_line_words(words, read):
    assert read(from_command_line(Settings(), [words]))


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("verify.timeuot", "verify.timeout"),
        ("verify.memory_mb", "verify.memoryMb"),
        ("turns", "refine.turns"),
        ("engine.candidates", "refine.candidates"),
        ("aply", "apply"),
    ],
)
def test_an_unknown_key_names_the_nearest(wrong, near):
    _, messages = merge(Settings(), {wrong: 1})
    assert f"Did you mean {near}?" in messages[0]
    with pytest.raises(SettingsError, match=f"Did you mean {near}"):
        from_command_line(Settings(), [f"{wrong}=1"])


def test_a_key_like_no_other_names_none():
    _, messages = merge(Settings(), {"xyzzy": 1})
    assert "Did you mean" not in messages[0]


@pytest.mark.parametrize("words", ["refine.turns", "refine.turn=2", "refine.turns=x", "=3"])
def test_a_wrong_word_on_the_command_line_raises(words):
    with pytest.raises(SettingsError):
        from_command_line(Settings(), [words])
