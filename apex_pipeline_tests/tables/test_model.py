"""Tests the table model: building tables, and reporting every violation of a schema."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from apex_pipeline.sources import all_tables
from apex_pipeline.tables import LAPS, TELEMETRY
from apex_pipeline.tables.model import Column, Table

_TABLES = all_tables()


_NOTES = Table(
    name="notes",
    folder="tables",
    description="Notes.",
    key=("car", "lap"),
    columns=(
        Column("car", "category", "Car.", required=True),
        Column("lap", "integer", "Lap.", minimum=1, maximum=99),
        Column("mood", "category", "Mood.", allowed=("good", "bad")),
        Column("seen_utc", "timestamp_utc", "When."),
        Column("speed_kph", "float", "Speed.", "km/h"),
    ),
)


def _notes(**changes: list[object]) -> pa.Table:
    values: dict[str, object] = {"car": ["a", "b"], "lap": [1, 2], "mood": ["good", None], **changes}
    return _NOTES.from_columns(values)


def test_a_table_that_matches_its_schema_has_no_violations() -> None:
    assert _NOTES.violations(_notes()) == []


def test_a_missing_column_is_null_on_every_row() -> None:
    assert _notes().column("speed_kph").null_count == 2


def test_a_key_missing_from_a_row_is_null() -> None:
    at = datetime(2025, 9, 6, 18, 40, tzinfo=UTC)
    table = _NOTES.from_rows([{"car": "a", "lap": 1, "seen_utc": at}, {"car": "b", "lap": 2}])
    assert table.column("seen_utc").to_pylist() == [at, None]


@pytest.mark.parametrize(
    ("changes", "violation"),
    [
        ({"car": ["a", None]}, "column car is null on 1 rows"),
        ({"lap": [0, 2]}, "column lap is outside its bounds on 1 rows"),
        ({"lap": [1, 100]}, "column lap is outside its bounds on 1 rows"),
        ({"mood": ["good", "ugly"]}, "column mood is outside its bounds on 1 rows"),
        ({"car": ["a", "a"], "lap": [1, 1]}, "1 rows repeat the key (car, lap)"),
    ],
)
def test_every_violation_is_reported(changes: dict[str, list[object]], violation: str) -> None:
    assert violation in _NOTES.violations(_notes(**changes))


def test_missing_undeclared_and_mistyped_columns_are_reported() -> None:
    table = _notes().drop_columns(["mood"]).append_column("extra", pa.array([1, 2]))
    table = table.set_column(1, "lap", pa.array(["1", "2"]))
    assert _NOTES.violations(table) == [
        "column lap is string, not int64",
        "column mood is missing",
        "column extra is not declared",
    ]


def test_extra_columns_are_accepted_where_a_table_allows_them() -> None:
    schema = TELEMETRY.schema_with(["turbo_bar"])
    assert schema.field("turbo_bar").type == pa.float64()
    assert TELEMETRY.violations(schema.empty_table()) == []


def test_a_field_has_description_and_unit_in_its_metadata() -> None:
    assert LAPS.schema.field("lap_time_s").metadata == {
        b"description": b"Best estimate of the lap time.",
        b"unit": b"seconds",
    }


@pytest.mark.parametrize("table", _TABLES.values(), ids=_TABLES.keys())
def test_every_published_table_is_consistent(table: Table) -> None:
    names = [column.name for column in table.columns]
    assert len(names) == len(set(names))
    assert set(table.key) <= set(names)
    assert set(table.sort_by) <= set(names)
    assert table.violations(table.empty()) == []


@pytest.mark.parametrize("table", _TABLES.values(), ids=_TABLES.keys())
def test_every_column_has_a_description_and_only_booleans_start_with_is_or_has(table: Table) -> None:
    for column in table.columns:
        assert column.description.endswith(".") or "(" in column.description or column.description.endswith("…"), (
            column.name
        )
        # from_green is the name that readers of laps agreed on.
        is_named = column.name.startswith(("is_", "has_")) or column.name == "from_green"
        assert (column.kind == "boolean") == is_named


def test_the_same_column_has_the_same_type_everywhere() -> None:
    kinds: dict[str, set[str]] = {}
    for table in _TABLES.values():
        if table.folder == "tables":
            for column in table.columns:
                kinds.setdefault(column.name, set()).add(column.kind)
    assert {name for name, found in kinds.items() if len(found) > 1} == set()
