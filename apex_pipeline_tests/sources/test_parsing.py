"""Parsers of single cells: valid text is parsed and everything else gives ``None``."""

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.parsing import (
    parse_clock,
    parse_duration_s,
    parse_epoch,
    parse_gap_laps,
    parse_gap_s,
    parse_integer,
    parse_number,
    parse_utc_ms,
)

MORNING_MS = 1_757_184_002_123


@pytest.mark.parametrize(
    "text",
    [
        "2025-09-06T18:40:02.123Z",
        "2025-09-06T13:40:02.123-05:00",
        "2025-09-07T00:10:02.123+05:30",
        "2025-09-06 18:40:02.123456Z",
    ],
)
def test_parse_utc_ms_accepts_times_with_an_offset(text: str) -> None:
    assert parse_utc_ms(text) == MORNING_MS


@pytest.mark.parametrize(
    "text",
    [
        "2025-09-06T18:40:02.123",
        "2025-09-06",
        "18:40:02Z",
        "yesterday",
        "",
        "2025-02-30T00:00:00Z",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:00:00-05:00",
    ],
)
def test_parse_utc_ms_refuses_ambiguous_and_invalid_times(text: str) -> None:
    assert parse_utc_ms(text) is None


@given(st.datetimes(timezones=st.timezones(), min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001  -- the strategy adds the zone
def test_parse_utc_ms_round_trips_every_aware_datetime(moment: datetime) -> None:
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert parse_utc_ms(moment.isoformat()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1757184002", datetime(2025, 9, 6, 18, 40, 2, tzinfo=UTC)),
        ("1757184002.123", datetime(2025, 9, 6, 18, 40, 2, 123_000, tzinfo=UTC)),
        ("0", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_parse_epoch_accepts_seconds_since_1970(text: str, expected: datetime) -> None:
    assert parse_epoch(text) == expected


@pytest.mark.parametrize("text", ["", "9/6/2025", "1e300", "-1e14"])
def test_parse_epoch_refuses_values_outside_the_calendar(text: str) -> None:
    assert parse_epoch(text) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("36.428", 36.428),
        ("24.32", 24.32),
        ("7", 7.0),
        ("1:36.428", 96.428),
        ("75:27.792", 4527.792),
        ("1:02:03.004", 3723.004),
        ("0:00:31.500", 31.5),
        ("83.2", 83.2),
    ],
)
def test_parse_duration_accepts_every_format(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "-", "DNF", "+1.5", "-1.5", "1:75.000", "1:60:00.000", ":36.4", "1:2:3:4", "36,428", "nan", "1 Lap"]
)
def test_parse_duration_refuses_anything_else(text: str) -> None:
    assert parse_duration_s(text) is None


@given(st.integers(min_value=0, max_value=10_000_000))
def test_a_duration_with_minutes_is_exact_to_the_millisecond(total_ms: int) -> None:
    minutes, rest = divmod(total_ms, 60_000)
    assert parse_duration_s(f"{minutes}:{rest // 1000:02d}.{rest % 1000:03d}") == total_ms / 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("13:47:02.123", time(13, 47, 2, 123_000)),
        ("9:05:00", time(9, 5)),
        ("23:59:59.5", time(23, 59, 59, 500_000)),
    ],
)
def test_parse_clock_accepts_a_time_of_day(text: str, expected: time) -> None:
    assert parse_clock(text) == expected


@pytest.mark.parametrize("text", ["", "24:00:00", "12:60:00", "12:00:60", "12:00", "noon", "12:00:00.1234567"])
def test_parse_clock_refuses_anything_else(text: str) -> None:
    assert parse_clock(text) is None


@pytest.mark.parametrize(
    ("text", "seconds", "laps"),
    [
        ("-", 0.0, None),
        ("+0.173", 0.173, None),
        ("+1:04.607", 64.607, None),
        ("1 Lap", None, 1),
        ("21 Laps", None, 21),
        ("", None, None),
        ("Laps", None, None),
        ("+", None, None),
        ("--", None, None),
        ("+1 Lap", None, None),
    ],
)
def test_a_gap_is_parsed_as_time_or_laps_or_neither(text: str, seconds: float | None, laps: int | None) -> None:
    assert (parse_gap_s(text), parse_gap_laps(text)) == (seconds, laps)


@pytest.mark.parametrize(("text", "expected"), [("3", 3.0), ("-0.5", -0.5), ("+.5", 0.5), ("1e3", 1000.0), ("2.", 2.0)])
def test_parse_number_accepts_decimal_notation(text: str, expected: float) -> None:
    assert parse_number(text) == expected


@pytest.mark.parametrize("text", ["", "nan", "inf", "-Infinity", "1_000", "0x10", "1,5", "1e999", "٣", "--1", "."])
def test_parse_number_refuses_anything_but_a_finite_number(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize(("text", "expected"), [("3", 3), ("3.0", 3), ("-2", -2), ("9007199254740992", 2**53)])
def test_parse_integer_accepts_integers_and_integral_decimals(text: str, expected: int) -> None:
    assert parse_integer(text) == expected


@pytest.mark.parametrize("text", ["3.5", "three", "", "1e30", "9007199254740994"])
def test_parse_integer_refuses_fractions_and_inexact_integers(text: str) -> None:
    assert parse_integer(text) is None
