"""SQL over a lake: all sessions, telemetry in parts, and nothing but the lake."""

import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from apex_pipeline import Catalog, open_catalog
from apex_pipeline.catalog.sql import run_sql
from apex_pipeline.errors import ConfigurationError, MissingExtraError
from apex_pipeline.settings import load_settings

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
        ("copy (select 1) to '/tmp/x.csv'", "not one select"),
        ("install httpfs", "not one select"),
        ("load httpfs", "not one select"),
        ("export database '/tmp/x'", "not one select"),
        ("import database '/etc'", "not one select|file system operations are disabled"),
        ("explain analyze copy laps to '/tmp/x.csv'", "not one select"),
        ("create secret (type s3)", "not one select"),
        ("attach '/tmp/x.db'", "not one select"),
        ("select * from read_csv('/etc/passwd')", "file system operations are disabled"),
        ("select * from read_text('/etc/passwd')", "file system operations are disabled"),
        ("select * from read_blob('/etc/passwd')", "file system operations are disabled"),
        ("select * from parquet_metadata('/etc/passwd')", "file system operations are disabled"),
        ("select * from query('copy laps to ''/tmp/x.csv''')", "single SELECT"),
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


@_needs_duckdb
@pytest.mark.parametrize(
    "query",
    [
        # Held by DuckDB, or handed over row by row.
        "select * from laps a, laps b, laps c order by a.lap_time_s * b.lap_time_s",
        "select list(a) from laps a, laps b, laps c",
        "select a.* from laps a, laps b, laps c",
    ],
)
def test_a_query_that_needs_too_much_memory_is_an_error_with_the_next_step(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"more memory than the 50.0 MB .* APEX_MEMORY_LIMIT") as refused:
        run_sql(query, [], ["laps"], catalog.table_arrow, 50_000_000)
    assert "Ask for less" in refused.value.hint
    # Nothing is moved to the disk.
    assert list(tmp_path.iterdir()) == []


@_needs_duckdb
def test_the_limit_is_the_setting(lake: Path) -> None:
    asked = "select current_setting('memory_limit') as memory, current_setting('temp_directory') as folder"
    (row,) = open_catalog(lake, load_settings(memory_limit="700 MB")).sql(asked, frame="arrow").to_pylist()
    assert row == {"memory": "667.5 MiB", "folder": ""}


@_needs_duckdb
def test_a_row_that_fails_while_it_is_fetched_is_an_error_of_the_query(catalog: Catalog) -> None:
    with pytest.raises(ConfigurationError, match=r"DuckDB refuses the query: .*boom"):
        catalog.sql("select case when n = 90000 then error('boom') else n end from range(100000) r(n)")
