"""Tests that only expired objects are deleted, and that every kept state of the lake stays readable."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apex_pipeline.errors import ConfigurationError, StoreCorruptionError
from apex_pipeline.lake.forgotten import ForgottenFile, change_forgotten
from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.lake.publication import Change, publish, swap_pointer
from apex_pipeline.lake.retention import ExpiredObjects, Retention, find_expired, remove_expired
from apex_pipeline.lake.snapshot import (
    LaterFormatError,
    Snapshot,
    list_snapshot_keys,
    read_current,
    read_pointer,
    read_snapshot,
    snapshot_parts,
)
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.layout import (
    history_key,
    object_key,
    published_session_key,
    report_key,
    shard_key,
    snapshot_key,
)
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.conftest import open_lake
from apex_pipeline_tests.lake.tables import derive_tables, publish_tables, session_contents
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.s3.harness import connect, store_of

_R1 = SessionKey("spa", "R1")
_R2 = SessionKey("spa", "R2")
_MONTH = Retention(snapshots=timedelta(days=30), unfinished=timedelta(hours=24))
_NOTHING_KEPT = Retention(snapshots=timedelta(0), unfinished=timedelta(hours=1))
_DAY = timedelta(days=1)


def _now() -> datetime:
    return datetime.now(UTC)


@lru_cache
def _contents(laps: int) -> dict[str, bytes]:
    return session_contents(_R1, laps=laps)


def _publish_laps(store: ObjectStore, laps: int, when: datetime) -> Snapshot:
    """Publish the session with ``laps`` laps as a sync does."""
    return publish_tables(store, _R1, f"v{laps}", contents=_contents(laps), now=when)


def _age(store: ObjectStore, by: timedelta) -> None:
    """Backdate every object in a local lake."""
    for item in store.list():
        path = Path(store.uri, item.key)
        modified = (item.modified_utc - by).timestamp()
        os.utime(path, (modified, modified))


def _gc(store: ObjectStore, retention: Retention, now: datetime) -> ExpiredObjects:
    return remove_expired(store, find_expired(store, retention, now), retention, now)


def _is_readable(store: ObjectStore, snapshot: Snapshot) -> bool:
    """Read every object that a snapshot refers to; raise if any is missing."""
    for key in snapshot_parts(read_snapshot(store, snapshot_key(snapshot.id))):
        store.read_bytes(key)
    return True


def _keys_only_in(first: Snapshot, *others: Snapshot) -> set[str]:
    """Return the keys of the objects that only the first of these snapshots refers to."""
    return set(snapshot_parts(first)) - {key for other in others for key in snapshot_parts(other)}


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
    only_first = _keys_only_in(first, second)
    found = find_expired(store, _MONTH, _now())
    assert [item.key for item in found.objects] == [snapshot_key(first.id), *sorted(only_first)]
    assert {key.partition("/")[0] for key in only_first} == {"catalog", "objects"}
    assert found.kept_snapshots == (second.id,)
    assert found.bytes == sum(item.size for item in found.objects) > 0


def test_the_retention_starts_when_a_state_is_replaced_not_when_it_is_created(store: LocalStore) -> None:
    first = _publish_laps(store, 1, _now() - 90 * _DAY)
    second = _publish_laps(store, 2, _now() - 20 * _DAY)
    _age(store, 60 * _DAY)
    assert find_expired(store, _MONTH, _now()) == ExpiredObjects((), (), (first.id, second.id))


def test_what_a_kept_snapshot_shares_with_an_expired_one_is_kept(store: LocalStore) -> None:
    _publish_laps(store, 1, _now() - 90 * _DAY)
    other = publish_tables(store, _R2, now=_now() - 40 * _DAY)
    _age(store, 35 * _DAY)
    _gc(store, _MONTH, _now())
    assert _snapshots(store) == [other]
    assert _is_readable(store, other)


def test_each_shard_is_read_once_however_many_snapshots_share_it(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = _publish_laps(store, 1, _now()).session(_R1)
    assert session is not None
    for number in range(6):
        publish(store, {SessionKey("spa", f"P{number}"): Change(None)}, _now() + timedelta(hours=number))
        publish_tables(store, SessionKey("spa", f"P{number}"), now=_now() + timedelta(hours=number))
    read: list[str] = []
    read_with_tag = LocalStore.read_with_tag

    def record(self: LocalStore, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        read.append(key)
        return read_with_tag(self, key, limit)

    monkeypatch.setattr(LocalStore, "read_with_tag", record)
    find_expired(store, _MONTH, _now())
    shards = [key for key in read if key.startswith("catalog/snapshots/shards/")]
    assert len(shards) == len(set(shards)) == 7
    assert not [key for key in read if key.startswith("catalog/snapshots/sessions/")]


def test_find_expired_deletes_nothing(store: LocalStore) -> None:
    _publish_laps(store, 1, _now() - 90 * _DAY)
    _publish_laps(store, 2, _now() - 60 * _DAY)
    _age(store, 50 * _DAY)
    before = list(store.list())
    assert find_expired(store, _MONTH, _now()).objects
    assert list(store.list()) == before


def test_objects_younger_than_an_hour_never_expire(store: LocalStore) -> None:
    first = _publish_laps(store, 1, _now() - 90 * _DAY)
    second = _publish_laps(store, 2, _now() - 60 * _DAY)
    store.write_bytes(object_key("0" * 64), b"unreferenced")
    _age(store, timedelta(minutes=50))
    assert find_expired(store, _NOTHING_KEPT, _now()).objects == ()
    _age(store, timedelta(minutes=20))
    expected = {snapshot_key(first.id), object_key("0" * 64)} | _keys_only_in(first, second)
    assert {item.key for item in find_expired(store, _NOTHING_KEPT, _now()).objects} == expected


@pytest.mark.parametrize(
    "key",
    [
        "data/spa/R1_lap_end.csv",
        "quarantine/spa/R1_lap_end.csv.reason.json",
        "tables/laps/track=monza/session=R1/laps.parquet",
        "objects/notes.txt",
        "objects/0000.parquet",
        f"objects/{'0' * 64}.csv",
        "history/notes.txt",
        "history/0000.parquet",
        "catalog/snapshots/readme/notes.parquet",
        "catalog/snapshots/shards/notes.json",
        "catalog/snapshots/readme.txt",
        "catalog/records/spa/R9.json",
        "xml-events/event.xml",
        "reports/2026/report.html",
        "reports/track=spa/session=R9/notes.html",
        report_key(str(_R1)),
    ],
)
def test_objects_outside_the_managed_keys_never_expire(store: LocalStore, key: str) -> None:
    _publish_laps(store, 1, _now())
    store.write_bytes(key, b"x")
    assert find_expired(store, _NOTHING_KEPT, _now() + 1_000 * _DAY).objects == ()


@pytest.mark.parametrize(
    "key",
    [
        "catalog/snapshots/20200101T000000Z-00000000/files.parquet",
        history_key("0" * 64),
        object_key("0" * 64),
        shard_key("0" * 64),
        published_session_key("0" * 64),
        report_key(str(_R2)),
    ],
)
def test_leftovers_of_a_killed_publication_expire(store: LocalStore, key: str) -> None:
    _publish_laps(store, 1, _now())
    store.write_bytes(key, b"x")
    assert [item.key for item in find_expired(store, _MONTH, _now() + 31 * _DAY).objects] == [key]
    assert find_expired(store, _MONTH, _now() + 29 * _DAY).objects == ()


def test_tables_that_are_derived_and_not_published_yet_are_kept(store: LocalStore) -> None:
    _publish_laps(store, 1, _now() - 90 * _DAY)
    derive_tables(store, _R1, "v2", laps=2)
    (derived,) = store.list("catalog/derived/")
    objects = {table["sha256"] for table in json.loads(store.read_bytes(derived.key))["tables"].values()}
    _gc(store, _NOTHING_KEPT, _now() + 1_000 * _DAY)
    assert all(store.head(object_key(sha256)) for sha256 in objects)


def test_an_object_rewritten_since_it_was_found_is_kept(store: LocalStore) -> None:
    _publish_laps(store, 1, _now() - 90 * _DAY)
    _publish_laps(store, 2, _now() - 60 * _DAY)
    _age(store, 50 * _DAY)
    found = find_expired(store, _MONTH, _now())
    rewritten = next(item.key for item in found.objects if item.key.startswith("objects/"))
    store.write_bytes(rewritten, store.read_bytes(rewritten))
    removed = remove_expired(store, found, _MONTH, _now())
    assert {item.key for item in found.objects} - {item.key for item in removed.objects} == {rewritten}
    assert store.head(rewritten) is not None


def test_a_snapshot_is_deleted_before_the_objects_it_refers_to(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _publish_laps(store, 1, _now() - 90 * _DAY)
    second = _publish_laps(store, 2, _now() - 60 * _DAY)
    _age(store, 50 * _DAY)
    deleted: list[str] = []
    monkeypatch.setattr(LocalStore, "delete_if", lambda _, key, tag: deleted.append(key) or bool(tag))
    _gc(store, _MONTH, _now())
    assert deleted[0] == snapshot_key(first.id)
    assert snapshot_key(second.id) not in deleted


def test_a_damaged_snapshot_of_the_past_expires_like_an_object(store: LocalStore) -> None:
    current = _publish_laps(store, 1, _now())
    key = snapshot_key("20200101T000000Z-00000000")
    store.write_bytes(key, b"{}")
    assert find_expired(store, _MONTH, _now() + 29 * _DAY).objects == ()
    assert [item.key for item in find_expired(store, _MONTH, _now() + 31 * _DAY).objects] == [key]
    assert find_expired(store, _MONTH, _now() + 31 * _DAY).kept_snapshots == (current.id,)


def test_a_damaged_shard_of_the_past_protects_nothing_and_stops_nothing(store: LocalStore) -> None:
    first = _publish_laps(store, 1, _now() - 20 * _DAY)
    second = _publish_laps(store, 2, _now() - 10 * _DAY)
    Path(store.uri_of(shard_key(first.shards[0]))).write_bytes(b"{}")
    _age(store, 35 * _DAY)
    _gc(store, _MONTH, _now())
    assert _is_readable(store, second)
    assert [snapshot.id for snapshot in _snapshots(store)] == [first.id, second.id]


@pytest.mark.parametrize("part", ["snapshot", "shard"])
def test_if_the_published_state_is_damaged_nothing_expires(store: LocalStore, part: str) -> None:
    _publish_laps(store, 1, _now() - 90 * _DAY)
    current = _publish_laps(store, 2, _now() - 60 * _DAY)
    key = snapshot_key(current.id) if part == "snapshot" else shard_key(current.shards[0])
    Path(store.uri_of(key)).write_bytes(b"{}")
    with pytest.raises(StoreCorruptionError, match="apex sync"):
        find_expired(store, _NOTHING_KEPT, _now() + 90 * _DAY)


def test_a_snapshot_of_a_later_version_stops_everything(store: LocalStore) -> None:
    _publish_laps(store, 1, _now())
    store.write_bytes(snapshot_key("20990101T000000Z-00000000"), b'{"format": 3}')
    with pytest.raises(LaterFormatError, match="Update apex_pipeline"):
        find_expired(store, _MONTH, _now() + 90 * _DAY)


def test_a_lake_whose_pointer_names_an_older_state_keeps_that_state(store: LocalStore) -> None:
    first = _publish_laps(store, 1, _now() - 90 * _DAY)
    _publish_laps(store, 2, _now() - 60 * _DAY)
    pointer = read_pointer(store)
    assert pointer is not None
    assert swap_pointer(store, first.id, pointer[1])
    _age(store, 50 * _DAY)
    _gc(store, _MONTH, _now())
    assert _is_readable(store, first)
    assert _snapshots(store) == [first]


def test_without_a_published_snapshot_only_incomplete_uploads_expire(store: LocalStore) -> None:
    store.write_bytes(object_key("0" * 64), b"x")
    incoming = Path(store.uri, ".incoming", "other-host.1.0")
    incoming.write_bytes(b"12345")
    found = find_expired(store, _MONTH, _now() + 2 * _DAY)
    assert (found.objects, found.kept_snapshots) == ((), ())
    assert [(write.mark, write.size) for write in found.unfinished] == [("other-host.1.0", 5)]
    assert found.bytes == 5
    remove_expired(store, found, _MONTH, _now())
    assert not incoming.exists()


def test_an_upload_that_may_still_be_running_does_not_expire(store: LocalStore) -> None:
    Path(store.uri, ".incoming", "other-host.1.0").write_bytes(b"12345")
    assert find_expired(store, _MONTH, _now() + timedelta(hours=23)).unfinished == ()


@pytest.mark.parametrize(("snapshots", "unfinished"), [(-_DAY, timedelta(hours=24)), (_DAY, timedelta(minutes=59))])
def test_a_retention_that_could_affect_a_running_sync_is_refused(snapshots: timedelta, unfinished: timedelta) -> None:
    with pytest.raises(ConfigurationError, match="cannot be kept for"):
        Retention(snapshots=snapshots, unfinished=unfinished)


# Files that were taken out


@pytest.mark.parametrize("is_digest_known", [True, False])
def test_the_bytes_of_a_file_that_was_taken_out_are_removed_after_the_retention(
    store: LocalStore, *, is_digest_known: bool
) -> None:
    _publish_laps(store, 1, _now())
    raw = store.write_bytes("data/spa/private.csv", b"a name")
    sha256 = raw.sha256 if is_digest_known else None
    change_forgotten(store, [("spa/private.csv", ForgottenFile(sha256, _now()))])
    assert find_expired(store, _MONTH, _now() + 29 * _DAY).objects == ()
    removed = _gc(store, _MONTH, _now() + 31 * _DAY)
    assert [item.key for item in removed.objects] == [raw.key]
    assert store.head(raw.key) is None
    assert find_expired(store, _MONTH, _now() + 31 * _DAY).objects == ()


def test_other_content_under_the_path_of_a_file_that_was_taken_out_is_kept(store: LocalStore) -> None:
    _publish_laps(store, 1, _now())
    raw = store.write_bytes("data/spa/private.csv", b"a name")
    change_forgotten(store, [("spa/private.csv", ForgottenFile(raw.sha256, _now()))])
    store.write_bytes("data/spa/private.csv", b"no name")
    assert find_expired(store, _MONTH, _now() + 31 * _DAY).objects == ()


# Next to a running sync


def _hold_before_removal(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
    """Let something happen at the last moment before the first object is removed: after gc has looked at it again."""
    delete_if = LocalStore.delete_if

    def act_first(self: LocalStore, key: str, expected_tag: str) -> bool:
        if key.startswith("objects/"):
            monkeypatch.setattr(LocalStore, "delete_if", delete_if)
            do()
        return delete_if(self, key, expected_tag)

    monkeypatch.setattr(LocalStore, "delete_if", act_first)


def _lake_with_an_expired_state(store: LocalStore) -> Snapshot:
    first = _publish_laps(store, 1, _now() - 90 * _DAY)
    _publish_laps(store, 2, _now() - 60 * _DAY)
    _age(store, 50 * _DAY)
    return first


def test_a_sync_that_derives_expired_content_again_while_gc_is_about_to_remove_it_publishes_it_whole(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lake_with_an_expired_state(store)
    found = find_expired(store, _MONTH, _now())
    _hold_before_removal(monkeypatch, lambda: _publish_laps(store, 1, _now()))
    remove_expired(store, found, _MONTH, _now())
    assert _is_readable(store, require_snapshot(store))
    assert verify_lake(store, is_deep=True).wrong == ()


def test_a_sync_between_the_search_and_the_removal_keeps_its_tables(store: LocalStore) -> None:
    _lake_with_an_expired_state(store)
    found = find_expired(store, _MONTH, _now())
    published = _publish_laps(store, 1, _now())
    removed = remove_expired(store, found, _MONTH, _now())
    assert not {item.key for item in removed.objects} & set(snapshot_parts(published))
    assert _is_readable(store, published)


def test_tables_derived_before_the_removal_and_published_after_it_are_kept(store: LocalStore) -> None:
    _lake_with_an_expired_state(store)
    derive_tables(store, _R1, "v1", contents=_contents(1))
    _gc(store, _MONTH, _now())
    published = _publish_laps(store, 1, _now())
    assert _is_readable(store, published)


def test_an_object_that_a_store_removes_although_it_was_just_published_is_put_back(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket cannot compare and remove in one step; a process may be stopped in between."""
    _lake_with_an_expired_state(store)
    found = find_expired(store, _MONTH, _now())

    def remove_whatever_is_there(self: LocalStore, key: str, expected_tag: str) -> bool:
        assert expected_tag
        if key.startswith("objects/") and read_current(self) and not published:
            published.append(_publish_laps(store, 1, _now()))
        self.delete(key)
        return True

    published: list[Snapshot] = []
    monkeypatch.setattr(LocalStore, "delete_if", remove_whatever_is_there)
    remove_expired(store, found, _MONTH, _now())
    assert _is_readable(store, published[0])


