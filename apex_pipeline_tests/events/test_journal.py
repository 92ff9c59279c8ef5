"""The journal gives back what was put into it, and one that is damaged or of another version is never a mere crash."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apex_pipeline.errors import StoreConfigError, StoreLockedError
from apex_pipeline.events.failures import ErrorClass
from apex_pipeline.events.folder import EventFile
from apex_pipeline.events.journal import Entry, EntryState, Journal, journal_path
from apex_pipeline_tests.events.harness import Harness

_FOLDER = Path("/rotated")
_ENTRY = Entry(
    *("20250729_161500.xml", 10, 5, EntryState.DELIVERED, 7, "ab", "xml-events/20250729_161500.xml", "etag", 2),
    ErrorClass.NETWORK,
    Path("/rotated/done/2025/07/29/20250729_161500.xml"),
    1.5,
)


def _file_of(entry: Entry) -> EventFile:
    return EventFile(entry.name, f"/rotated/{entry.name}", entry.size, entry.mtime_ns, 0)


def _opened(tmp_path: Path, folder: Path = _FOLDER) -> "closing[Journal]":
    return closing(Journal(journal_path(tmp_path), folder))


def _executed(tmp_path: Path, statement: str) -> None:
    with closing(sqlite3.connect(journal_path(tmp_path))) as connection, connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    "entry",
    [
        _ENTRY,
        Entry("caf\udce9.xml", 2**62, 2**62, EntryState.FAILED, updated_s=2.0),
        replace(_ENTRY, moved_to=Path("/rotated/\udcff")),
    ],
    ids=["full", "name of no encoding", "place of no encoding"],
)
def test_an_entry_comes_back_as_it_was_put(tmp_path: Path, entry: Entry) -> None:
    with _opened(tmp_path) as journal:
        journal.put(entry)
        assert journal.entry_of(_file_of(entry)) == entry
    with _opened(tmp_path) as journal:
        assert journal.entries() == [entry]
        assert journal.entry_of(_file_of(entry)) == entry


def test_a_later_entry_replaces_that_of_the_same_file_in_the_same_state(tmp_path: Path) -> None:
    with _opened(tmp_path) as journal:
        for entry in (_ENTRY, replace(_ENTRY, size=11), replace(_ENTRY, state=EntryState.DONE)):
            journal.put(entry)
        assert [entry.size for entry in journal.delivered()] == [11]
        assert journal.entry_of(_file_of(_ENTRY)) is None
        assert len(journal.entries()) == 2


def test_an_entry_without_a_time_gets_that_of_now(tmp_path: Path) -> None:
    with _opened(tmp_path) as journal:
        journal.put(replace(_ENTRY, updated_s=0.0))
        found = journal.entry_of(_file_of(_ENTRY))
        assert found is not None
        assert found.updated_s > 1e9
        assert journal.entries() == [found]


def test_folders_share_a_journal_and_see_their_own_entries(tmp_path: Path) -> None:
    with _opened(tmp_path) as journal, _opened(tmp_path, Path("/other")) as other:
        journal.put(_ENTRY)
        assert other.entries() == []
        other.put(replace(_ENTRY, size=1))
        assert journal.entries() == [_ENTRY]


def test_a_change_by_a_newer_version_that_adds_columns_is_no_obstacle(tmp_path: Path) -> None:
    with _opened(tmp_path):
        pass
    _executed(tmp_path, "ALTER TABLE files ADD COLUMN colour TEXT")
    with _opened(tmp_path) as journal:
        journal.put(_ENTRY)
        assert journal.entries() == [_ENTRY]


@pytest.mark.parametrize(
    "change", ["state = 'archived'", "error_class = 'gravity'", "size = 'large'", "mtime_ns = NULL", "state = NULL"]
)
def test_an_entry_that_cannot_be_read_is_told_with_the_next_step(tmp_path: Path, change: str) -> None:
    with _opened(tmp_path) as journal:
        journal.put(_ENTRY)
    # The key of the table refuses no value where the table was made without it.
    _executed(tmp_path, "ALTER TABLE files RENAME TO old")
    _executed(tmp_path, "CREATE TABLE files AS SELECT * FROM old")
    _executed(tmp_path, f"UPDATE files SET {change}")  # noqa: S608  -- our own
    with pytest.raises(StoreConfigError, match=r"cannot read.*move the journal away"), _opened(tmp_path):
        pass


def test_a_state_of_another_version_is_a_sentence_and_no_crash(harness: Harness) -> None:
    with closing(Journal(journal_path(harness.state_dir), harness.folder)) as journal:
        journal.put(_ENTRY)
    _executed(harness.state_dir, "UPDATE files SET state = 'archived'")
    with pytest.raises(StoreConfigError, match="'archived' is not a valid EntryState"):
        harness.ship()


def test_a_journal_that_another_process_writes_for_too_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.events.journal._BUSY_S", 0.05)
    with _opened(tmp_path) as journal, closing(sqlite3.connect(journal_path(tmp_path))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLockedError):
            journal.put(_ENTRY)


def test_a_folder_in_the_place_of_the_journal_is_told(tmp_path: Path) -> None:
    journal_path(tmp_path).mkdir()
    with pytest.raises(StoreConfigError), _opened(tmp_path):
        pass


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_journal_is_made_again_or_told(tmp_path: Path, data: st.DataObject) -> None:
    database = journal_path(tmp_path)
    for path in tmp_path.glob("events*"):
        path.unlink()
    with _opened(tmp_path) as journal:
        for number in range(150):
            journal.put(replace(_ENTRY, name=f"{number}.xml"))
    content = bytearray(database.read_bytes())
    assert len(content) > 20_000
    at = data.draw(st.integers(0, len(content)))
    if data.draw(st.booleans()):
        del content[at:]
    else:
        content[at : at + 4_000] = data.draw(st.binary(min_size=1, max_size=8)) * 500
    database.write_bytes(content)
    try:
        with _opened(tmp_path) as journal:
            journal.put(replace(_ENTRY, name="new.xml"))
            journal.entries()
    except StoreConfigError:
        pass  # what no check at the start finds; the message says what to do
