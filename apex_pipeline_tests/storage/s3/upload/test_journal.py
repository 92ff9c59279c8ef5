"""Notes on uploads: kept on disk, one holder at a time, and those nobody will go on with are found."""

import logging
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from apex_pipeline.storage.file_hashing import file_state_of
from apex_pipeline.storage.s3.upload.journal import JournalEntry, ObjectAddress, UploadJournal

_PLACE = ObjectAddress("http://127.0.0.1:9000", "races", "data/sebring/telemetry.csv")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "telemetry.csv"
    path.write_bytes(b"lap")
    return path


@pytest.fixture
def journal(tmp_path: Path) -> UploadJournal:
    return UploadJournal(tmp_path / "uploads", now_s=lambda: 1000.0)


def _note(source: Path, begun_s: float = 1000.0) -> JournalEntry:
    return JournalEntry(_PLACE, str(source), file_state_of(source.stat()), "abc", 8, "crc32", "upload-1", begun_s)


def test_a_note_is_read_back_by_a_later_process(journal: UploadJournal, source: Path, tmp_path: Path) -> None:
    with journal.hold(_PLACE) as held:
        assert held.read() is None
        held.write(_note(source))
    with UploadJournal(tmp_path / "uploads").hold(_PLACE) as held:
        assert held.read() == _note(source)
        held.remove()
        held.remove()
        assert held.read() is None


def test_another_place_has_another_note(journal: UploadJournal, source: Path) -> None:
    with journal.hold(_PLACE) as held:
        held.write(_note(source))
    for other in (replace(_PLACE, key="data/x"), replace(_PLACE, bucket="b"), replace(_PLACE, endpoint="AWS")):
        with journal.hold(other) as held:
            assert held.read() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"place": {}}', b"\xff"])
def test_a_damaged_note_is_no_note(
    journal: UploadJournal, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with journal.hold(_PLACE) as held, caplog.at_level(logging.WARNING):
        (tmp_path / "uploads" / f"{_PLACE.name}.json").write_bytes(content)
        assert held.read() is None
    assert "begun again" in caplog.text


def test_two_never_hold_the_same_note(journal: UploadJournal) -> None:
    is_held, holders = threading.Event(), list[str]()

    def second() -> None:
        is_held.set()
        with journal.hold(_PLACE):
            holders.append("second")

    thread = threading.Thread(target=second)
    with journal.hold(_PLACE):
        thread.start()
        assert is_held.wait(10)
        holders.append("first")
    thread.join(10)
    assert holders == ["first", "second"]


@pytest.mark.parametrize("change", ["edited", "gone", "old"])
def test_a_note_nobody_will_go_on_with_is_found(journal: UploadJournal, source: Path, change: str) -> None:
    with journal.hold(_PLACE) as held:
        held.write(_note(source, begun_s=1000.0 - (7 * 24 * 3600 if change == "old" else 0)))
    if change == "edited":
        source.write_bytes(b"another lap")
    elif change == "gone":
        source.unlink()
    found = list(journal.abandoned(_PLACE.endpoint, _PLACE.bucket))
    assert [note.upload_id for note, _ in found] == ["upload-1"]
    assert not list(journal.abandoned(_PLACE.endpoint, "other"))


def test_a_note_that_may_be_gone_on_with_or_is_held_is_left_alone(journal: UploadJournal, source: Path) -> None:
    with journal.hold(_PLACE) as held:
        held.write(_note(source))
        assert not list(journal.abandoned(_PLACE.endpoint, _PLACE.bucket))
        source.unlink()
        assert not list(journal.abandoned(_PLACE.endpoint, _PLACE.bucket))


def test_without_a_folder_there_are_no_notes(tmp_path: Path) -> None:
    assert not list(UploadJournal(tmp_path / "none").abandoned("x", "y"))
