"""Published tables are exported to a database file or CSV files with every row and value."""

import csv
import json
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apex_pipeline.catalog.conditions import rows_where
from apex_pipeline.errors import ConfigurationError, MissingExtraError, ReconciliationError
from apex_pipeline.export.formats import TableWriter, csv_folder, duckdb_file, sqlite_file
from apex_pipeline.export.tables import Choice, ExportedTable, Format, export_bytes, export_tables, select_tables
from apex_pipeline.lake.objects import read_table_file
from apex_pipeline.lake.publication import Change, publish
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.progress import progress_to
from apex_pipeline.sources import all_tables
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import TELEMETRY
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.catalog.race_lake import car_rows, publish_race
from apex_pipeline_tests.lake.tables import NOON, parquet_bytes, publish_tables

pytestmark = pytest.mark.req("A-142")

_FORMATS: tuple[Format, ...] = ("sqlite", "duckdb", "csv")
_OPENERS = {"sqlite": sqlite_file, "duckdb": duckdb_file, "csv": csv_folder}


def _rows(kind: Format, target: Path, table: str) -> list[dict[str, Any]]:
    """Return the rows of an exported table, with the values of the format."""
    if kind == "csv":
        with (target / f"{table}.csv").open(newline="", encoding="utf-8") as file:
            return [*csv.DictReader(file)]
    if kind == "parquet":
        return pq.read_table(target / f"{table}.parquet").to_pylist()
    if kind == "sqlite":
        with closing(sqlite3.connect(target)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(f'SELECT * FROM "{table}"')]  # noqa: S608  -- a table name of these tests
    with closing(duckdb.connect(str(target), read_only=True)) as connection:
        return connection.sql(f'SELECT * FROM "{table}"').to_arrow_table().to_pylist()  # noqa: S608  -- as above


def test_all_tables_but_telemetry_are_exported_by_default() -> None:
    assert select_tables([]) == tuple(name for name in all_tables() if name != "telemetry")
    assert select_tables(["telemetry", "cars"]) == ("cars", "telemetry")


def test_an_unknown_table_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"Unknown tables: lap\. Available: laps"):
        select_tables(["lap"])


@pytest.mark.parametrize("kind", _FORMATS)
def test_every_table_has_as_many_rows_as_in_the_lake(lake: LocalStore, tmp_path: Path, kind: Format) -> None:
    snapshot = require_snapshot(lake)
    exported = export_tables(lake, snapshot, select_tables([]), kind, tmp_path / "out")
    for name, rows in ((table.name, table.rows) for table in exported):
        records = [record.tables[name] for record in snapshot.sessions if name in record.tables]
        assert rows == sum(record.rows for record in records) or name in {"files", "tracks", "sessions"}
        assert len(_rows(kind, tmp_path / "out", name)) == rows
    assert {table.name: table.rows for table in exported}["laps"] == 215
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake", "out"]


@pytest.mark.parametrize("kind", ["sqlite", "csv"])
def test_values_are_those_of_the_lake_with_times_as_iso_text_in_utc(
    lake: LocalStore, tmp_path: Path, kind: Format
) -> None:
    snapshot = require_snapshot(lake)
    export_tables(lake, snapshot, ("laps", "official_laps"), kind, tmp_path / "out")
    exported, published = _rows(kind, tmp_path / "out", "laps"), []
    for record in snapshot.sessions:
        published += read_table_file(lake, record.tables["laps"]).to_pylist()
    for row, original in zip(exported, published, strict=True):
        end = original["lap_end_utc"]
        stamp = "" if end is None else end.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert (row["lap_end_utc"] or "") == stamp
        assert (row["track"], row["vehicle_id"]) == (original["track"], original["vehicle_id"])
        assert json.loads(row["flags"]) == original["flags"]
        assert str(row["is_valid"]) == str(int(original["is_valid"]))
        assert (row["lap_time_s"] in {None, ""}) == (original["lap_time_s"] is None)
        assert float(row["lap_time_s"] or 0) == (original["lap_time_s"] or 0)
    clock = _rows(kind, tmp_path / "out", "official_laps")[0]["crossing_local_time"]
    first = read_table_file(lake, snapshot.sessions[0].tables["official_laps"])["crossing_local_time"][0].as_py()
    assert clock == first.isoformat(timespec="milliseconds")


