"""Conditions: every one is parsed as written or refused with the way to write it; nothing of it is executed."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.catalog.conditions import rows_where, sorted_rows
from apex_pipeline.errors import ConfigurationError

_SCHEMA = pa.schema(
    [
        *(("lap", pa.int64()), ("time_s", pa.float64()), ("is_valid", pa.bool_())),
        *(("car", pa.dictionary(pa.int32(), pa.string())), ("flags", pa.list_(pa.string()))),
        ("end_utc", pa.timestamp("ms", tz="UTC")),
    ]
)
_START = datetime(2025, 9, 6, 18, 40, tzinfo=UTC)
_ROWS: list[dict[str, Any]] = [
    {"lap": 1, "time_s": 97.5, "is_valid": True, "car": "13", "flags": [], "end_utc": _START},
    {"lap": 2, "time_s": 98.25, "is_valid": False, "car": "03", "flags": ["out_lap", "late"], "end_utc": None},
    {"lap": 3, "time_s": None, "is_valid": None, "car": "O'Hara 7", "flags": ["late"], "end_utc": _START},
    {"lap": 4, "time_s": 145.437, "is_valid": True, "car": None, "flags": [], "end_utc": None},
]
_TABLE = pa.Table.from_pylist(_ROWS, _SCHEMA)


def _laps(condition: str) -> list[int]:
    return rows_where(_TABLE, condition)["lap"].to_pylist()


@pytest.mark.parametrize(
    ("condition", "laps"),
    [
        *(("lap = 2", [2]), ("lap == 2", [2]), ("lap<>2", [1, 3, 4]), ("lap != 2", [1, 3, 4])),
        *(("time_s < 98", [1]), ("time_s<=98.25", [1, 2]), ("time_s > 98 and time_s >= 145.437", [4])),
        *(("is_valid", [1, 4]), ("not is_valid", [2]), ("is_valid = no", [2]), ("is_valid = TRUE", [1, 4])),
        *(("is_valid is null", [3]), ("is_valid is not null", [1, 2, 4]), ("NOT (lap = 1 OR lap = 2)", [3, 4])),
        *(("car = 13", [1]), ("car = 3", []), ("car = 03", [2]), ("car = '03'", [2]), ("car in (13, 03)", [1, 2])),
        *(("car not in (13, 03)", [3]), ("car = 'O''Hara 7'", [3]), ('car = "O\'Hara 7"', [3])),
        *(("car contains hara", [3]), ("car not contains 3", [3]), ("flags contains late", [2, 3])),
        *(("flags contains lat", []), ("not flags contains late", [1, 4]), ("flags not contains out_lap", [1, 3, 4])),
        *(("end_utc = 2025-09-06T18:40:00Z", [1, 3]), ("end_utc > 2025-09-06T20:39:59+02:00", [1, 3])),
        *(
            ("end_utc >= '2025-09-07'", []),
            ("lap = 1 or lap = 2 and is_valid", [1]),
            ("(lap=1 or lap=2) and lap=2", [2]),
        ),
    ],
)
def test_a_condition_chooses_the_rows_that_meet_it(condition: str, laps: list[int]) -> None:
    assert _laps(condition) == laps


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        *(("", "a column is missing at its end"), ("lap =", "a value is missing"), ("lap = 1 lap = 2", "not expected")),
        *(("(lap = 1", r"'\)' is missing"), ("lap in 1", r"'\(' is missing"), ("lap = 'open", "cannot be read")),
        *(
            ("lpa = 1", "no column 'lpa'. Did you mean lap"),
            ("time_s = fast", "time_s cannot be 'fast'. Give a number"),
        ),
        *(("is_valid = 2", "Give yes or no"), ("end_utc > noon", "Give a time in UTC"), ("car < 13", "Use = or !=")),
        *(
            ("flags = late", "flags contains late"),
            ("lap contains 1", "neither a text nor a list"),
            ("lap", "not compared"),
        ),
        *(("lap not = 1", "after 'not' comes"), ("(" * 60 + "lap = 1" + ")" * 60, "nested too deeply")),
        *(("lap = 1 or " * 300 + "lap = 1", "longer than 2,000"), ("lap = 1; drop table laps", "lap cannot be '1;'")),
        *(("__import__('os').system('true')", "no column '__import__'"), ("lap = 1 -- x", "not expected")),
    ],
)
def test_a_wrong_condition_is_an_error_that_says_how_to_write_it(condition: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        _laps(condition)


def test_a_value_that_a_column_cannot_have_is_an_error_with_those_it_can() -> None:
    allowed = {"car": ("13", "03"), "flags": ("late", "out_lap")}
    for condition in ("car = 31", "flags contains lte"):
        with pytest.raises(ConfigurationError, match=r"cannot be .*Did you mean (13|late)\? It is: "):
            rows_where(_TABLE, condition, lambda name: allowed.get(name, ()))


_TESTS: list[tuple[str, Callable[[dict[str, Any]], bool | None]]] = [
    ("lap > 2", lambda row: row["lap"] > 2),
    ("time_s < 98", lambda row: None if row["time_s"] is None else row["time_s"] < 98),
    ("is_valid", lambda row: row["is_valid"]),
    ("car = 13", lambda row: None if row["car"] is None else row["car"] == "13"),
    ("flags contains late", lambda row: "late" in row["flags"]),
    ("time_s is null", lambda row: row["time_s"] is None),
]


def _kleene_and(one: Any, other: Any) -> bool | None:
    return False if one is False or other is False else None if one is None or other is None else True


def _negated(one: Any) -> bool | None:
    return None if one is None else not one


_Condition = tuple[str, Callable[[dict[str, Any]], bool | None]]


def _joined(pair: tuple[_Condition, _Condition], word: str) -> _Condition:
    (one, left), (other, right) = pair
    if word == "and":
        return f"({one}) and {other}", lambda row: _kleene_and(left(row), right(row))
    return f"({one} or {other})", lambda row: _negated(_kleene_and(_negated(left(row)), _negated(right(row))))


_CONDITIONS = st.recursive(
    st.sampled_from(_TESTS),
    lambda inner: st.one_of(
        inner.map(lambda one: (f"not ({one[0]})", lambda row: _negated(one[1](row)))),
        st.tuples(st.tuples(inner, inner), st.sampled_from(["and", "or"])).map(lambda drawn: _joined(*drawn)),
    ),
    max_leaves=8,
)


@given(_CONDITIONS)
def test_a_condition_means_what_the_same_words_mean_in_sql(condition: _Condition) -> None:
    text, meets = condition
    # `a or b` has brackets of its own; `(a) and b` may end in an `or` only inside brackets.
    assert _laps(text) == [row["lap"] for row in _ROWS if meets(row) is True]


_WORDS = ["lap", "time_s", "car", "(", ")", "=", "<", "and", "or", "not", "in", "is", "null", "'x'", "1", ","]


@given(st.text(max_size=60) | st.lists(st.sampled_from(_WORDS)).map(" ".join))
def test_any_text_is_either_a_condition_or_refused(text: str) -> None:
    try:
        found = _laps(text)
    except ConfigurationError:
        return
    assert set(found) <= {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("order", "laps"),
    [
        *(("time_s", [1, 2, 4, 3]), ("-time_s", [4, 2, 1, 3]), ("car", [2, 1, 3, 4]), ("end_utc,-lap", [3, 1, 4, 2])),
        *((" -lap , ", [4, 3, 2, 1]), ("", [1, 2, 3, 4])),
    ],
)
def test_rows_are_sorted_with_missing_values_last(order: str, laps: list[int]) -> None:
    assert sorted_rows(_TABLE, order)["lap"].to_pylist() == laps


@pytest.mark.parametrize(("order", "message"), [("lpa", "Did you mean lap"), ("flags", "a list, which has no order")])
def test_a_wrong_order_is_an_error(order: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        sorted_rows(_TABLE, order)
