"""Tests of what a sync may remember: what never changes, and what only the holder of a session's lease writes."""

from pathlib import Path

import pytest

from apex_pipeline.lake.remembered import remembering_session, remembering_snapshots
from apex_pipeline.lake.snapshot import is_snapshot_part
from apex_pipeline.lake.tables import require_session, require_snapshot
from apex_pipeline.storage.layout import (
    CURRENT_SNAPSHOT_KEY,
    SNAPSHOTS_PREFIX,
    derived_key,
    object_key,
    record_key,
    snapshot_key,
)
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import publish_tables

_R1, _R2 = SessionKey("spa", "R1"), SessionKey("spa", "R2")


@pytest.fixture
def published(store: LocalStore) -> LocalStore:
    publish_tables(store, _R1, laps=2)
    publish_tables(store, _R2, laps=3)
    return store


def _parts(store: LocalStore) -> list[str]:
    return [item.key for item in store.list(SNAPSHOTS_PREFIX)]


def test_the_parts_of_a_snapshot_are_remembered(published: LocalStore) -> None:
    assert len(_parts(published)) == 6  # two snapshots, each with a shard, and two records
    assert all(is_snapshot_part(key, published.read_bytes(key)) for key in _parts(published))
    assert not is_snapshot_part(CURRENT_SNAPSHOT_KEY, published.read_bytes(CURRENT_SNAPSHOT_KEY))


def test_a_damaged_part_is_not_remembered(published: LocalStore) -> None:
    for key in _parts(published):
        content = published.read_bytes(key)
        assert not is_snapshot_part(key, content.replace(b"1", b"3", 1))
        assert not is_snapshot_part(key, b"{")


def test_a_snapshot_is_not_remembered_under_the_name_of_another(published: LocalStore) -> None:
    first, second = (published.read_bytes(key) for key in _parts(published) if key.startswith(SNAPSHOTS_PREFIX + "2"))
    assert not is_snapshot_part(snapshot_key("20200101T000000Z-00000000"), first)
    assert first != second


def test_a_sync_sees_what_others_publish_meanwhile(published: LocalStore) -> None:
    store = remembering_snapshots(published)
    before = require_snapshot(store)
    publish_tables(published, _R2, laps=9)
    after = require_snapshot(store)
    assert after != before
    assert after == require_snapshot(published)


def test_a_session_remembers_its_own_record_and_list_and_no_other(published: LocalStore) -> None:
    store = remembering_session(published, _R1, None, {})
    own, others = [record_key(str(_R1)), derived_key(str(_R1))], [record_key(str(_R2)), derived_key(str(_R2))]
    for key in [*own, *others]:
        published.write_bytes(key, b"before")
        store.read_bytes(key)
        store.read_with_tag(key)
        published.write_bytes(key, b"after")
    assert [store.read_bytes(key) for key in own] == [b"before"] * 2
    assert [store.read_bytes(key) for key in others] == [b"after"] * 2


def test_an_object_is_remembered_only_with_the_content_that_its_name_says(
    published: LocalStore, tmp_path: Path
) -> None:
    store, path = remembering_session(published, _R1, None, {}), tmp_path / "table"
    path.write_bytes(b"rows")
    store.write_file(object_key("0" * 64), path)
    published.write_bytes(object_key("0" * 64), b"other")
    assert store.read_bytes(object_key("0" * 64)) == b"other"


def test_the_published_objects_of_a_session_are_kept(published: LocalStore, tmp_path: Path) -> None:
    session = require_session(require_snapshot(published), _R1)
    listing = {item.key: item for item in published.list()}
    store, path, record = remembering_session(published, _R1, session, listing), tmp_path / "t", session.tables["laps"]
    key = object_key(record.sha256)
    path.write_bytes(published.read_bytes(key))
    published.delete(key)
    assert store.write_file(key, path, sha256=record.sha256).sha256 == record.sha256
    assert published.head(key) is None  # nothing was sent
