"""Laps from line to line: where the two crossings come from, and whether they fit the lap time."""

import pytest

from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.crossings import Crossing, TelemetryCrossing
from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap, lap_between
from apex_pipeline.sources.gr_cup.laps.line import line_lap
from apex_pipeline.sources.gr_cup.laps.official_cars import OfficialLap
from apex_pipeline.sources.gr_cup.laps.official_check import CellTimes
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger

CAR = "GR86-002-2"


def crossing(utc_ms: int) -> Crossing:
    return Crossing(CAR, utc_ms, (Trigger(CAR, utc_ms, FileKind.LAP_END, 3, utc_ms + 900, None, "lap_end.csv", 2),))


def lap_of(official_s: float | None, number: int = 2, end_ms: int = 98_000) -> Lap:
    lap = lap_between(crossing(0), crossing(end_ms))
    lap.official = None if official_s is None else OfficialLap(number, official_s, None, {}, CellTimes(()))
    return lap


def test_a_lap_between_two_stamps_of_the_car_is_its_own() -> None:
    line = line_lap(lap_of(97.9))

    assert (line.start_ms, line.end_ms, line.method, line.residual_s) == (0, 98_000, "trigger", 0.1)
    assert not line.disagrees
    assert not line.from_green


@pytest.mark.parametrize(
    ("official_s", "disagrees"), [(97.5, False), (97.499, True), (98.5, False), (98.501, True), (107.0, True)]
)
def test_more_than_half_a_second_from_the_lap_time_is_flagged(
    official_s: float,
    disagrees: bool,  # noqa: FBT001  -- a test parameter
) -> None:
    assert line_lap(lap_of(official_s)).disagrees == disagrees


def test_official_lap_1_runs_from_the_green_flag_and_is_not_flagged() -> None:
    line = line_lap(lap_of(101.3, number=1))

    assert (line.from_green, line.residual_s, line.disagrees) == (True, -3.3, False)


@pytest.mark.parametrize("flag", [Flag.LATE_TRIGGER, Flag.LATE_TRIGGER_PAIR])
def test_a_stamp_known_to_be_late_is_not_the_line(flag: Flag) -> None:
    lap = lap_of(96.0, end_ms=98_500)
    lap.flags.add(flag)
    lap.end_ms = 96_000

    line = line_lap(lap)

    assert (line.end_ms, line.method, line.residual_s) == (96_000, "trigger_and_official", 0.0)


def test_without_official_timing_the_repaired_time_is_the_line() -> None:
    lap = lap_of(None, end_ms=98_500)
    lap.flags.add(Flag.LATE_TRIGGER_PAIR)
    lap.end_ms, lap.time_s = 96_000, 96.0

    assert line_lap(lap).method == "repaired"


def test_a_crossing_may_be_official_or_from_telemetry() -> None:
    lap = Lap(CAR, None, None, 0, 96_000, official=OfficialLap(4, 96.1, None, {}, CellTimes(())))
    assert line_lap(lap).method == "official"
    lap.official, lap.telemetry_crossing = None, TelemetryCrossing(CAR, 0, None, "gps", "telemetry.csv")
    assert line_lap(lap).method == "telemetry"


def test_a_lap_without_a_crossing_has_no_line() -> None:
    line = line_lap(Lap(CAR, None, None, None, 96_000, official=OfficialLap(4, 96.1, None, {}, CellTimes(()))))

    assert (line.start_ms, line.end_ms, line.method, line.residual_s, line.disagrees) == (None,) * 4 + (False,)