def test_duckdb_keeps_the_types_of_times_lists_and_booleans(lake: LocalStore, tmp_path: Path) -> None:
    snapshot = require_snapshot(lake)
    export_tables(lake, snapshot, ("laps",), "duckdb", tmp_path / "out")
    exported, published = _rows("duckdb", tmp_path / "out", "laps"), []
    for record in snapshot.sessions:
        published += read_table_file(lake, record.tables["laps"]).to_pylist()
    assert [(row["flags"], row["is_valid"], row["lap_time_s"], row["track"]) for row in exported] == [
        (row["flags"], row["is_valid"], row["lap_time_s"], row["track"]) for row in published
    ]
    assert [row["lap_end_utc"] for row in exported] == [row["lap_end_utc"] for row in published]


@pytest.mark.parametrize("kind", _FORMATS)
def test_channels_that_only_one_session_has_are_null_in_the_others(
    store: LocalStore, tmp_path: Path, kind: Format
) -> None:
    keys = [SessionKey("spa", "R1"), SessionKey("spa", "R2")]
    for number, key in enumerate(keys):
        rows = car_rows("GR86-001-1", 5)
        if number:
            rows = rows.append_column('odd "channel"', pa.array([1.5] * 5)).drop_columns(["gear"])
            rows = rows.append_column("gear", pa.array([3.0] * 5))
        publish_tables(store, key, contents={"telemetry": parquet_bytes(rows)})
    exported = export_tables(store, require_snapshot(store), ("telemetry",), kind, tmp_path / "out")
    assert exported == [ExportedTable("telemetry", 10)]
    odd = [row['odd "channel"'] or None for row in _rows(kind, tmp_path / "out", "telemetry")]
    assert [value and float(value) for value in odd] == [None] * 5 + [1.5] * 5
    gears = [float(row["gear"]) for row in _rows(kind, tmp_path / "out", "telemetry")]
    assert gears[5:] == [3.0] * 5


def test_telemetry_of_several_batches_is_exported_completely(store: LocalStore, tmp_path: Path) -> None:
    race = publish_race(store, 200)
    exported = export_tables(race.store, race.catalog.snapshot, ("telemetry",), "sqlite", tmp_path / "out.db")
    assert exported == [ExportedTable("telemetry", 4_000)]
    first = _rows("sqlite", tmp_path / "out.db", "telemetry")[0]
    assert first["sample_time_utc"] == "2025-09-06T18:40:00.000Z"
    assert set(first) == set(TELEMETRY.schema.names)


@pytest.mark.parametrize("kind", _FORMATS)
def test_an_export_with_missing_rows_is_refused(lake: LocalStore, tmp_path: Path, kind: Format) -> None:
    session = require_snapshot(lake).sessions[0]
    laps = replace(session.tables["laps"], rows=49)
    altered = publish(lake, {session.key: Change(replace(session, tables={**session.tables, "laps": laps}))}, NOON)
    with pytest.raises(ReconciliationError, match="has 215 rows, the lake 216"):
        export_tables(lake, altered, ("laps",), kind, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]


@pytest.mark.parametrize("kind", _FORMATS)
def test_text_with_commas_quotes_and_line_ends_is_exported_unchanged(tmp_path: Path, kind: Format) -> None:
    odd = ['a, "b"\nc', None, "ü;\t'"]
    table = pa.table({"text": pa.array(odd), "list": pa.array([["x", "y"], None, []], pa.list_(pa.string()))})
    target = tmp_path / "out"
    if kind == "csv":
        target.mkdir()
    opener = _OPENERS[kind]
    with opener(target) as writer:
        _fill(writer, table)
    found = [row["text"] or None for row in _rows(kind, target, "things")]
    assert found == odd
    lists = [row["list"] or None for row in _rows(kind, target, "things")]
    assert lists == ([["x", "y"], None, None] if kind == "duckdb" else ['["x", "y"]', None, "[]"])


def _fill(writer: TableWriter, table: pa.Table) -> None:
    writer.create("things", table.schema)
    for batch in table.to_batches():
        writer.write(batch)
    assert writer.count() == table.num_rows


def test_sqlite_columns_have_the_types_of_the_schema_with_or_without_values(tmp_path: Path) -> None:
    schema = pa.schema([("whole", pa.int64()), ("real", pa.float64()), ("flag", pa.bool_()), ("text", pa.string())])
    with sqlite_file(tmp_path / "out") as writer:
        _fill(writer, schema.empty_table())
    with sqlite_file(tmp_path / "values") as writer:
        _fill(writer, pa.table([[1, None], [2.0, None], [True, None], ["a", None]], schema=schema))
    for name in ("out", "values"):
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            types = [kind for _, _, kind, *_ in connection.execute("PRAGMA table_info(things)")]
        assert types == ["INTEGER", "REAL", "INTEGER", "TEXT"]
    first, second = (tuple(row.values()) for row in _rows("sqlite", tmp_path / "values", "things"))
    assert (first, second) == ((1, 2.0, 1, "a"), (None,) * 4)
    assert [type(value) for value in first] == [int, float, int, str]


