"""Tests of publication: whole, per session, and nothing that another sync published is lost."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from apex_pipeline.errors import ObjectMissingError
from apex_pipeline.lake import snapshot as snapshot_module
from apex_pipeline.lake.objects import read_table_file
from apex_pipeline.lake.publication import Change, publish, publish_session
from apex_pipeline.lake.snapshot import Snapshot, read_current, shard_count, shard_number
from apex_pipeline.lake.tables import require_session
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, SHARDS_PREFIX, SNAPSHOTS_PREFIX, derived_key, object_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import RACE_TABLES
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import NOON, derive_tables, publish_tables

_R1, _R2 = SessionKey("spa", "R1"), SessionKey("spa", "R2")
_ALL = [table.name for table in RACE_TABLES]


def _current(store: LocalStore) -> Snapshot:
    snapshot = read_current(store)
    assert snapshot is not None
    return snapshot


@pytest.fixture
def many(store: LocalStore) -> LocalStore:
    """A lake of 80 published sessions, enough for eight shards, which share one session's table files."""
    publish_tables(store, SessionKey("track0", "R1"))
    session = require_session(_current(store), SessionKey("track0", "R1"))
    others = [replace(session, track=f"track{number}") for number in range(1, 80)]
    publish(store, {other.key: Change(other) for other in others}, NOON)
    return store


def test_publishing_one_session_shares_the_other_parts(many: LocalStore) -> None:
    before = _current(many)
    publish_tables(many, SessionKey("track0", "R1"), "v2", laps=3)
    after = _current(many)
    assert len(before.shards) == len(after.shards) == 8
    assert len(set(before.shards) - set(after.shards)) == 1
    assert after.keys == before.keys


def test_publishing_writes_little_however_many_sessions_there_are(many: LocalStore) -> None:
    before = {item.key: item.size for item in many.list(SNAPSHOTS_PREFIX)}
    publish_tables(many, SessionKey("track0", "R1"), "v2", laps=3)
    written = {item.key: item.size for item in many.list(SNAPSHOTS_PREFIX) if item.key not in before}
    # The published record, its shard and the snapshot.
    assert len(written) == 3
    assert sum(written.values()) < 20_000


def test_the_derived_list_is_gone_once_its_tables_are_published(store: LocalStore) -> None:
    publish_tables(store, _R1)
    assert store.head(derived_key(str(_R1))) is None


def test_a_missing_required_table_is_named_with_the_asset_to_materialize(store: LocalStore) -> None:
    record = derive_tables(store, _R1, only=[name for name in _ALL if name != "laps"])
    with pytest.raises(ObjectMissingError, match=r"laps has not been derived.*Materialize tables/laps"):
        publish_session(store, record, NOON)
    assert read_current(store) is None


def test_tables_of_other_files_are_never_mixed_in(store: LocalStore) -> None:
    publish_tables(store, _R1, "v1", laps=1)
    record = derive_tables(store, _R1, "v2", laps=2, only=["laps"])
    with pytest.raises(ObjectMissingError):
        publish_session(store, record, NOON)
    published = _current(store).session(_R1)
    assert published is not None
    assert published.inputs_version == "v1"
    assert published.tables["laps"].rows == 1


def test_a_table_derived_again_from_the_same_files_joins_the_published_ones(store: LocalStore) -> None:
    publish_tables(store, _R1, "v1", laps=1)
    record = derive_tables(store, _R1, "v1", laps=2, only=["laps"])
    publish_session(store, record, NOON + timedelta(minutes=1))
    published = _current(store).session(_R1)
    assert published is not None
    assert published.tables.keys() == set(_ALL)
    assert published.tables["laps"].rows == 2


def test_stable_names_are_copies_of_the_published_objects(store: LocalStore) -> None:
    publish_tables(store, _R1, laps=1)
    publish_tables(store, _R1, "v2", laps=4)
    published = _current(store).session(_R1)
    assert published is not None
    for table in published.tables.values():
        assert store.read_bytes(table.key) == store.read_bytes(object_key(table.sha256))


