"""Tests that damaged tables are noticed in a listing, restored from their copies, and never taken for intact."""

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from apex_pipeline.lake.healing import damaged_tables, heal_from_copies, lost_sessions
from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.lake.objects import read_table_file
from apex_pipeline.lake.published_session import TableRecord
from apex_pipeline.lake.tables import require_session, require_snapshot
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import object_key, published_session_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import REJECTS
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import NOON, parquet_bytes, publish_tables, session_contents
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.s3.harness import connect, store_of

_R1, _R2 = SessionKey("spa", "R1"), SessionKey("spa", "R2")


@pytest.fixture(params=["local", "s3"])
def lake(request: pytest.FixtureRequest) -> ObjectStore:
    """A lake with two published sessions, whose empty tables share their objects."""
    if request.param == "local":
        store: ObjectStore = request.getfixturevalue("store")
    else:
        store = store_of(connect(request.getfixturevalue("s3_bucket")))
    publish_tables(store, _R1, laps=2)
    publish_tables(store, _R2, laps=3, now=NOON + timedelta(hours=1))
    return store


def _listing(store: ObjectStore) -> dict[str, ObjectInfo]:
    return {item.key: item for item in store.list()}


def _damage(store: ObjectStore, listing: Mapping[str, ObjectInfo] | None = None) -> dict[SessionKey, list[str]]:
    return damaged_tables(store, require_snapshot(store), listing or _listing(store))


def _heal(store: ObjectStore) -> list[str]:
    snapshot = require_snapshot(store)
    return heal_from_copies(store, snapshot, damaged_tables(store, snapshot, _listing(store))).done


def _table(store: ObjectStore, name: str = "laps", key: SessionKey = _R1) -> TableRecord:
    return require_session(require_snapshot(store), key).tables[name]


def _flipped(content: bytes) -> bytes:
    half = len(content) // 2
    return content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]


def _spoil(store: ObjectStore, key: str, damage: str) -> None:
    """Damage an object behind the store's back."""
    content = store.read_bytes(key)
    spoilt = {"flipped": _flipped(content), "truncated": content[:-7], "garbage": b"x" * len(content), "empty": b""}
    if damage == "missing":
        store.delete(key)
    elif isinstance(store, LocalStore):
        Path(store.uri_of(key)).write_bytes(spoilt[damage])
    else:
        store.write_bytes(key, spoilt[damage])


_DAMAGE = ("missing", "flipped", "truncated", "garbage", "empty")
# In a bucket, whatever is written has another ETag, so one kind of other content is enough.
_EVERY_DAMAGE = pytest.mark.parametrize(
    ("lake", "damage"),
    [*(("local", damage) for damage in _DAMAGE), ("s3", "missing"), ("s3", "flipped")],
    indirect=["lake"],
)


def test_an_intact_lake_has_no_damage(lake: ObjectStore) -> None:
    assert _damage(lake) == {}
    assert _heal(lake) == []


@_EVERY_DAMAGE
def test_an_object_is_restored_from_its_stable_name(lake: ObjectStore, damage: str) -> None:
    key = object_key(_table(lake).sha256)
    before = lake.read_bytes(key)
    _spoil(lake, key, damage)
    assert _damage(lake) == {_R1: [key]}
    assert _heal(lake) == ["spa/R1: laps was damaged or missing and is restored from its copy."]
    assert lake.read_bytes(key) == before
    assert _damage(lake) == {}
    assert verify_lake(lake, is_deep=True).wrong == ()


@_EVERY_DAMAGE
def test_a_stable_name_is_restored_from_its_object(lake: ObjectStore, damage: str) -> None:
    key = _table(lake).key
    before = lake.read_bytes(key)
    _spoil(lake, key, damage)
    assert _damage(lake) == {_R1: [key]}
    assert _heal(lake) == ["spa/R1: laps was damaged or missing and is restored from its copy."]
    assert lake.read_bytes(key) == before
    assert verify_lake(lake, is_deep=True).wrong == ()


@_EVERY_DAMAGE
def test_an_object_that_sessions_share_is_restored_from_the_copy_of_any_of_them(lake: ObjectStore, damage: str) -> None:
    weather = _table(lake, "weather")
    assert weather.sha256 == _table(lake, "weather", _R2).sha256
    _spoil(lake, object_key(weather.sha256), damage)
    _spoil(lake, weather.key, damage)
    snapshot = require_snapshot(lake)
    assert lost_sessions(lake, snapshot, _damage(lake)) == []
    _heal(lake)
    assert _damage(lake) == {}
    assert verify_lake(lake, is_deep=True).wrong == ()


