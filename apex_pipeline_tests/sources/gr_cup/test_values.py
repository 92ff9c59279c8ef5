"""Values: every spelling these files use, and nothing else."""

from datetime import time

import pytest

from apex_pipeline.sources.gr_cup.values import (
    parse_clock,
    parse_duration_s,
    parse_gap_laps,
    parse_gap_s,
    parse_integer,
    parse_number,
    parse_utc_ms,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("53.893", 53.893),
        ("24.32", 24.32),
        ("1:36.428", 96.428),
        ("45:57.575", 2757.575),
        ("75:00.001", 4500.001),
        ("0:01:02.500", 62.5),
        ("1:00:00", 3600.0),
    ],
)
def test_a_duration_is_read_in_every_spelling_to_the_millisecond(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "-", "1:2:3:4", "abc", "1:", "-5.0", "1,5"])
def test_what_is_no_duration_gives_none(text: str) -> None:
    assert parse_duration_s(text) is None


def test_an_instant_needs_a_zone_and_offsets_are_converted() -> None:
    assert parse_utc_ms("2025-09-05T00:28:20.593Z") == 1757032100593
    assert parse_utc_ms("2025-09-04T19:28:20.593-05:00") == 1757032100593
    assert parse_utc_ms("2025-09-05T00:28:20.593") is None
    assert parse_utc_ms("yesterday") is None


def test_a_time_of_day_is_read_and_an_impossible_one_is_none() -> None:
    assert parse_clock("15:58:26.323") == time(15, 58, 26, 323_000)
    assert parse_clock("7:05:00") == time(7, 5)
    assert [parse_clock(text) for text in ("24:00:00", "12:60:00", "12:00:60", "noon")] == [None] * 4


def test_a_gap_is_seconds_or_laps() -> None:
    assert (parse_gap_s("-"), parse_gap_s("+0.684"), parse_gap_s("+1:02.500")) == (0.0, 0.684, 62.5)
    assert (parse_gap_s("2 Laps"), parse_gap_laps("1 Lap"), parse_gap_laps("12 Laps")) == (None, 1, 12)
    assert parse_gap_laps("+0.684") is None


@pytest.mark.parametrize(
    ("text", "number"), [("3", 3.0), ("0.346", 0.346), ("nan", None), ("inf", None), ("N/A", None)]
)
def test_a_number_is_finite(text: str, number: float | None) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(("text", "number"), [("3", 3), ("3.0", 3), ("3.5", None), ("", None), ("-1", -1)])
def test_an_integer_is_whole(text: str, number: int | None) -> None:
    assert parse_integer(text) == number
