"""Tests of snapshots: published atomically, built from the store, and consistent for each session."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from apex_pipeline.errors import StoreCorruptionError
from apex_pipeline.lake.snapshot import Snapshot, parse_snapshot, publish, read_current
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, snapshot_key, snapshot_table_key, table_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import CATALOG_TABLES, RACE_TABLES
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import put_catalog, put_session, sessions_table

_NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
_R1 = SessionKey("spa", "R1")
_R2 = SessionKey("spa", "R2")


def _publish(store: LocalStore, versions: dict[SessionKey, str], *, minutes: int = 0) -> Snapshot:
    sessions = sessions_table(versions)
    put_catalog(store, sessions)
    return publish(store, sessions, _NOON + timedelta(minutes=minutes))


def test_an_empty_lake_has_no_published_snapshot(store: LocalStore) -> None:
    assert read_current(store) is None


def test_a_published_snapshot_names_every_table_by_its_hash(store: LocalStore) -> None:
    put_session(store, _R1, "v1", laps=3)
    published = _publish(store, {_R1: "v1"})
    assert read_current(store) == published
    record = published.session(_R1)
    assert record is not None
    assert set(record.tables) == {table.name for table in RACE_TABLES}
    assert (record.tables["laps"].rows, record.inputs_version) == (3, "v1")
    assert set(published.catalog) == {table.name for table in CATALOG_TABLES}
    for table in record.tables.values():
        facts = store.head(table.key)
        assert facts is not None
        assert facts.sha256 == table.sha256


def test_publishing_the_same_state_again_writes_nothing(store: LocalStore) -> None:
    put_session(store, _R1, "v1")
    first = _publish(store, {_R1: "v1"})
    before = {item.key: item.tag for item in store.list()}
    assert publish(store, sessions_table({_R1: "v1"}), _NOON + timedelta(hours=1)) == first
    assert {item.key: item.tag for item in store.list()} == before


def test_a_snapshot_keeps_its_own_copy_of_the_catalog(store: LocalStore) -> None:
    put_session(store, _R1, "v1")
    first = _publish(store, {_R1: "v1"})
    copy_key = snapshot_table_key(first.id, "sessions")
    before = store.read_bytes(copy_key)
    put_session(store, _R2, "v1")
    second = _publish(store, {_R1: "v1", _R2: "v1"}, minutes=1)
    assert second.parent == first.id
    assert store.read_bytes(copy_key) == before != store.read_bytes(snapshot_table_key(second.id, "sessions"))


@pytest.mark.parametrize("replaced", [["laps"], ["laps", "telemetry", "weather"]])
def test_a_session_partly_derived_from_new_inputs_keeps_its_published_tables(
    store: LocalStore, replaced: list[str]
) -> None:
    put_session(store, _R1, "v1", laps=3)
    first = _publish(store, {_R1: "v1"})
    put_session(store, _R1, "v2", laps=5, only=replaced)
    second = _publish(store, {_R1: "v2"}, minutes=1)
    assert second.session(_R1) == first.session(_R1)


def test_a_session_with_missing_tables_is_not_published(store: LocalStore) -> None:
    put_session(store, _R1, "v1", only=["laps"])
    assert _publish(store, {_R1: "v1"}).sessions == ()


def test_a_session_without_an_inputs_version_is_not_published(store: LocalStore) -> None:
    put_session(store, _R1, "")
    assert _publish(store, {_R1: "v1"}).sessions == ()


def test_a_pointer_to_a_missing_snapshot_raises_with_a_hint(store: LocalStore) -> None:
    store.write_bytes(CURRENT_SNAPSHOT_KEY, json.dumps({"snapshot": "gone"}).encode())
    with pytest.raises(StoreCorruptionError, match=r"current\.json does not name a readable snapshot.*run a sync"):
        read_current(store)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff"])
def test_a_damaged_pointer_raises(store: LocalStore, content: bytes) -> None:
    store.write_bytes(CURRENT_SNAPSHOT_KEY, content)
    with pytest.raises(StoreCorruptionError):
        read_current(store)


def test_a_snapshot_of_a_later_format_is_refused(store: LocalStore) -> None:
    put_session(store, _R1, "v1")
    published = _publish(store, {_R1: "v1"})
    later = json.loads(store.read_bytes(snapshot_key(published.id))) | {"format": 99}
    with pytest.raises(ValueError, match="later format"):
        parse_snapshot(json.dumps(later).encode())


def test_a_session_with_a_missing_table_file_stays_published(store: LocalStore) -> None:
    put_session(store, _R1, "v1")
    first = _publish(store, {_R1: "v1"})
    store.delete(table_key("tables", "laps", str(_R1)))
    assert _publish(store, {_R1: "v1"}, minutes=1).session(_R1) == first.session(_R1)


def test_a_session_without_an_optional_table_is_published(store: LocalStore) -> None:
    put_session(store, _R1, "v1", only=[table.name for table in RACE_TABLES if table.name != "weather"])
    record = _publish(store, {_R1: "v1"}).session(_R1)
    assert record is not None
    assert set(record.tables) == {table.name for table in RACE_TABLES} - {"weather"}


def test_a_session_whose_optional_table_is_gone_stays_published_with_it(store: LocalStore) -> None:
    put_session(store, _R1, "v1")
    first = _publish(store, {_R1: "v1"})
    store.delete(table_key("tables", "weather", str(_R1)))
    put_session(store, _R2, "v1")
    assert _publish(store, {_R1: "v1", _R2: "v1"}, minutes=1).session(_R1) == first.session(_R1)


def test_a_snapshot_without_the_names_of_sources_is_read(store: LocalStore) -> None:
    put_session(store, _R1, "v1")
    published = _publish(store, {_R1: "v1"})
    document = json.loads(store.read_bytes(snapshot_key(published.id)))
    for record in document["sessions"]:
        del record["sources"]
    assert [record.sources for record in parse_snapshot(json.dumps(document).encode()).sessions] == [()]


def test_an_optional_table_left_from_other_inputs_is_not_published(store: LocalStore) -> None:
    put_session(store, _R1, "v1")
    _publish(store, {_R1: "v1"})
    put_session(store, _R1, "v2", only=[table.name for table in RACE_TABLES if table.name != "weather"])
    record = _publish(store, {_R1: "v2"}, minutes=1).session(_R1)
    assert record is not None
    assert record.inputs_version == "v2"
    assert set(record.tables) == {table.name for table in RACE_TABLES} - {"weather"}
