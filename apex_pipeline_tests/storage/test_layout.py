"""Tests of the keys of the lake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.storage import layout
from apex_pipeline.storage.keys import UnsafeKeyError, is_legal_key


@pytest.mark.req("A-020")
@given(st.text(min_size=1, max_size=40))
def test_the_key_of_a_raw_file_keeps_its_path(path: str) -> None:
    if is_legal_key(f"data/{path}"):
        assert layout.raw_path(layout.raw_key(path)) == path
    else:
        with pytest.raises(UnsafeKeyError):
            layout.raw_key(path)


def test_a_raw_file_has_the_same_key_as_in_the_seed() -> None:
    assert layout.raw_key("sebring/x.csv") == "data/sebring/x.csv"


@pytest.mark.parametrize("key", ["tables/x", "data/", "data", "xdata/y"])
def test_other_keys_have_no_raw_path(key: str) -> None:
    with pytest.raises(ValueError, match="not the key of a raw file"):
        layout.raw_path(key)


def test_a_session_table_is_partitioned_by_track_and_session() -> None:
    key = layout.table_key("tables", "laps", "barber_motorsports_park/R1")
    assert key == "tables/laps/track=barber_motorsports_park/session=R1/laps.parquet"


def test_a_table_without_partitions_is_one_file() -> None:
    assert layout.table_key("catalog", "files") == "catalog/files.parquet"


@pytest.mark.parametrize("partition", ["", "sebring", "sebring/", "/R1", "sebring/R1/x"])
def test_an_invalid_partition_is_refused(partition: str) -> None:
    with pytest.raises(ValueError, match="should be track/session"):
        layout.table_key("tables", "laps", partition)


def test_keys_of_history_quarantine_and_snapshots() -> None:
    assert layout.history_key("ab12") == "history/ab12.parquet"
    assert layout.quarantine_reason_key("vir/x.csv") == "quarantine/vir/x.csv.reason.json"
    assert layout.snapshot_key("7") == "catalog/snapshots/7.json"
    assert layout.snapshot_table_key("7", "files") == "catalog/snapshots/7/files.parquet"
    assert layout.report_key("vir/R1") == "reports/track=vir/session=R1/report.html"
    assert layout.CURRENT_SNAPSHOT_KEY == "catalog/current.json"


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", ""])
def test_an_unsafe_path_has_no_key(path: str) -> None:
    with pytest.raises(UnsafeKeyError):
        layout.raw_key(path)
    if path:
        with pytest.raises(UnsafeKeyError):
            layout.quarantine_reason_key(f"{path}/..")
        with pytest.raises(UnsafeKeyError):
            layout.report_key(f"vir/{path}/..")