@_EVERY_DAMAGE
def test_a_table_that_is_damaged_in_both_places_must_be_derived_again(lake: ObjectStore, damage: str) -> None:
    laps = _table(lake)
    for key in (object_key(laps.sha256), laps.key):
        _spoil(lake, key, damage)
    snapshot = require_snapshot(lake)
    assert lost_sessions(lake, snapshot, _damage(lake)) == [_R1]
    healing = heal_from_copies(lake, snapshot, _damage(lake))
    assert (healing.done, healing.lost) == ([], {_R1: ["laps"]})
    # The damaged object is gone, so that nothing takes its recorded digest for its content.
    assert lake.head(object_key(laps.sha256)) is None
    assert lost_sessions(lake, snapshot, _damage(lake)) == [_R1]
    publish_tables(lake, _R1, laps=2, now=NOON + timedelta(hours=2))
    assert _damage(lake) == {}
    assert verify_lake(lake, is_deep=True).wrong == ()


@_EVERY_DAMAGE
def test_a_session_without_its_published_record_must_be_derived_again(lake: ObjectStore, damage: str) -> None:
    snapshot = require_snapshot(lake)
    entry = snapshot.entry(_R1)
    assert entry is not None
    key = published_session_key(entry.record)
    _spoil(lake, key, damage)
    assert _damage(lake) == {_R1: [key]}
    assert lost_sessions(lake, require_snapshot(lake), _damage(lake)) == [_R1]
    assert _heal(lake) == []
    publish_tables(lake, _R1, laps=2, now=NOON + timedelta(hours=2))
    assert _damage(lake) == {}


def test_another_session_that_a_foreign_program_writes_does_not_matter(lake: ObjectStore) -> None:
    lake.write_bytes("tables/laps/track=spa/session=R9/laps.parquet", b"x")
    lake.write_bytes("tables/laps/readme.txt", b"x")
    assert _damage(lake) == {}


def test_a_foreign_file_in_place_of_a_table_is_found(lake: ObjectStore) -> None:
    """One stable name too few and another one too many."""
    laps = _table(lake)
    lake.delete(laps.key)
    lake.write_bytes("tables/lap_notes/track=spa/session=R1/lap_notes.parquet", b"x")
    assert _damage(lake) == {_R1: [laps.key]}


def test_a_stable_name_of_a_session_that_was_published_again_meanwhile_is_left_to_that_sync(
    lake: ObjectStore,
) -> None:
    old, listing = require_snapshot(lake), _listing(lake)
    laps = _table(lake)
    lake.delete(laps.key)
    damage = damaged_tables(lake, old, {key: item for key, item in listing.items() if key != laps.key})
    publish_tables(lake, _R1, "v2", laps=5, now=NOON + timedelta(hours=2))
    heal_from_copies(lake, old, damage)
    assert _damage(lake) == {}
    assert _table(lake).rows == 5


# In a folder


