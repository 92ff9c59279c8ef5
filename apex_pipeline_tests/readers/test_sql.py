"""SQL over a lake: all sessions, telemetry in parts, and nothing but the lake."""

import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from apex_pipeline import Catalog, open_catalog
from apex_pipeline.errors import ConfigurationError, MissingExtraError

_HAS_DUCKDB = find_spec("duckdb") is not None
_needs_duckdb = pytest.mark.skipif(not _HAS_DUCKDB, reason="an extra that readers need not have")


@pytest.fixture(scope="module")
def catalog(lake: Path) -> Catalog:
    return open_catalog(lake)


@pytest.mark.skipif(_HAS_DUCKDB, reason="DuckDB is installed")
def test_without_duckdb_the_extra_is_named(catalog: Catalog) -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'apex-pipeline\[sql\]'"):
        catalog.sql("select 1")


@_needs_duckdb
def test_a_query_covers_every_session(catalog: Catalog) -> None:
    best = catalog.sql("select track, min(lap_time_s) as best_s from laps where is_valid group by 1 order by 1")
    laps = catalog.laps(valid=True)
    expected = laps.groupby("track", observed=True)["lap_time_s"].min().sort_index()
    assert dict(zip(best["track"], best["best_s"], strict=True)) == expected.to_dict()


@_needs_duckdb
@pytest.mark.parametrize("name", ["laps", "sessions", "tracks", "files", "results", "weather", "rejects", "cars"])
def test_every_table_can_be_asked(catalog: Catalog, name: str) -> None:
    found = catalog.sql(f"select count(*) as n from {name}", frame="arrow").to_pylist()  # noqa: S608  -- fixed names
    assert found == [{"n": catalog.table(name, frame="arrow").num_rows}]


@_needs_duckdb
def test_telemetry_and_values_of_a_query(catalog: Catalog) -> None:
    query = """
        select t.session, count(*) as n, max(speed_kph) as top from telemetry t
        join laps l using (track, session, vehicle_id, lap_number) where l.car_number = ? group by all order by all
    """
    rows = catalog.sql(query, ["13"], frame="arrow").to_pylist()
    assert len(rows) > 1
    assert all(row["n"] > 0 and row["top"] > 50 for row in rows)


@_needs_duckdb
def test_counts_are_nullable_and_an_empty_answer_has_its_columns(catalog: Catalog) -> None:
    frame = catalog.sql("select lap_number, unit_lap from laps where false")
    assert list(frame.columns) == ["lap_number", "unit_lap"]
    assert str(frame["unit_lap"].dtype) == "Int64"


@_needs_duckdb
def test_times_and_their_hours_are_utc_wherever_the_machine_is(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "select lap_start_utc, hour(lap_start_utc) as hour from laps where lap_start_utc is not null"
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        found = catalog.sql(query, frame="arrow")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found.schema.field("lap_start_utc").type.tz == "UTC"
    times = catalog.laps(frame="arrow")["lap_start_utc"].drop_null()
    assert sorted(found["hour"].to_pylist()) == sorted(moment.hour for moment in times.to_pylist())


@_needs_duckdb
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select * from lap", "Table with name lap does not exist"),
        ("select lap from laps", '"lap" not found'),
        ("selct 1", "syntax error"),
        ("select ? from laps", "Values were not provided"),
        ("", "not one select"),
        ("select 1; select 2", "not one select"),
        ("delete from laps", "not one select"),
        ("create table x as select 1", "not one select"),
        ("pragma version", "not one select"),
        ("set enable_external_access = true", "not one select"),
        ("copy laps to '/tmp/x.csv'", "not one select"),
        ("attach '/tmp/x.db'", "not one select"),
        ("select * from read_csv('/etc/hosts')", "file system operations are disabled"),
        ("select * from read_parquet('https://example.org/x.parquet')", "Permission|disabled|Missing Extension"),
        ("select * from glob('/*')", "file system operations are disabled"),
        ("select * from '/etc/hosts'", "does not exist"),
        ("select * from catalog", "does not exist"),
        (f"select {'1,' * 50_001} 1", "longer than 100,000"),
    ],
)
def test_what_is_not_a_question_to_the_lake_is_refused(catalog: Catalog, query: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        catalog.sql(query)
