"""Tests that tables are readable as published, and that a derivation reads what was made from the present files."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from apex_pipeline.errors import ObjectMissingError, StoreCorruptionError, UnreadableTableError
from apex_pipeline.lake.objects import read_table_file, table_file_key
from apex_pipeline.lake.publication import Change, publish
from apex_pipeline.lake.published_session import PublishedSession
from apex_pipeline.lake.tables import derived_table, require_session, require_snapshot, session_table
from apex_pipeline.storage.layout import history_key, object_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import CARS, LAPS
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import NOON, derive_tables, laps_of, parquet_bytes, publish_tables, put_objects

_R1 = SessionKey("spa", "R1")


def _published(store: LocalStore) -> PublishedSession:
    publish_tables(store, _R1, laps=3)
    return require_session(require_snapshot(store), _R1)


def test_a_published_table_is_read_completely(store: LocalStore) -> None:
    table = session_table(store, _published(store), LAPS)
    assert (table.num_rows, LAPS.violations(table)) == (3, [])


def test_what_happens_to_a_stable_name_changes_nothing(store: LocalStore) -> None:
    record = _published(store).tables["laps"]
    store.write_bytes(record.key, b"somebody else's")
    assert read_table_file(store, record).num_rows == 3


def test_a_table_that_is_no_longer_in_the_lake_raises(store: LocalStore) -> None:
    record = _published(store).tables["laps"]
    store.delete(object_key(record.sha256))
    store.delete(record.key)
    with pytest.raises(ObjectMissingError, match=r"laps\.parquet, is missing or damaged.*Run `apex sync`"):
        read_table_file(store, record)


def test_a_session_published_without_the_table_raises(store: LocalStore) -> None:
    session = _published(store)
    older = replace(session, tables={name: record for name, record in session.tables.items() if name != "cars"})
    with pytest.raises(ObjectMissingError, match=r"spa/R1 was published without the table cars\. Run a sync"):
        session_table(store, older, CARS)


def test_an_empty_lake_raises(store: LocalStore) -> None:
    with pytest.raises(ObjectMissingError, match=r"Nothing is published .*apex sync"):
        require_snapshot(store)


def test_the_error_for_an_unpublished_session_lists_the_published_ones(store: LocalStore) -> None:
    _published(store)
    with pytest.raises(ObjectMissingError, match=r"spa/R2 is not published\. Published sessions: spa/R1"):
        require_session(require_snapshot(store), SessionKey("spa", "R2"))


def test_a_derivation_reads_the_table_of_the_present_files(store: LocalStore) -> None:
    _published(store)
    assert derived_table(store, LAPS, _R1).rows == 3
    derive_tables(store, _R1, "v2", laps=5, only=["laps"])
    assert derived_table(store, LAPS, _R1).rows == 5


def test_a_derivation_never_reads_a_table_of_other_files(store: LocalStore) -> None:
    _published(store)
    derive_tables(store, _R1, "v2", only=["laps"])
    with pytest.raises(ObjectMissingError, match=r"cars of the session spa/R1.*Materialize the asset tables/cars"):
        derived_table(store, CARS, _R1)


def test_a_session_without_a_record_has_no_derived_table(store: LocalStore) -> None:
    with pytest.raises(ObjectMissingError, match=r"spa/R1 has no record.*lake/session"):
        derived_table(store, LAPS, _R1)


@pytest.mark.parametrize("place", ["stable", "history"])
def test_without_its_object_a_table_is_read_where_format_1_has_it(store: LocalStore, place: str) -> None:
    record = _published(store).tables["laps"]
    at = record.key if place == "stable" else history_key(record.sha256)
    store.copy(object_key(record.sha256), at)
    store.delete(object_key(record.sha256))
    if place == "history":
        store.delete(record.key)
    assert table_file_key(store, record) == at
    assert read_table_file(store, record).num_rows == 3


def test_a_flipped_bit_is_never_read(store: LocalStore) -> None:
    record = _published(store).tables["laps"]
    path = Path(store.uri_of(object_key(record.sha256)))
    content = path.read_bytes()
    store.delete(record.key)
    for place in range(0, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises((ObjectMissingError, StoreCorruptionError)):
            read_table_file(store, record)


def test_a_file_that_has_its_digest_but_is_not_parquet_is_unreadable_and_not_damaged(
    store: LocalStore,
) -> None:
    content = b"not a table"
    sha256 = hashlib.sha256(content).hexdigest()
    store.write_bytes(object_key(sha256), content)
    record = replace(_published(store).tables["laps"], sha256=sha256, bytes=len(content))
    with pytest.raises(UnreadableTableError, match="cannot be read"):
        read_table_file(store, record)


def test_the_error_lists_none_if_no_session_is_published(store: LocalStore) -> None:
    _published(store)
    snapshot = publish(store, {_R1: Change(None)}, NOON)
    with pytest.raises(ObjectMissingError, match=r"Published sessions: none"):
        require_session(snapshot, _R1)


def test_an_old_object_is_written_again_because_gc_may_be_about_to_remove_it(store: LocalStore) -> None:
    contents = {"laps": parquet_bytes(laps_of(_R1, laps=2))}
    record = put_objects(store, _R1, contents)["laps"]
    key = object_key(record.sha256)
    old = Path(store.uri_of(key)).stat()
    os.utime(store.uri_of(key), (old.st_mtime - 3600, old.st_mtime - 3600))
    assert put_objects(store, _R1, contents)["laps"] == record
    assert Path(store.uri_of(key)).stat().st_mtime > old.st_mtime - 60


def test_an_old_large_object_that_the_session_uses_is_not_written_again(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.lake.objects._SINGLE_READ_BYTES", 10)
    key = object_key(_published(store).tables["laps"].sha256)
    path = Path(store.uri_of(key))
    before = path.stat()
    os.utime(path, (before.st_mtime - 3600, before.st_mtime - 3600))
    put_objects(store, _R1, {"laps": parquet_bytes(laps_of(_R1, laps=3))})
    assert path.stat().st_mtime == before.st_mtime - 3600
    publish(store, {_R1: Change(None)}, NOON)
    put_objects(store, _R1, {"laps": parquet_bytes(laps_of(_R1, laps=3))})
    assert path.stat().st_mtime > before.st_mtime - 60