def test_a_stable_name_of_a_table_that_is_no_more_is_removed(store: LocalStore) -> None:
    publish_tables(store, _R1)
    record = derive_tables(store, _R1, "v2", only=[name for name in _ALL if name != "weather"])
    publish_session(store, record, NOON + timedelta(minutes=1))
    assert store.head("tables/weather/track=spa/session=R1/weather.parquet") is None


def test_a_publication_that_ended_before_its_stable_names_is_finished_by_the_next(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_tables(store, _R1, laps=1)
    record = derive_tables(store, _R1, "v2", laps=5)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("apex_pipeline.lake.publication.write_stable_names", stop)
        with pytest.raises(KeyboardInterrupt):
            publish_session(store, record, NOON)
    assert store.head(derived_key(str(_R1))) is not None
    publish_session(store, record, NOON)
    published = _current(store).session(_R1)
    assert published is not None
    laps = published.tables["laps"]
    assert store.read_bytes(laps.key) == store.read_bytes(object_key(laps.sha256))


class _Interrupted(LocalStore):
    """A lake in which another process publishes just before the pointer is swapped."""

    def __init__(self, root: Path, others: list[tuple[SessionKey, str]]) -> None:
        super().__init__(root, DigestCache())
        self._others = others

    def write_if(self, key: str, content: bytes, expected_tag: str | None) -> ObjectInfo | None:
        if key == CURRENT_SNAPSHOT_KEY and self._others:
            other, version = self._others.pop()
            publish_tables(LocalStore(Path(self.uri), DigestCache()), other, version)
        return super().write_if(key, content, expected_tag)


def test_what_others_publish_at_the_same_moment_is_kept(store: LocalStore) -> None:
    others = [(SessionKey(f"ring{number}", "R1"), "v1") for number in range(4)]
    publish_tables(_Interrupted(Path(store.uri), list(others)), _R1)
    assert set(_current(store).keys) == {_R1, *(key for key, _ in others)}


def test_many_threads_publish_different_sessions_and_none_is_lost(store: LocalStore) -> None:
    keys = [SessionKey(f"track{number}", f"R{number % 3 + 1}") for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: publish_tables(LocalStore(Path(store.uri), DigestCache()), key), keys))
    assert _current(store).keys == tuple(sorted(keys))


def test_a_session_is_taken_out(store: LocalStore) -> None:
    publish_tables(store, _R1)
    publish_tables(store, _R2)
    publish(store, {_R1: Change(None)}, NOON + timedelta(minutes=1), "forgotten")
    assert _current(store).keys == (_R2,)
    assert _current(store).note == "forgotten"


def test_an_older_snapshot_still_reads_its_own_tables(store: LocalStore) -> None:
    first = publish_tables(store, _R1, laps=1)
    publish_tables(store, _R1, "v2", laps=7)
    old = first.session(_R1)
    assert old is not None
    assert read_table_file(store, old.tables["laps"]).num_rows == 1


def test_the_number_of_shards_grows_so_that_a_shard_stays_small() -> None:
    assert [shard_count(number) for number in (0, 64, 65, 2_048, 2_049, 16_384, 100_000)] == [1, 1, 8, 8, 64, 64, 512]


def test_sessions_are_spread_over_the_shards() -> None:
    numbers = [shard_number(SessionKey(f"track{number}", "R1"), 8) for number in range(1_600)]
    assert max(numbers.count(number) for number in range(8)) < 300


def test_a_lake_that_grows_beyond_one_shard_keeps_all_sessions(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_module, "_SHARDS", ((4, 1), (2_048, 8)))  # instead of 64 sessions in one shard
    keys = [SessionKey(f"track{number}", "R1") for number in range(8)]
    for key in keys:
        publish_tables(store, key)
    snapshot = _current(store)
    assert len(snapshot.shards) == 8
    assert snapshot.keys == tuple(sorted(keys))
    assert len(list(store.list(SHARDS_PREFIX))) >= 8
