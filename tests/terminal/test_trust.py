"""`oci-lsp trust`: what it lists, adds and takes back."""

from __future__ import annotations

from oci_lsp import trust
from oci_lsp.cli import main


def test_a_folder_is_trusted_listed_and_revoked(tmp_path, capsys):
    assert main(["trust"]) == 0
    assert capsys.readouterr().out == "No folder is trusted yet.\n"
    assert main(["trust", str(tmp_path)]) == 0
    assert trust.is_trusted(tmp_path / "inner")
    capsys.readouterr()
    assert main(["trust"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}\n"
    assert main(["trust", "--revoke", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"No longer trusted: {tmp_path}\n"
    assert trust.folders() == ()


def test_wrong_words_say_what_to_do(tmp_path, capsys):
    assert main(["trust", str(tmp_path / "none")]) == 2
    assert "`oci-lsp trust .`" in capsys.readouterr().err
    assert main(["trust", "--revoke"]) == 2
    assert "--revoke FOLDER" in capsys.readouterr().err


def test_what_may_not_be_read_is_told_in_one_line(tmp_path, capsys, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(["settings"]) == 2
    assert capsys.readouterr().err.startswith("oci-lsp: ")
