"""What is nobody's goes, and nothing else: every state of the lake that is kept can still be read whole."""

import os
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
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
    """Return the table files of a session with so many laps, and of its catalog, by key."""
    with TemporaryDirectory() as folder:
        made = open_lake(Path(folder))
        put_session(made, _R1, f"v{laps}", laps=laps)
        put_catalog(made, sessions_table({_R1: f"v{laps}"}))
        return {item.key: made.read_bytes(item.key) for item in made.list()}


def _publish_laps(store: ObjectStore, laps: int, when: datetime) -> Snapshot:
    """Publish the session anew with so many laps, as a sync does: what is replaced goes to the history."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "table.parquet")
        for key, content in _tables(laps).items():
            path.write_bytes(content)
            publish_file(store, key, path)
    return publish(store, sessions_table({_R1: f"v{laps}"}), when)


def _age(store: ObjectStore, by: timedelta) -> None:
    """Make every object of a folder older."""
    for item in store.list():
        path = Path(store.uri, item.key)
        moment = (item.modified_utc - by).timestamp()
        os.utime(path, (moment, moment))


def _is_whole(store: ObjectStore, snapshot: Snapshot) -> bool:
    """Read everything a snapshot names."""
    for record in snapshot_tables(snapshot):
        store.read_bytes(published_key(store, record))
    for key in snapshot_copies(snapshot):
        store.read_bytes(key)
    return True


def _only_of(first: Snapshot, second: Snapshot) -> set[str]:
    """Return what only the first of two snapshots names, where it has been replaced."""
    replaced = {record.sha256 for record in snapshot_tables(first)} - {
        record.sha256 for record in snapshot_tables(second)
    }
    return {history_key(sha256) for sha256 in replaced} | set(snapshot_copies(first))


def _snapshots(store: ObjectStore) -> list[Snapshot]:
    return [read_snapshot(store, key) for key in list_snapshot_keys(item.key for item in store.list())]


def test_a_lake_of_one_state_has_no_garbage_however_old(store: LocalStore) -> None:
    published = _publish_laps(store, 1, _now())
    found = find_expired(store, _NOTHING_KEPT, _now() + 1_000 * _DAY)
    assert found == ExpiredObjects((), (), (published.id,))
    assert found.bytes == 0


def test_a_replaced_state_goes_when_it_was_replaced_longer_ago_than_the_retention(store: LocalStore) -> None:
    first = _publish_laps(store, 1, _now() - 90 * _DAY)
    second = _publish_laps(store, 2, _now() - 40 * _DAY)
    _age(store, 35 * _DAY)
    found = find_expired(store, _MONTH, _now())
    assert [item.key for item in found.objects] == [snapshot_key(first.id), *sorted(_only_of(first, second))]
    assert found.kept_snapshots == (second.id,)
    assert found.bytes == sum(item.size for item in found.objects) > 0


def test_a_state_counts_from_when_it_was_replaced_and_not_from_when_it_was_made(store: LocalStore) -> None:
    first = _publish_laps(store, 1, _now() - 90 * _DAY)
    second = _publish_laps(store, 2, _now() - 20 * _DAY)
    _age(store, 60 * _DAY)
    assert find_expired(store, _MONTH, _now()) == ExpiredObjects((), (), (first.id, second.id))


def test_nothing_is_removed_by_looking(store: LocalStore) -> None:
    _publish_laps(store, 1, _now() - 90 * _DAY)
    _publish_laps(store, 2, _now() - 60 * _DAY)
    _age(store, 50 * _DAY)
    before = list(store.list())
    assert find_expired(store, _MONTH, _now()).objects
    assert list(store.list()) == before


def test_what_is_younger_than_an_hour_stays_whatever_it_is(store: LocalStore) -> None:
    _publish_laps(store, 1, _now() - 90 * _DAY)
    _publish_laps(store, 2, _now() - 60 * _DAY)
    store.write_bytes(history_key("0" * 64), b"of nobody")
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
def test_what_this_project_does_not_put_into_history_is_never_removed(store: LocalStore, key: str) -> None:
    _publish_laps(store, 1, _now())
    store.write_bytes(key, b"x")
    assert find_expired(store, _NOTHING_KEPT, _now() + 1_000 * _DAY).objects == ()


def test_what_a_killed_publication_left_goes(store: LocalStore) -> None:
    _publish_laps(store, 1, _now())
    left = ["catalog/snapshots/20200101T000000Z-00000000/files.parquet", history_key("0" * 64)]
    for key in left:
        store.write_bytes(key, b"x")
    found = find_expired(store, _MONTH, _now() + 31 * _DAY)
    assert [item.key for item in found.objects] == left
    assert find_expired(store, _MONTH, _now() + 29 * _DAY).objects == ()


def test_what_was_written_again_since_it_was_found_stays(store: LocalStore) -> None:
    _publish_laps(store, 1, _now() - 90 * _DAY)
    _publish_laps(store, 2, _now() - 60 * _DAY)
    _age(store, 50 * _DAY)
    found = find_expired(store, _MONTH, _now())
    again = next(item.key for item in found.objects if item.key.startswith("history/"))
    store.write_bytes(again, store.read_bytes(again))
    removed = remove_expired(store, found)
    assert {item.key for item in found.objects} - {item.key for item in removed.objects} == {again}
    assert {item.key for item in store.list("history/")} == {again}


def test_a_snapshot_goes_before_what_it_names(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _publish_laps(store, 1, _now() - 90 * _DAY)
    second = _publish_laps(store, 2, _now() - 60 * _DAY)
    _age(store, 50 * _DAY)
    deleted: list[str] = []
    monkeypatch.setattr(LocalStore, "delete", lambda _, key: deleted.append(key))
    remove_expired(store, find_expired(store, _MONTH, _now()))
    assert deleted[0] == snapshot_key(first.id)
    assert snapshot_key(second.id) not in deleted


def test_a_snapshot_nobody_can_read_stops_it_all(store: LocalStore) -> None:
    _publish_laps(store, 1, _now())
    store.write_bytes(snapshot_key("20200101T000000Z-00000000"), b"{}")
    with pytest.raises(StoreCorruptionError, match=r"no readable snapshot.*delete it"):
        find_expired(store, _MONTH, _now())


def test_a_lake_taken_back_to_an_older_state_keeps_that_one(store: LocalStore) -> None:
    first = _publish_laps(store, 1, _now() - 90 * _DAY)
    _publish_laps(store, 2, _now() - 60 * _DAY)
    store.write_bytes("catalog/current.json", f'{{"snapshot": "{first.id}"}}'.encode())
    _age(store, 50 * _DAY)
    remove_expired(store, find_expired(store, _MONTH, _now()))
    assert _is_whole(store, first)
    assert _snapshots(store) == [first]


def test_where_nothing_is_published_only_unfinished_writes_are_looked_at(store: LocalStore) -> None:
    store.write_bytes(history_key("0" * 64), b"x")
    incoming = Path(store.uri, ".incoming", "other-host.1.0")
    incoming.write_bytes(b"12345")
    found = find_expired(store, _MONTH, _now() + 2 * _DAY)
    assert (found.objects, found.kept_snapshots) == ((), ())
    assert [(write.mark, write.size) for write in found.unfinished] == [("other-host.1.0", 5)]
    assert found.bytes == 5
    remove_expired(store, found)
    assert not incoming.exists()


def test_a_write_that_may_still_go_on_is_left_alone(store: LocalStore) -> None:
    Path(store.uri, ".incoming", "other-host.1.0").write_bytes(b"12345")
    assert find_expired(store, _MONTH, _now() + timedelta(hours=23)).unfinished == ()


@pytest.mark.parametrize(("snapshots", "unfinished"), [(-_DAY, timedelta(hours=24)), (_DAY, timedelta(minutes=59))])
def test_a_retention_that_could_hit_a_running_sync_is_refused(snapshots: timedelta, unfinished: timedelta) -> None:
    with pytest.raises(ConfigurationError, match="cannot be kept for"):
        Retention(snapshots=snapshots, unfinished=unfinished)


@given(
    steps=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 40)), min_size=1, max_size=5),
    keep_days=st.integers(0, 60),
    later_days=st.integers(0, 60),
)
@settings(max_examples=12)
def test_every_state_of_the_time_that_is_kept_still_reads_whole(
    steps: list[tuple[int, int]], keep_days: int, later_days: int
) -> None:
    """Publish states, some of them again and again, some days apart; look some days after the last one."""
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
        garbage = find_expired(store, Retention(timedelta(days=keep_days), timedelta(hours=1)), now)
        remove_expired(store, garbage)
        remaining = _snapshots(store)
        assert read_current(store) == timeline[-1][1]
        assert all(_is_whole(store, snapshot) for snapshot in remaining)
        assert store.head(raw.key) is not None
        ends = [*(moment for moment, _ in timeline[1:]), now]
        in_time = [state for (_, state), end in zip(timeline, ends, strict=True) if (now - end).days < keep_days]
        assert {state.id for state in in_time} <= {state.id for state in remaining}
        assert verify_lake(store, is_deep=True).wrong == ()
        again = find_expired(store, Retention(timedelta(days=keep_days), timedelta(hours=1)), now)
        assert again.objects == ()


# In a bucket


def test_an_upload_that_was_never_finished_is_taken_back_in_a_bucket(s3_bucket: S3Bucket) -> None:
    store = store_of(connect(s3_bucket))
    s3_bucket.client.create_multipart_upload(Bucket=s3_bucket.name, Key="data/large.csv")
    assert find_expired(store, _MONTH, _now()).unfinished == ()
    found = find_expired(store, _MONTH, _now() + 2 * _DAY)
    assert [write.key for write in found.unfinished] == ["data/large.csv"]
    remove_expired(store, found)
    assert store.incomplete_uploads() == []


def test_a_replaced_state_goes_in_a_bucket_and_the_kept_one_reads_whole(s3_bucket: S3Bucket) -> None:
    store = store_of(connect(s3_bucket))
    first = _publish_laps(store, 1, _now() - 90 * _DAY)
    second = _publish_laps(store, 2, _now() - 40 * _DAY)
    assert find_expired(store, _NOTHING_KEPT, _now()).objects == ()  # too young
    removed = remove_expired(store, find_expired(store, _MONTH, _now() + 40 * _DAY))
    assert {item.key for item in removed.objects} == {snapshot_key(first.id)} | _only_of(first, second)
    assert list(store.list("history/")) == []
    assert _snapshots(store) == [second]
    assert _is_whole(store, second)