def test_a_listing_of_an_intact_folder_is_checked_without_reading_anything(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_tables(store, _R1)
    listing, snapshot = _listing(store), require_snapshot(store)
    entries = snapshot.entries
    for name in ("head", "read_bytes", "read_with_tag", "open_stream"):
        monkeypatch.setattr(LocalStore, name, lambda *_: pytest.fail("read"))
    assert damaged_tables(store, snapshot, listing) == {}
    assert entries


def test_a_copied_lake_is_intact(store: LocalStore) -> None:
    """Its files have new times, and this machine has no digests of them yet."""
    publish_tables(store, _R1)
    for item in store.list():
        os.utime(store.uri_of(item.key))
    copied = LocalStore(Path(store.uri), DigestCache())
    assert damaged_tables(copied, require_snapshot(copied), _listing(copied)) == {}


def test_damage_in_a_copied_lake_is_found(store: LocalStore) -> None:
    publish_tables(store, _R1)
    key = object_key(_table(store).sha256)
    Path(store.uri_of(key)).write_bytes(b"x")
    copied = LocalStore(Path(store.uri), DigestCache())
    assert damaged_tables(copied, require_snapshot(copied), _listing(copied)) == {_R1: [key]}


# In a bucket


def _with_metadata_kept(bucket: S3Bucket, key: str) -> None:
    """Flip a bit and keep the metadata of the object, which then says that it is intact."""
    stored = bucket.client.get_object(Bucket=bucket.name, Key=key)
    bucket.client.put_object(
        Bucket=bucket.name, Key=key, Body=_flipped(stored["Body"].read()), Metadata=stored["Metadata"]
    )


@pytest.mark.parametrize("place", ["object", "stable name"])
def test_in_a_bucket_the_bytes_decide_where_the_metadata_says_that_both_are_intact(
    s3_bucket: S3Bucket, place: str
) -> None:
    store = store_of(connect(s3_bucket))
    publish_tables(store, _R1)
    laps = _table(store)
    key = object_key(laps.sha256) if place == "object" else laps.key
    _with_metadata_kept(s3_bucket, key)
    assert _damage(store) == {_R1: [key]}
    assert len(_heal(store)) == 1
    assert verify_lake(store, is_deep=True).wrong == ()


def test_a_listing_of_an_intact_bucket_is_checked_with_one_request(s3_bucket: S3Bucket) -> None:
    store = store_of(connect(s3_bucket))
    publish_tables(store, _R1)
    publish_tables(store, _R2, now=NOON + timedelta(hours=1))
    snapshot, listing = require_snapshot(store), _listing(store)
    # As on a machine whose clock is right: the records were written before the pointer.
    listing = {key: replace(item, modified_utc=NOON) for key, item in listing.items()}
    assert snapshot.entries
    before = store.request_stats
    assert damaged_tables(store, snapshot, listing) == {}
    assert store.request_stats == before


def _each_with_an_etag_of_its_own(listing: Mapping[str, ObjectInfo]) -> dict[str, ObjectInfo]:
    return {key: replace(item, tag=f"{number:032x}") for number, (key, item) in enumerate(listing.items())}


def test_a_bucket_in_which_equal_objects_have_different_etags_is_not_read_each_time(s3_bucket: S3Bucket) -> None:
    """As with server-side encryption with customer keys."""
    store = store_of(connect(s3_bucket))
    for number in range(5):
        publish_tables(store, SessionKey("spa", f"R{number}"), now=NOON + timedelta(hours=number))
    snapshot = require_snapshot(store)
    listing = _each_with_an_etag_of_its_own(_listing(store))
    listing = {key: replace(item, modified_utc=NOON) for key, item in listing.items()}
    assert snapshot.entries
    before = store.request_stats
    assert damaged_tables(store, snapshot, listing) == {}
    assert store.request_stats == before
    laps = _table(store)
    later = replace(listing[object_key(laps.sha256)], modified_utc=NOON + timedelta(hours=9), size=7)
    store.write_bytes(object_key(laps.sha256), b"garbage")
    assert damaged_tables(store, snapshot, listing | {later.key: later}).keys() >= {_R1}


def test_a_multipart_upload_is_intact_if_its_copy_came_later(s3_bucket: S3Bucket) -> None:
    store = store_of(connect(s3_bucket))
    publish_tables(store, _R1)
    laps, listing = _table(store), _listing(store)
    parts = {object_key(laps.sha256): "a-2", laps.key: "b-3"}
    listing |= {key: replace(listing[key], tag=tag) for key, tag in parts.items()}
    assert damaged_tables(store, require_snapshot(store), listing) == {}


def test_a_table_with_many_equal_tables_in_one_session_is_found(store: LocalStore) -> None:
    """Tables with equal content have one object and several stable names."""
    contents = session_contents(_R1)
    same = parquet_bytes(REJECTS.empty())
    publish_tables(store, _R1, contents=contents | {"lap_rejects": same, "telemetry_rejects": same})
    key = _table(store, "telemetry_rejects").key
    store.delete(key)
    assert _damage(store) == {_R1: [key]}
    assert len(_heal(store)) == 1


def test_tables_published_after_the_listing_are_neither_damaged_nor_removed(lake: ObjectStore) -> None:
    listing = _listing(lake)
    publish_tables(lake, _R1, "v2", laps=5, now=NOON + timedelta(hours=2))
    publish_tables(lake, SessionKey("spa", "R3"), laps=4, now=NOON + timedelta(hours=3))
    assert _damage(lake, listing) == {}
    assert _damage(lake, {"data/other.csv": next(iter(listing.values()))}) == {}


def test_an_object_that_another_sync_has_written_anew_is_not_removed(lake: ObjectStore) -> None:
    laps = _table(lake)
    content = lake.read_bytes(object_key(laps.sha256))
    for key in (object_key(laps.sha256), laps.key):
        _spoil(lake, key, "flipped")
    snapshot, damage = require_snapshot(lake), _damage(lake)
    lake.write_bytes(object_key(laps.sha256), content)
    healing = heal_from_copies(lake, snapshot, damage)
    assert healing.lost == {}
    assert lake.read_bytes(laps.key) == lake.read_bytes(object_key(laps.sha256)) == content


@pytest.mark.parametrize("place", ["object", "stable name"])
def test_a_folder_in_the_place_of_a_table_concerns_its_session_only(
    store: LocalStore, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    publish_tables(store, _R1, laps=2)
    publish_tables(store, _R2, laps=3, now=NOON + timedelta(hours=1))
    record, other = _table(store), _table(store, key=_R2)
    path = Path(store.uri_of(object_key(record.sha256) if place == "object" else record.key))
    path.unlink()
    path.mkdir()
    Path(store.uri_of(other.key)).unlink()
    assert any(str(_R2) in sentence for sentence in _heal(store))
    assert path.is_dir()
    assert "folder with this name" in caplog.text
    snapshot = require_snapshot(store)
    damage = damaged_tables(store, snapshot, _listing(store))
    # It stays damaged until somebody moves the folder, and is read from its other place.
    assert (set(damage), set(lost_sessions(store, snapshot, damage))) == ({_R1}, set())
    assert read_table_file(store, record).num_rows == 2
