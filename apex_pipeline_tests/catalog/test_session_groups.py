"""Tables of many sessions that are kept on the disk of a reader: the same rows, with few requests."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from apex_pipeline.catalog import Catalog
from apex_pipeline.catalog.session_groups import group_sessions
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.lake.publication import Change, publish
from apex_pipeline.lake.published_session import PublishedSession
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.caching import CachedStore
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import LAP_REJECTS, LAPS
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.catalog.race_lake import local_store
from apex_pipeline_tests.lake.tables import NOON, laps_of, parquet_bytes, put_objects
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.cache_harness import cached_files, cached_store
from apex_pipeline_tests.storage.s3.harness import connect, store_of

_KEYS = [SessionKey("spa", f"R{number:02d}") for number in range(20)]


def _publish(store: ObjectStore, keys: list[SessionKey], extra: int = 0) -> None:
    """Publish sessions of which every fourth has no laps, every third another column, and every fifth rejects."""
    changes: dict[SessionKey, Change] = {}
    for key in keys:
        number = int(key.session[1:3])
        laps = laps_of(key, laps=extra + number % 4)
        if number % 3 == 0:
            laps = laps.append_column("fuel_l", pa.array([float(number)] * laps.num_rows))
        contents = {LAPS.name: parquet_bytes(laps)}
        if number % 5 == 0:
            row: dict[str, object] = dict.fromkeys(LAP_REJECTS.schema.names, "x")
            row |= {"track": key.track, "session": key.session, "source_row": 3, "occurrence": 0}
            contents[LAP_REJECTS.name] = parquet_bytes(LAP_REJECTS.from_rows([row]))
        tables = put_objects(store, key, contents)
        changes[key] = Change(PublishedSession(*key, f"v{extra}", ("gr_cup",), tables))
    publish(store, changes, NOON)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = local_store(tmp_path)
    _publish(store, _KEYS)
    return store


def _cached(store: ObjectStore, tmp_path: Path) -> CachedStore:
    return cached_store(store, tmp_path)


def test_another_process_asks_only_for_the_snapshot_and_what_changed(s3_bucket: S3Bucket, tmp_path: Path) -> None:
    writer = store_of(connect(s3_bucket))
    _publish(writer, _KEYS)
    first = _cached(store_of(connect(s3_bucket)), tmp_path)
    laps = Catalog(first).laps()
    assert first.request_stats.requests == 3 + 2 * len(_KEYS)  # pointer, snapshot, shard; record and laps of each
    second = _cached(store_of(connect(s3_bucket)), tmp_path)
    pd.testing.assert_frame_equal(Catalog(second).laps(), laps)
    assert second.request_stats.requests == 3
    _publish(writer, _KEYS[:1], extra=7)
    third = _cached(store_of(connect(s3_bucket)), tmp_path)
    assert len(Catalog(third).laps()) == len(laps) + 7
    group, *others = group_sessions(Catalog(writer).snapshot, "laps", _KEYS)
    assert others
    assert third.request_stats.requests == 3 + 2 * len(group.keys)


@pytest.mark.parametrize("name", ["laps", "rejects", "lap_rejects"])
def test_rows_their_order_and_their_types_are_those_of_a_reader_without_a_cache(
    store: LocalStore, tmp_path: Path, name: str
) -> None:
    expected = Catalog(store).table(name)
    for _ in range(2):
        found = Catalog(_cached(store, tmp_path)).table(name)
        pd.testing.assert_frame_equal(found, expected)
    assert len(cached_files(tmp_path)) == len(group_sessions(Catalog(store).snapshot, name, _KEYS))


def test_a_table_without_rows_keeps_its_columns(store: LocalStore, tmp_path: Path) -> None:
    _publish(store, [SessionKey("monza", "R00"), SessionKey("monza", "R04")])
    for lake in (Catalog(store), Catalog(_cached(store, tmp_path))):
        laps = lake.laps("monza")
        assert laps.empty
        assert {*LAPS.schema.names, "fuel_l"} <= {*laps.columns}


def test_a_table_that_no_session_has_is_an_error_with_a_suggestion(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No table is called 'lap'") as error:
        Catalog(_cached(store, tmp_path)).table("lap")
    assert "laps" in error.value.hint


def test_a_damaged_file_is_made_again(store: LocalStore, tmp_path: Path) -> None:
    expected = Catalog(_cached(store, tmp_path)).laps()
    for path in cached_files(tmp_path):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-9] + b"123456789")
    pd.testing.assert_frame_equal(Catalog(_cached(store, tmp_path)).laps(), expected)


def test_without_a_usable_disk_everything_is_read_from_the_store(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    pd.testing.assert_frame_equal(Catalog(_cached(store, tmp_path)).laps(), Catalog(store).laps())


def test_one_more_session_changes_the_group_it_comes_into(store: LocalStore) -> None:
    before = {group.name for group in group_sessions(Catalog(store).snapshot, "laps", _KEYS)}
    _publish(store, [SessionKey("spa", "R04b")])
    keys = Catalog(store).snapshot.keys
    after = {group.name for group in group_sessions(Catalog(store).snapshot, "laps", keys)}
    assert len(after - before) <= 2  # two if it ends a group
    assert after & before
