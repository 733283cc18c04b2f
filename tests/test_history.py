"""Transcripts on disk: private, whole or not there, bounded, and readable whatever lies there."""

from __future__ import annotations

import os
import stat
import time

import pytest

from oci_lsp import history
from oci_lsp.errors import HistoryError
from oci_lsp.paths import history_dir, pages_dir
from oci_lsp.settings import HistorySettings


def job(name: str, **more: object) -> dict[str, object]:
    return {"type": "job", "id": name, "outcome": "passed", "created": 1.0, **more}


def keep(name: str, *, enabled: bool = True, most: int = 500, **more: object):
    return history.save(name, [job(name, **more)], HistorySettings(enabled, most))


def ids() -> list[str]:
    return [entry.id for entry in history.entries()]


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_transcript_is_private_and_comes_back_as_it_was():
    odd = {"type": "message", "content": "half an emoji \ud83d, a separator \u2028, a null \0\r\n"}
    path = history.save("a1", [job("a1"), odd], HistorySettings())
    assert path is not None
    assert history.load(path) == [job("a1"), odd]
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_folder_that_was_open_to_others_is_closed():
    place = history_dir()
    place.chmod(0o755)
    keep("a1")
    assert mode(place) == 0o700


def test_the_newest_comes_first_and_the_oldest_beyond_the_limit_go():
    for number in range(5):
        keep(f"job{number}", most=3)
    assert ids() == ["job4", "job3", "job2"]


def test_a_great_many_bytes_go_from_the_oldest_on():
    for number in range(3):
        path = keep(f"job{number}")
        with path.open("r+b") as file:
            # Without blocks on the disk, yet of that size.
            file.truncate(100 * 1024**2)
    keep("last")
    assert ids() == ["last", "job2", "job1"]


def test_off_keeps_nothing():
    assert keep("a1", enabled=False) is None
    assert ids() == []


def test_what_a_killed_process_left_half_written_is_swept_later():
    old, young = (history_dir() / f"{name}.jsonl.partial" for name in ("old", "young"))
    for path in (old, young):
        path.write_text('{"type": "job"')
    os.utime(old, (time.time() - 3600,) * 2)
    keep("a1")
    assert (old.exists(), young.exists()) == (False, True)
    assert ids() == ["a1"]


def test_records_that_cannot_be_made_leave_nothing():
    def broken():
        yield job("a1")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        history.save("a1", broken(), HistorySettings())
    assert list(history_dir().iterdir()) == []


def test_broken_lines_are_left_out():
    path = keep("a1")
    with path.open("ab") as file:
        file.write(b'\xff\xfe\n[]\n7\n{}\n{"type": 1}\n{"type": "message"}\n' + b"[" * 100_000)
        file.write(b'\n{"type": "attempt", "co')
    assert history.load(path) == [job("a1"), {"type": "message"}]


@pytest.mark.parametrize(
    "content", [b"", b"\xff\n", b"{}\n", b'{"type": "task"}\n', b'{"type": "job"', b"x" * 100_000]
)
def test_a_file_that_does_not_begin_with_a_job_is_passed_over(content):
    path = keep("bad")
    keep("good")
    path.write_bytes(content)
    assert ids() == ["good"]
    with pytest.raises(HistoryError, match="not a transcript"):
        history.load(path)


def test_strange_values_in_a_first_line_do_not_stop_the_list():
    created = float("nan")
    keep("a1", root=1, path=None, attempts="many", seconds=[], target={}, model=0, created=created)
    keep("b2", created=1e300)
    far, entry = history.entries()
    assert abs(far.created - time.time()) < 60 and abs(entry.created - time.time()) < 60
    assert (entry.root, entry.attempts, entry.seconds, entry.model) == ("", 0, 0.0, "")


def test_what_is_not_ours_is_neither_listed_nor_deleted():
    other = history_dir() / "notes.jsonl"
    other.write_text('{"type": "job"}\n')
    keep("a1", most=1)
    assert ids() == ["a1"]
    assert history.clear() == 1
    assert other.exists()


def test_a_job_is_found_by_its_id_its_beginning_or_as_the_last():
    for name in ("abc1", "abd2", "xyz3"):
        keep(name)
    assert history.find("abc1").id == "abc1"
    assert history.find("x").id == "xyz3"
    assert history.find("last").id == "xyz3"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ab", r"(?s)2 jobs begin with 'ab'.*Write more of it.*abd2.*abc1"),
        ("abx1", r"(?s)no job 'abx1'.*Near it:\n  abc1 .*history list"),
        ("zzzz", r"(?s)no job 'zzzz'.*The last ones:\n  abd2 .*history list"),
        ("", "no job ''"),
    ],
)
def test_an_id_that_is_none_is_told_with_what_to_do(words, said):
    keep("abc1")
    keep("abd2")
    with pytest.raises(HistoryError, match=said):
        history.find(words)


def test_with_no_job_yet_it_is_said_how_one_is_recorded():
    with pytest.raises(HistoryError, match=r"(?s)No job has been recorded yet.*oci-lsp fix"):
        history.find("last")


def test_clear_takes_transcripts_pages_and_half_written_ones():
    keep("a1")
    keep("b2")
    (pages_dir() / "a1.md").write_text("secret")
    (history_dir() / "c3.jsonl.partial").write_text("secret")
    assert history.clear() == 2
    assert [path for path in history_dir().parent.rglob("*") if path.is_file()] == []
