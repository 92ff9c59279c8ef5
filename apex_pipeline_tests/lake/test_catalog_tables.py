"""Tests that the tables files, tracks and sessions are those of the snapshot, whatever state the roll-ups are in."""

from datetime import timedelta
from pathlib import Path

import pytest

from apex_pipeline.lake.catalog_tables import CatalogTables
from apex_pipeline.lake.publication import publish_session
from apex_pipeline.lake.records import UnassignedRecord, write_unassigned
from apex_pipeline.lake.snapshot import read_snapshot
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.storage.layout import record_key, snapshot_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import (
    NOON,
    derive_tables,
    publish_tables,
    put_raw_file,
    put_record,
    renew_roll_ups,
)

_R1, _R2, _R3 = (SessionKey("spa", name) for name in ("R1", "R2", "R3"))
_HOUR = timedelta(hours=1)


@pytest.fixture
def lake(store: LocalStore) -> LocalStore:
    publish_tables(store, _R1)
    publish_tables(store, _R2, now=NOON + _HOUR)
    return store


def _tables(store: LocalStore) -> CatalogTables:
    return CatalogTables(require_snapshot(store))


def _versions(tables: CatalogTables) -> dict[str, str]:
    return {row["session"]: row["inputs_version"] for row in tables.sessions.to_pylist()}


def _digests(tables: CatalogTables) -> dict[str, str]:
    return {row["path"]: row["sha256"] for row in tables.files.to_pylist()}


def test_the_roll_ups_of_a_finished_sync_are_the_tables(lake: LocalStore) -> None:
    tables = _tables(lake)
    assert _versions(tables) == {"R1": "v1", "R2": "v1"}
    assert sorted(_digests(tables)) == ["spa/R1_lap_start.csv", "spa/R2_lap_start.csv"]
    assert [(row["track"], row["sessions"], row["files"]) for row in tables.tracks.to_pylist()] == [("spa", 2, 2)]


def test_a_session_published_after_the_roll_ups_has_the_rows_of_its_published_record(lake: LocalStore) -> None:
    before = _digests(_tables(lake))
    publish_session(lake, derive_tables(lake, _R1, "v2", laps=4), NOON + 2 * _HOUR)
    tables = _tables(lake)
    assert _versions(tables) == {"R1": "v2", "R2": "v1"}
    after = _digests(tables)
    assert after["spa/R1_lap_start.csv"] != before["spa/R1_lap_start.csv"]
    assert after["spa/R2_lap_start.csv"] == before["spa/R2_lap_start.csv"]


def test_a_new_session_that_the_roll_ups_lack_is_listed(lake: LocalStore) -> None:
    publish_session(lake, derive_tables(lake, _R3), NOON + 2 * _HOUR)
    tables = _tables(lake)
    assert _versions(tables).keys() == {"R1", "R2", "R3"}
    assert "spa/R3_lap_start.csv" in _digests(tables)
    assert tables.tracks.to_pylist()[0]["sessions"] == 3


def test_a_session_whose_new_files_could_not_be_derived_keeps_the_rows_of_what_is_published(lake: LocalStore) -> None:
    before = _digests(_tables(lake))
    put_record(lake, _R1, "v2", [put_raw_file(lake, _R1, b"new content")])
    renew_roll_ups(lake)
    tables = _tables(lake)
    assert _versions(tables)["R1"] == "v1"
    assert _digests(tables) == before


def test_what_is_not_published_is_listed_only_for_the_present(lake: LocalStore) -> None:
    put_record(lake, _R3, "v1", [put_raw_file(lake, _R3)])
    write_unassigned(lake, UnassignedRecord(()))
    renew_roll_ups(lake)
    assert _versions(_tables(lake)).keys() == {"R1", "R2", "R3"}
    first = read_snapshot(lake, snapshot_key(str(require_snapshot(lake).parent)))
    then = CatalogTables(first, is_current=False)
    assert _versions(then).keys() == {"R1"}
    assert list(_digests(then)) == ["spa/R1_lap_start.csv"]
    assert then.tracks.to_pylist()[0]["sessions"] == 1


def test_a_lake_that_was_opened_before_a_sync_does_not_list_what_the_sync_published(lake: LocalStore) -> None:
    opened, already_read = _tables(lake), _tables(lake)
    assert set(_versions(already_read)) == {"R1", "R2"}
    publish_tables(lake, _R3, now=NOON + 2 * _HOUR)
    assert set(_versions(opened)) == {"R1", "R2"}
    assert sorted(_digests(already_read)) == ["spa/R1_lap_start.csv", "spa/R2_lap_start.csv"]
    assert [row["sessions"] for row in opened.tracks.to_pylist()] == [2]


@pytest.mark.parametrize("table", ["files", "tracks", "sessions"])
@pytest.mark.parametrize("damage", [None, b"", b"PAR1 not parquet", b"PAR1"])
def test_a_damaged_roll_up_changes_nothing(lake: LocalStore, table: str, damage: bytes | None) -> None:
    before = _tables(lake)
    expected = [before.files.to_pylist(), before.sessions.to_pylist(), before.tracks.to_pylist()]
    path = Path(lake.uri_of(f"catalog/{table}.parquet"))
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    after = _tables(lake)
    assert [after.files.to_pylist(), after.sessions.to_pylist(), after.tracks.to_pylist()] == expected


@pytest.mark.parametrize("table", ["files", "sessions"])
def test_a_roll_up_that_is_another_table_is_not_used(lake: LocalStore, table: str) -> None:
    expected = _digests(_tables(lake)), _versions(_tables(lake))
    lake.copy("catalog/tracks.parquet", f"catalog/{table}.parquet")
    assert (_digests(_tables(lake)), _versions(_tables(lake))) == expected


def test_every_flipped_byte_of_a_roll_up_gives_the_right_rows(lake: LocalStore) -> None:
    expected = _digests(_tables(lake)), _versions(_tables(lake))
    for name in ("files", "sessions"):
        path = Path(lake.uri_of(f"catalog/{name}.parquet"))
        content = path.read_bytes()
        for place in range(0, len(content), 211):
            path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
            assert (_digests(_tables(lake)), _versions(_tables(lake))) == expected, (name, place)
        path.write_bytes(content)


def test_without_roll_ups_and_records_the_published_records_are_left(lake: LocalStore) -> None:
    expected = _digests(_tables(lake))
    for name in ("files", "tracks", "sessions"):
        lake.delete(f"catalog/{name}.parquet")
    for key in (_R1, _R2):
        lake.write_bytes(record_key(str(key)), b"{}")
    assert _digests(_tables(lake)) == expected
    assert _tables(lake).tracks.to_pylist()[0]["track_name"] == "Spa"
