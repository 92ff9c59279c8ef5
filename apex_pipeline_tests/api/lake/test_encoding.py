"""Rows as JSON, CSV and Arrow: no NaN, times in ISO 8601, and every row back as it was."""

import io
import json
import math
from datetime import UTC, datetime, time
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.api.lake import encoding
from apex_pipeline.api.lake.encoding import arrow_bytes, csv_bytes, json_rows

_ROWS = pa.table(
    {
        "label": pa.array(["a", None, 'quoted "b", c'], pa.dictionary(pa.int32(), pa.string())),
        "when_utc": pa.array(
            [datetime(2025, 9, 6, 18, 40, 1, 5_000, tzinfo=UTC), None, datetime(1970, 1, 1, tzinfo=UTC)],
            pa.timestamp("ms", "UTC"),
        ),
        "time_of_day": pa.array([time(13, 5, 1, 250_000), None, time(0)], pa.time32("ms")),
        "value": pa.array([1.5, math.nan, math.inf]),
        "count": pa.array([2**53 + 1, None, -1], pa.int64()),
        "is_valid": pa.array([True, None, False]),
        "flags": pa.array([["pit", "slow"], None, []], pa.list_(pa.string())),
    }
)


def test_json_has_null_for_what_is_no_number_and_times_with_z() -> None:
    body, count = json_rows(_ROWS)
    assert count == 3
    first, second, third = json.loads(body, parse_constant=pytest.fail)
    assert first == {
        "label": "a",
        "when_utc": "2025-09-06T18:40:01.005Z",
        "time_of_day": "13:05:01.250",
        "value": 1.5,
        "count": 2**53 + 1,
        "is_valid": True,
        "flags": ["pit", "slow"],
    }
    assert set(second.values()) == {None}
    assert (third["value"], third["flags"]) == (None, [])


def test_csv_has_one_header_and_tells_missing_from_empty() -> None:
    lines = csv_bytes(_ROWS).decode().splitlines()
    assert lines[0] == "label,when_utc,time_of_day,value,count,is_valid,flags"
    assert lines[1] == '"a","2025-09-06T18:40:01.005Z","13:05:01.250",1.5,9007199254740993,true,"pit;slow"'
    assert lines[2] == ",,,,,,"
    assert lines[3].startswith('"quoted ""b"", c","1970-01-01T00:00:00.000Z","00:00:00.000",,-1,false,""')


def test_arrow_gives_the_table_back() -> None:
    assert pa.ipc.open_stream(arrow_bytes(_ROWS)).read_all().equals(_ROWS) is False  # NaN is not NaN
    assert pa.ipc.open_stream(arrow_bytes(_ROWS)).read_all().drop_columns(["value"]).equals(_ROWS.drop_columns("value"))


def test_rows_of_several_pieces_are_one_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "JSON_ROWS", 2)
    rows = pa.table({"n": list(range(7))})
    body, count = json_rows(rows)
    assert (json.loads(body), count) == ([{"n": n} for n in range(7)], 7)
    assert json_rows(rows.slice(0, 0)) == (b"[]", 0)


def test_json_ends_after_a_whole_piece_when_it_gets_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "JSON_ROWS", 2)
    monkeypatch.setattr(encoding, "MAX_JSON_BYTES", 20)
    body, count = json_rows(pa.table({"n": list(range(7))}))
    assert (json.loads(body), count) == ([{"n": 0}, {"n": 1}], 2)


_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)


@given(st.lists(st.tuples(_TEXTS, st.floats(), st.integers(-(2**53), 2**53)), max_size=30))
def test_every_row_comes_back_from_json_and_csv(rows: list[tuple[str, float, int]]) -> None:
    table = pa.table(
        {
            "text": pa.array([row[0] for row in rows], pa.string()),
            "number": pa.array([row[1] for row in rows], pa.float64()),
            "whole": pa.array([row[2] for row in rows], pa.int64()),
        }
    )
    numbers = [value if math.isfinite(value) else None for value in table["number"].to_pylist()]
    expected: dict[str, list[Any]] = {**table.to_pydict(), "number": numbers}
    found = json.loads(json_rows(table)[0])
    assert {name: [row[name] for row in found] for name in expected} == expected
    options = pa_csv.ConvertOptions(
        column_types=table.schema, quoted_strings_can_be_null=False, strings_can_be_null=True
    )
    parsed = pa_csv.read_csv(io.BytesIO(csv_bytes(table)), None, pa_csv.ParseOptions(newlines_in_values=True), options)
    assert parsed.to_pydict() == expected