def test_csv_writes_numbers_as_python_does_and_null_as_an_empty_cell(tmp_path: Path) -> None:
    table = pa.table({"whole": pa.array([7, None]), "real": pa.array([3.0, 1e-7]), "text": pa.array([None, "03"])})
    with csv_folder(tmp_path) as writer:
        _fill(writer, table)
    assert (tmp_path / "things.csv").read_bytes() == b"whole,real,text\n7,3.0,\n,1e-07,03\n"


def test_without_duckdb_the_error_names_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with (
        pytest.raises(MissingExtraError, match=r"not installed\. Install it with: pip install 'apex-pipeline\[sql\]'"),
        duckdb_file(tmp_path / "out"),
    ):
        pass


def test_the_progress_of_an_export_ends_at_the_size_of_its_tables(lake: LocalStore, tmp_path: Path) -> None:
    snapshot, steps, names = require_snapshot(lake), list[int](), ("laps", "cars", "tracks")
    with progress_to(steps.append):
        export_tables(lake, snapshot, names, "csv", tmp_path / "new")
    assert sum(steps) == export_bytes(snapshot, names) > 0


@pytest.mark.parametrize("kind", [*_FORMATS, "parquet"])
def test_only_the_chosen_sessions_rows_and_columns_are_exported(lake: LocalStore, tmp_path: Path, kind: Format) -> None:
    snapshot = require_snapshot(lake)
    key = snapshot.keys[-1]
    choice = Choice(frozenset({key}), lambda rows: rows_where(rows, "lap_number = 3"), ("lap_time_s", "vehicle_id"))
    exported = export_tables(lake, snapshot, ["laps"], kind, tmp_path / "out", choice)
    laps = read_table_file(lake, snapshot.sessions[-1].tables["laps"]).to_pylist()
    expected = [(lap["lap_time_s"], lap["vehicle_id"]) for lap in laps if lap["lap_number"] == 3]
    assert exported == [ExportedTable("laps", len(expected))]
    assert expected
    rows = _rows(kind, tmp_path / "out", "laps")
    assert [[*row] for row in rows] == [["lap_time_s", "vehicle_id"]] * len(expected)
    assert [(float(row["lap_time_s"]), row["vehicle_id"]) for row in rows] == expected


def test_parquet_keeps_every_row_value_and_type(lake: LocalStore, tmp_path: Path) -> None:
    snapshot = require_snapshot(lake)
    exported = export_tables(lake, snapshot, ["laps", "telemetry"], "parquet", tmp_path / "out")
    for table in exported:
        published = [read_table_file(lake, record.tables[table.name]) for record in snapshot.sessions]
        rows = [row for part in published for row in part.to_pylist()]
        found = pq.read_table(tmp_path / "out" / f"{table.name}.parquet")
        assert found.schema.equals(published[0].schema)
        assert found.to_pylist() == rows
        assert table.rows == len(rows)


def test_tables_of_the_catalog_have_only_the_chosen_sessions(lake: LocalStore, tmp_path: Path) -> None:
    snapshot = require_snapshot(lake)
    key = snapshot.keys[0]
    choice = Choice(frozenset({key}))
    export_tables(lake, snapshot, ["sessions", "tracks"], "csv", tmp_path / "out", choice)
    assert [(row["track"], row["session"]) for row in _rows("csv", tmp_path / "out", "sessions")] == [tuple(key)]
    assert [row["track"] for row in _rows("csv", tmp_path / "out", "tracks")] == [key.track]


@pytest.mark.parametrize("names", [["laps"], ["sessions"]])
def test_a_column_that_a_table_does_not_have_is_an_error_and_nothing_is_written(
    lake: LocalStore, tmp_path: Path, names: list[str]
) -> None:
    with pytest.raises(ConfigurationError, match=rf"{names[0]} has no column trak\..*Did you mean track\?"):
        export_tables(lake, require_snapshot(lake), names, "parquet", tmp_path / "out", Choice(columns=("trak",)))
    assert not (tmp_path / "out").exists()


def test_a_choice_without_rows_is_an_empty_table_with_its_columns(lake: LocalStore, tmp_path: Path) -> None:
    choice = Choice(rows=lambda rows: rows_where(rows, "lap_number = 999"))
    exported = export_tables(lake, require_snapshot(lake), ["laps"], "parquet", tmp_path / "out", choice)
    assert exported == [ExportedTable("laps", 0)]
    assert "lap_number" in pq.read_schema(tmp_path / "out" / "laps.parquet").names
