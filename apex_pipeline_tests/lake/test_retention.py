"""Tests that only expired objects are deleted, and that every kept state of the lake stays readable."""

import os
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apex_pipeline.errors import ConfigurationError, StoreCorruptionError
from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.lake.retention import ExpiredObjects, Retention, find_expired, remove_expired
from apex_pipeline.lake.snapshot import (
    Snapshot,
    list_snapshot_keys,
    publish,
    read_current,
    read_snapshot,
    snapshot_copies,
    snapshot_tables,
)
from apex_pipeline.lake.tables import published_key
from apex_pipeline.orchestration.io_manager import publish_file
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import history_key, snapshot_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.conftest import open_lake
from apex_pipeline_tests.lake.tables import put_catalog, put_session, sessions_table
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.s3.harness import connect, store_of

_R1 = SessionKey("spa", "R1")
_MONTH = Retention(snapshots=timedelta(days=30), unfinished=timedelta(hours=24))
_NOTHING_KEPT = Retention(snapshots=timedelta(0), unfinished=timedelta(hours=1))
_DAY = timedelta(days=1)


def _now() -> datetime:
    return datetime.now(UTC)


@lru_cache
def _tables(laps: int) -> dict[str, bytes]:
    """Return the table files of a session with ``laps`` laps and of its catalog, by key."""
    with TemporaryDirectory() as folder:
        store = open_lake(Path(folder))
        put_session(store, _R1, f"v{laps}", laps=laps)
        put_catalog(store, sessions_table({_R1: f"v{laps}"}))
        return {item.key: store.read_bytes(item.key) for item in store.list()}


