"""The upload journal: entries persist on disk, are locked by one process at a time, and abandoned ones are found."""

import errno
import json
import logging
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from apex_pipeline.errors import ApexError, StorageFullError, StorePermissionError
from apex_pipeline.storage.file_hashing import file_state_of
from apex_pipeline.storage.s3.upload.journal import JournalEntry, ObjectAddress, UploadJournal

_ADDRESS = ObjectAddress("http://127.0.0.1:9000", "races", "data/sebring/telemetry.csv")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "telemetry.csv"
    path.write_bytes(b"lap")
    return path


@pytest.fixture
def journal(tmp_path: Path) -> UploadJournal:
    return UploadJournal(tmp_path / "uploads", now_s=lambda: 1000.0)


def _entry(source: Path, begun_s: float = 1000.0) -> JournalEntry:
    return JournalEntry(_ADDRESS, str(source), file_state_of(source.stat()), "abc", 8, "crc32", "upload-1", begun_s)


def test_a_later_process_reads_the_entry(journal: UploadJournal, source: Path, tmp_path: Path) -> None:
    with journal.lock(_ADDRESS) as locked:
        assert locked.read() is None
        locked.write(_entry(source))
    with UploadJournal(tmp_path / "uploads").lock(_ADDRESS) as locked:
        assert locked.read() == _entry(source)
        locked.remove()
        locked.remove()
        assert locked.read() is None


def test_each_address_has_a_separate_entry(journal: UploadJournal, source: Path) -> None:
    with journal.lock(_ADDRESS) as locked:
        locked.write(_entry(source))
    for other in (replace(_ADDRESS, key="data/x"), replace(_ADDRESS, bucket="b"), replace(_ADDRESS, endpoint="AWS")):
        with journal.lock(other) as locked:
            assert locked.read() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"place": {}}', b"\xff", b"[" * 100_000])
def test_a_corrupt_journal_entry_is_ignored(
    journal: UploadJournal, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with journal.lock(_ADDRESS) as locked, caplog.at_level(logging.WARNING):
        (tmp_path / "uploads" / f"{_ADDRESS.name}.json").write_bytes(content)
        assert locked.read() is None
    assert "restarting the upload" in caplog.text


def test_an_entry_is_locked_by_one_holder_at_a_time(journal: UploadJournal) -> None:
    has_started, holders = threading.Event(), list[str]()

    def second() -> None:
        has_started.set()
        with journal.lock(_ADDRESS):
            holders.append("second")

    thread = threading.Thread(target=second)
    with journal.lock(_ADDRESS):
        thread.start()
        assert has_started.wait(10)
        holders.append("first")
    thread.join(10)
    assert holders == ["first", "second"]


@pytest.mark.parametrize("change", ["edited", "gone", "old"])
def test_an_abandoned_entry_is_found(journal: UploadJournal, source: Path, change: str) -> None:
    with journal.lock(_ADDRESS) as locked:
        locked.write(_entry(source, begun_s=1000.0 - (7 * 24 * 3600 if change == "old" else 0)))
    if change == "edited":
        source.write_bytes(b"another lap")
    elif change == "gone":
        source.unlink()
    found = list(journal.abandoned(_ADDRESS.endpoint, _ADDRESS.bucket))
    assert [entry.upload_id for entry, _ in found] == ["upload-1"]
    assert not list(journal.abandoned(_ADDRESS.endpoint, "other"))


def test_a_resumable_or_locked_entry_is_not_abandoned(journal: UploadJournal, source: Path) -> None:
    with journal.lock(_ADDRESS) as locked:
        locked.write(_entry(source))
        assert not list(journal.abandoned(_ADDRESS.endpoint, _ADDRESS.bucket))
        source.unlink()
        assert not list(journal.abandoned(_ADDRESS.endpoint, _ADDRESS.bucket))


def test_without_a_folder_there_are_no_entries(tmp_path: Path) -> None:
    assert not list(UploadJournal(tmp_path / "none").abandoned("x", "y"))


@pytest.mark.parametrize(
    "changes",
    [
        {"part_bytes": "8"},
        {"part_bytes": 0},
        {"upload_id": 7},
        {"begun_s": "yesterday"},
        {"sha256": None},
        {"path": 1},
        {"dialect": "crc64"},
        {"mark": ["a", "b", "c"]},
        {"mark": [1]},
        {"place": {"endpoint": 1, "bucket": 2, "key": 3}},
        {"unknown": 1},
    ],
    ids=str,
)
def test_an_entry_with_a_wrong_field_is_ignored(
    journal: UploadJournal, source: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    with journal.lock(_ADDRESS) as locked:
        locked.write(_entry(source))
        path = tmp_path / "uploads" / f"{_ADDRESS.name}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        assert locked.read() is None
    assert list(journal.abandoned(_ADDRESS.endpoint, _ADDRESS.bucket)) == []


def test_a_process_that_is_stopped_while_it_uploads_does_not_stop_the_others(
    journal: UploadJournal, source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("apex_pipeline.storage.s3.upload.journal._PATIENCE_S", 0.1)
    with journal.lock(_ADDRESS) as first, journal.lock(_ADDRESS) as second:
        first.write(_entry(source))
        assert second.read() is None
        second.write(replace(_entry(source), upload_id="upload-2"))
        assert first.read() == _entry(source)
        second.remove()
    assert "uploading it too" in caplog.text


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, StorageFullError), (errno.EROFS, StorePermissionError)],
    ids=["full", "read-only"],
)
@pytest.mark.parametrize("operation", ["mkdir", "open", "unlink"])
def test_a_folder_that_is_full_or_read_only_is_reported_with_its_setting(
    journal: UploadJournal,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    error: type[ApexError],
    operation: str,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    def use() -> None:
        with journal.lock(_ADDRESS) as locked:
            locked.write(_entry(source))
            locked.remove()

    if operation != "mkdir":
        with journal.lock(_ADDRESS):
            pass
    monkeypatch.setattr(Path, operation, refuse)
    with pytest.raises(error, match="upload journal") as raised:
        use()
    assert "APEX_STATE_DIR" in raised.value.hint
