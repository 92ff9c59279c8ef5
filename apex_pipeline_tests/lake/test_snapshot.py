"""Tests of reading snapshots: from the pointer down to the tables, and nothing damaged is used."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from apex_pipeline.errors import StoreCorruptionError
from apex_pipeline.lake.publication import Change, publish, publish_session
from apex_pipeline.lake.records import require_record
from apex_pipeline.lake.snapshot import (
    Snapshot,
    list_snapshot_keys,
    parse_snapshot,
    read_current,
    read_snapshot,
    snapshot_parts,
)
from apex_pipeline.storage.layout import (
    CURRENT_SNAPSHOT_KEY,
    PUBLISHED_PREFIX,
    SHARDS_PREFIX,
    SNAPSHOTS_PREFIX,
    object_key,
    published_session_key,
    shard_key,
    snapshot_key,
)
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import RACE_TABLES
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import NOON, publish_tables

_R1, _R2 = SessionKey("spa", "R1"), SessionKey("spa", "R2")


def _current(store: LocalStore) -> Snapshot:
    snapshot = read_current(store)
    assert snapshot is not None
    return snapshot


def test_an_empty_lake_has_no_published_snapshot(store: LocalStore) -> None:
    assert read_current(store) is None


def test_a_published_snapshot_names_every_table_by_its_hash(store: LocalStore) -> None:
    published = publish_tables(store, _R1, laps=3)
    assert _current(store) == published
    record = _current(store).session(_R1)
    assert record is not None
    assert set(record.tables) == {table.name for table in RACE_TABLES}
    assert (record.tables["laps"].rows, record.inputs_version) == (3, "v1")
    for table in record.tables.values():
        facts = store.head(object_key(table.sha256))
        assert facts is not None
        assert (facts.sha256, facts.size) == (table.sha256, table.bytes)


def test_a_session_that_is_not_published_has_no_record(store: LocalStore) -> None:
    publish_tables(store, _R1)
    assert _current(store).session(_R2) is None


def test_publishing_the_same_state_again_writes_nothing(store: LocalStore) -> None:
    first = publish_tables(store, _R1)
    before = {item.key: item.tag for item in store.list(SNAPSHOTS_PREFIX) if item.key.count("/") == 2}
    assert publish_session(store, require_record(store, _R1), NOON) == first
    found = {item.key: item.tag for item in store.list(SNAPSHOTS_PREFIX) if item.key.count("/") == 2}
    assert found == before


def test_a_snapshot_names_the_one_it_replaced(store: LocalStore) -> None:
    first = publish_tables(store, _R1)
    assert publish_tables(store, _R2).parent == first.id


def test_the_parts_of_a_snapshot_are_its_documents_and_objects(store: LocalStore) -> None:
    publish_tables(store, _R1)
    snapshot = _current(store)
    parts = set(snapshot_parts(snapshot))
    entry = snapshot.entry(_R1)
    assert entry is not None
    assert {shard_key(snapshot.shards[0]), published_session_key(entry.record)} < parts
    assert all(store.head(key) for key in parts)


def test_only_snapshots_are_listed_as_such(store: LocalStore) -> None:
    snapshot = publish_tables(store, _R1)
    assert list_snapshot_keys(item.key for item in store.list(SNAPSHOTS_PREFIX)) == [snapshot_key(snapshot.id)]


def test_a_pointer_to_a_missing_snapshot_raises_with_a_hint(store: LocalStore) -> None:
    store.write_bytes(CURRENT_SNAPSHOT_KEY, json.dumps({"snapshot": "gone"}).encode())
    with pytest.raises(StoreCorruptionError, match=r"gone\.json is missing.*Run `apex sync`"):
        read_current(store)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\xff", b'{"snapshot": "../../etc/passwd"}', b'{"snapshot": 7}', b"[" * 100_000]
)
def test_a_damaged_pointer_raises(store: LocalStore, content: bytes) -> None:
    store.write_bytes(CURRENT_SNAPSHOT_KEY, content)
    with pytest.raises(StoreCorruptionError, match=r"current\.json is damaged"):
        read_current(store)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"format": 2}',
        b'{"format": "2"}',
        b'{"format": 2, "id": "a", "created_utc": "b", "parent": null, "shards": ["../x"]}',
    ],
)
def test_a_damaged_snapshot_raises(store: LocalStore, content: bytes) -> None:
    store.write_bytes(snapshot_key("a"), content)
    with pytest.raises(StoreCorruptionError):
        read_snapshot(store, snapshot_key("a"))


def test_a_snapshot_of_a_later_format_is_refused(store: LocalStore) -> None:
    published = publish_tables(store, _R1)
    later = json.loads(store.read_bytes(snapshot_key(published.id))) | {"format": 99}
    with pytest.raises(StoreCorruptionError, match=r"format 99.*Update apex_pipeline"):
        parse_snapshot(store, json.dumps(later).encode(), "it")


def test_a_damaged_shard_raises_and_is_named(store: LocalStore) -> None:
    shard = publish_tables(store, _R1).shards[0]
    store.write_bytes(shard_key(shard), b'{"sessions": {}}')
    with pytest.raises(StoreCorruptionError, match=shard):
        _current(store).session(_R1)


def test_a_record_of_another_session_is_not_used(store: LocalStore) -> None:
    """Somebody copies a published record over another one: its digest shows it."""
    publish_tables(store, _R1)
    publish_tables(store, _R2)
    entries = _current(store).entries
    store.copy(published_session_key(entries[_R2].record), published_session_key(entries[_R1].record))
    with pytest.raises(StoreCorruptionError, match="differs from its digest"):
        _current(store).session(_R1)


@pytest.fixture
def reads(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the documents read from now on."""
    keys: list[str] = []
    read = LocalStore.read_with_tag

    def record(self: LocalStore, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        keys.append(key)
        return read(self, key, limit)

    monkeypatch.setattr(LocalStore, "read_with_tag", record)
    return keys


def test_one_session_is_read_with_four_documents(store: LocalStore, reads: list[str]) -> None:
    session = publish_tables(store, _R1).session(_R1)
    assert session is not None
    others = [replace(session, session=f"P{number}") for number in range(80)]
    assert len(publish(store, {other.key: Change(other) for other in others}, NOON).shards) == 8
    reads.clear()
    snapshot = read_current(store)
    assert snapshot is not None
    assert snapshot.session(_R1) is not None
    assert len(reads) == 4
    assert [key.startswith(prefix) for key, prefix in zip(reads[2:], (SHARDS_PREFIX, PUBLISHED_PREFIX), strict=True)]
    assert snapshot.session(_R1) is not None
    assert len(reads) == 4


@pytest.mark.parametrize("field", ["id", "created_utc", "parent", "shards", "note"])
def test_a_changed_field_of_a_snapshot_is_noticed(store: LocalStore, field: str) -> None:
    published = publish_tables(store, _R1)
    key = snapshot_key(published.id)
    document = json.loads(store.read_bytes(key))
    other = {"shards": ["0" * 64], "created_utc": "2026-11-21T13:00:00Z"}.get(field, "20261121T120000Z-00000000")
    store.write_bytes(key, json.dumps(document | {field: other}).encode())
    with pytest.raises(StoreCorruptionError, match="its id is not that of its content"):
        read_current(store)


def test_a_snapshot_under_the_name_of_another_one_is_refused(store: LocalStore) -> None:
    first, second = publish_tables(store, _R1), publish_tables(store, _R2)
    store.copy(snapshot_key(first.id), snapshot_key(second.id))
    with pytest.raises(StoreCorruptionError, match=f"holds another snapshot, {first.id}"):
        read_current(store)


@pytest.mark.parametrize("prefix", [SHARDS_PREFIX, PUBLISHED_PREFIX])
@pytest.mark.parametrize("damage", ["missing", "flipped", "truncated", "other"])
def test_a_damaged_part_raises_and_names_itself(store: LocalStore, prefix: str, damage: str) -> None:
    published = publish_tables(store, _R1)
    (part,) = store.list(prefix)
    path = Path(store.uri_of(part.key))
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        half = len(content) // 2
        flipped = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
        path.write_bytes({"flipped": flipped, "truncated": content[:half], "other": b"{}"}[damage])
    current = read_current(store)
    assert current == published
    assert current is not None
    with pytest.raises(StoreCorruptionError, match=part.key.rpartition("/")[2]):
        current.session(_R1)