def test_an_expired_snapshot_that_is_too_young_to_be_removed_stays_whole(store: LocalStore) -> None:
    _publish_laps(store, 1, _now() - timedelta(days=3))
    _age(store, timedelta(days=3))
    young = publish_tables(store, SessionKey("spa", "R2"), now=_now() - timedelta(minutes=10))
    _publish_laps(store, 2, _now())
    _gc(store, Retention(timedelta(0), timedelta(hours=1)), _now())
    remaining = _snapshots(store)
    assert young in remaining
    assert all(_is_readable(store, snapshot) for snapshot in remaining)
    assert verify_lake(store, is_deep=True).wrong == ()


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
        retention = Retention(timedelta(days=keep_days), timedelta(hours=1))
        _gc(store, retention, now)
        remaining = _snapshots(store)
        assert read_current(store) == timeline[-1][1]
        assert all(_is_readable(store, snapshot) for snapshot in remaining)
        assert store.head(raw.key) is not None
        ends = [*(moment for moment, _ in timeline[1:]), now]
        retained = [state for (_, state), end in zip(timeline, ends, strict=True) if (now - end).days < keep_days]
        assert {state.id for state in retained} <= {state.id for state in remaining}
        assert verify_lake(store, is_deep=True).wrong == ()
        assert find_expired(store, retention, now).objects == ()