def _publish_laps(store: ObjectStore, laps: int, when: datetime) -> Snapshot:
    """Publish the session with ``laps`` laps as a sync does, moving replaced files to the history."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "table.parquet")
        for key, content in _tables(laps).items():
            path.write_bytes(content)
            publish_file(store, key, path)
    return publish(store, sessions_table({_R1: f"v{laps}"}), when)


def _age(store: ObjectStore, by: timedelta) -> None:
    """Backdate every object in a local lake."""
    for item in store.list():
        path = Path(store.uri, item.key)
        modified = (item.modified_utc - by).timestamp()
        os.utime(path, (modified, modified))


def _is_readable(store: ObjectStore, snapshot: Snapshot) -> bool:
    """Read every object that a snapshot refers to; raise if any is missing."""
    for record in snapshot_tables(snapshot):
        store.read_bytes(published_key(store, record))
    for key in snapshot_copies(snapshot):
        store.read_bytes(key)
    return True


def _keys_only_in(first: Snapshot, second: Snapshot) -> set[str]:
    """Return the keys of the objects that only the first of two snapshots refers to, after the second is published."""
    replaced = {record.sha256 for record in snapshot_tables(first)} - {
        record.sha256 for record in snapshot_tables(second)
    }
    return {history_key(sha256) for sha256 in replaced} | set(snapshot_copies(first))


def _snapshots(store: ObjectStore) -> list[Snapshot]:
    return [read_snapshot(store, key) for key in list_snapshot_keys(item.key for item in store.list())]


def test_nothing_expires_in_a_lake_with_a_single_state_however_old(store: LocalStore) -> None:
    published = _publish_laps(store, 1, _now())
    found = find_expired(store, _NOTHING_KEPT, _now() + 1_000 * _DAY)
    assert found == ExpiredObjects((), (), (published.id,))
    assert found.bytes == 0


def test_a_state_replaced_longer_ago_than_the_retention_expires(store: LocalStore) -> None:
    first = _publish_laps(store, 1, _now() - 90 * _DAY)
    second = _publish_laps(store, 2, _now() - 40 * _DAY)
    _age(store, 35 * _DAY)
    found = find_expired(store, _MONTH, _now())
    assert [item.key for item in found.objects] == [snapshot_key(first.id), *sorted(_keys_only_in(first, second))]
    assert found.kept_snapshots == (second.id,)
    assert found.bytes == sum(item.size for item in found.objects) > 0


def test_the_retention_starts_when_a_state_is_replaced_not_when_it_is_created(store: LocalStore) -> None:
    first = _publish_laps(store, 1, _now() - 90 * _DAY)
    second = _publish_laps(store, 2, _now() - 20 * _DAY)
    _age(store, 60 * _DAY)
    assert find_expired(store, _MONTH, _now()) == ExpiredObjects((), (), (first.id, second.id))


def test_find_expired_deletes_nothing(store: LocalStore) -> None:
    _publish_laps(store, 1, _now() - 90 * _DAY)
    _publish_laps(store, 2, _now() - 60 * _DAY)
    _age(store, 50 * _DAY)
    before = list(store.list())
    assert find_expired(store, _MONTH, _now()).objects
    assert list(store.list()) == before


def test_objects_younger_than_an_hour_never_expire(store: LocalStore) -> None:
    _publish_laps(store, 1, _now() - 90 * _DAY)
    _publish_laps(store, 2, _now() - 60 * _DAY)
    store.write_bytes(history_key("0" * 64), b"unreferenced")
    _age(store, timedelta(minutes=50))
    assert find_expired(store, _NOTHING_KEPT, _now()).objects == ()
    _age(store, timedelta(minutes=20))
    assert len(find_expired(store, _NOTHING_KEPT, _now()).objects) == 15


@pytest.mark.parametrize(
    "key",
    [
        "data/spa/R1_lap_end.csv",
        "quarantine/spa/R1_lap_end.csv.reason.json",
        "tables/laps/track=monza/session=R1/laps.parquet",
        "history/notes.txt",
        "history/0000.parquet",
        "catalog/snapshots/readme/notes.parquet",
        "catalog/snapshots/readme.txt",
        "xml-events/event.xml",
    ],
)
def test_objects_outside_the_managed_keys_never_expire(store: LocalStore, key: str) -> None:
    _publish_laps(store, 1, _now())
    store.write_bytes(key, b"x")
    assert find_expired(store, _NOTHING_KEPT, _now() + 1_000 * _DAY).objects == ()


def test_leftovers_of_a_killed_publication_expire(store: LocalStore) -> None:
    _publish_laps(store, 1, _now())
    leftovers = ["catalog/snapshots/20200101T000000Z-00000000/files.parquet", history_key("0" * 64)]
    for key in leftovers:
        store.write_bytes(key, b"x")
    found = find_expired(store, _MONTH, _now() + 31 * _DAY)
    assert [item.key for item in found.objects] == leftovers
    assert find_expired(store, _MONTH, _now() + 29 * _DAY).objects == ()


def test_an_object_rewritten_since_it_was_found_is_kept(store: LocalStore) -> None:
    _publish_laps(store, 1, _now() - 90 * _DAY)
    _publish_laps(store, 2, _now() - 60 * _DAY)
    _age(store, 50 * _DAY)
    found = find_expired(store, _MONTH, _now())
    rewritten = next(item.key for item in found.objects if item.key.startswith("history/"))
    store.write_bytes(rewritten, store.read_bytes(rewritten))
    removed = remove_expired(store, found)
    assert {item.key for item in found.objects} - {item.key for item in removed.objects} == {rewritten}
    assert {item.key for item in store.list("history/")} == {rewritten}


def test_a_snapshot_is_deleted_before_the_objects_it_refers_to(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _publish_laps(store, 1, _now() - 90 * _DAY)
    second = _publish_laps(store, 2, _now() - 60 * _DAY)
    _age(store, 50 * _DAY)
    deleted: list[str] = []
    monkeypatch.setattr(LocalStore, "delete", lambda _, key: deleted.append(key))
    remove_expired(store, find_expired(store, _MONTH, _now()))
    assert deleted[0] == snapshot_key(first.id)
    assert snapshot_key(second.id) not in deleted


def test_an_unreadable_snapshot_raises_before_anything_expires(store: LocalStore) -> None:
    _publish_laps(store, 1, _now())
    store.write_bytes(snapshot_key("20200101T000000Z-00000000"), b"{}")
    with pytest.raises(StoreCorruptionError, match=r"not a readable snapshot.*delete it"):
        find_expired(store, _MONTH, _now())


def test_a_lake_rolled_back_to_an_older_state_keeps_that_state(store: LocalStore) -> None:
    first = _publish_laps(store, 1, _now() - 90 * _DAY)
    _publish_laps(store, 2, _now() - 60 * _DAY)
    store.write_bytes("catalog/current.json", f'{{"snapshot": "{first.id}"}}'.encode())
    _age(store, 50 * _DAY)
    remove_expired(store, find_expired(store, _MONTH, _now()))
    assert _is_readable(store, first)
    assert _snapshots(store) == [first]


def test_without_a_published_snapshot_only_incomplete_uploads_expire(store: LocalStore) -> None:
    store.write_bytes(history_key("0" * 64), b"x")
    incoming = Path(store.uri, ".incoming", "other-host.1.0")
    incoming.write_bytes(b"12345")
    found = find_expired(store, _MONTH, _now() + 2 * _DAY)
    assert (found.objects, found.kept_snapshots) == ((), ())
    assert [(write.mark, write.size) for write in found.unfinished] == [("other-host.1.0", 5)]
    assert found.bytes == 5
    remove_expired(store, found)
    assert not incoming.exists()


def test_an_upload_that_may_still_be_running_does_not_expire(store: LocalStore) -> None:
    Path(store.uri, ".incoming", "other-host.1.0").write_bytes(b"12345")
    assert find_expired(store, _MONTH, _now() + timedelta(hours=23)).unfinished == ()


@pytest.mark.parametrize(("snapshots", "unfinished"), [(-_DAY, timedelta(hours=24)), (_DAY, timedelta(minutes=59))])
def test_a_retention_that_could_affect_a_running_sync_is_refused(snapshots: timedelta, unfinished: timedelta) -> None:
    with pytest.raises(ConfigurationError, match="cannot be kept for"):
        Retention(snapshots=snapshots, unfinished=unfinished)


@example(steps=[(1, 0), (4, 0), (1, 1)], keep_days=1, later_days=0)
@example(steps=[(2, 0), (3, 0), (2, 1)], keep_days=1, later_days=0)
@given(
    steps=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 40)), min_size=1, max_size=5),
    keep_days=st.integers(0, 60),
    later_days=st.integers(0, 60),
)
@settings(max_examples=12)
def test_every_state_within_the_retention_stays_readable(
    steps: list[tuple[int, int]], keep_days: int, later_days: int
) -> None:
    """Publish states days apart, some repeatedly; then delete expired objects days after the last one."""
    now = _now()
    moment = now - timedelta(days=later_days + sum(days for _, days in steps))
    with TemporaryDirectory() as folder:
        store = open_lake(Path(folder))
        timeline: list[tuple[datetime, Snapshot]] = []
        for laps, days in steps:
            _age(store, timedelta(days=days))
            moment += timedelta(days=days)
            timeline.append((moment, _publish_laps(store, laps, moment)))
        _age(store, timedelta(days=later_days))
        raw = store.write_bytes("data/spa/R1.csv", b"raw")
        expired = find_expired(store, Retention(timedelta(days=keep_days), timedelta(hours=1)), now)
        remove_expired(store, expired)
        remaining = _snapshots(store)
        assert read_current(store) == timeline[-1][1]
        assert all(_is_readable(store, snapshot) for snapshot in remaining)
        assert store.head(raw.key) is not None
        ends = [*(moment for moment, _ in timeline[1:]), now]
        retained = [state for (_, state), end in zip(timeline, ends, strict=True) if (now - end).days < keep_days]
        assert {state.id for state in retained} <= {state.id for state in remaining}
        assert verify_lake(store, is_deep=True).wrong == ()
        found = find_expired(store, Retention(timedelta(days=keep_days), timedelta(hours=1)), now)
        assert found.objects == ()


# In a bucket


def test_gc_aborts_an_incomplete_upload_in_a_bucket(s3_bucket: S3Bucket) -> None:
    store = store_of(connect(s3_bucket))
    s3_bucket.client.create_multipart_upload(Bucket=s3_bucket.name, Key="data/large.csv")
    assert find_expired(store, _MONTH, _now()).unfinished == ()
    found = find_expired(store, _MONTH, _now() + 2 * _DAY)
    assert [write.key for write in found.unfinished] == ["data/large.csv"]
    remove_expired(store, found)
    assert store.incomplete_uploads() == []


def test_gc_removes_an_expired_snapshot_from_s3_and_keeps_the_current_one_readable(s3_bucket: S3Bucket) -> None:
    store = store_of(connect(s3_bucket))
    first = _publish_laps(store, 1, _now() - 90 * _DAY)
    second = _publish_laps(store, 2, _now() - 40 * _DAY)
    assert find_expired(store, _NOTHING_KEPT, _now()).objects == ()  # too young
    removed = remove_expired(store, find_expired(store, _MONTH, _now() + 40 * _DAY))
    assert {item.key for item in removed.objects} == {snapshot_key(first.id)} | _keys_only_in(first, second)
    assert list(store.list("history/")) == []
    assert _snapshots(store) == [second]
    assert _is_readable(store, second)