# In a bucket


def test_gc_aborts_an_incomplete_upload_in_a_bucket(s3_bucket: S3Bucket) -> None:
    store = store_of(connect(s3_bucket))
    s3_bucket.client.create_multipart_upload(Bucket=s3_bucket.name, Key="data/large.csv")
    assert find_expired(store, _MONTH, _now()).unfinished == ()
    found = find_expired(store, _MONTH, _now() + 2 * _DAY)
    assert [write.key for write in found.unfinished] == ["data/large.csv"]
    remove_expired(store, found, _MONTH, _now())
    assert store.incomplete_uploads() == []


def test_gc_removes_an_expired_snapshot_from_s3_and_keeps_the_current_one_readable(s3_bucket: S3Bucket) -> None:
    store = store_of(connect(s3_bucket))
    first = _publish_laps(store, 1, _now() - 90 * _DAY)
    second = _publish_laps(store, 2, _now() - 40 * _DAY)
    only_first = _keys_only_in(first, second)
    assert find_expired(store, _NOTHING_KEPT, _now()).objects == ()  # too young
    removed = _gc(store, _MONTH, _now() + 40 * _DAY)
    assert {item.key for item in removed.objects} == {snapshot_key(first.id)} | only_first
    assert _snapshots(store) == [second]
    assert _is_readable(store, second)


def test_in_a_bucket_an_object_written_again_with_equal_content_is_kept(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ETag is the same, so only its time shows that it is in use again."""
    store = store_of(connect(s3_bucket))
    _publish_laps(store, 1, _now() - 90 * _DAY)
    _publish_laps(store, 2, _now() - 60 * _DAY)
    later = _now() + 40 * _DAY
    found = find_expired(store, _MONTH, later)
    key = next(item.key for item in found.objects if item.key.startswith("objects/"))
    head = store.head

    def as_if_written_now(wanted: str) -> ObjectInfo | None:
        facts = head(wanted)
        if facts is None or wanted != key:
            return facts
        return ObjectInfo(facts.key, facts.size, facts.modified_utc + timedelta(seconds=2), facts.tag, facts.sha256)

    monkeypatch.setattr(store, "head", as_if_written_now)
    removed = remove_expired(store, found, _MONTH, later)
    assert {item.key for item in found.objects} - {item.key for item in removed.objects} == {key}
