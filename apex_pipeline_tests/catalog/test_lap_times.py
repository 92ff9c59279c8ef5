"""Laps are selected by their times in ``laps``, like the column ``lap_number`` of telemetry."""

from pathlib import Path

import pyarrow as pa
import pytest

from apex_pipeline.catalog.selection import lap_times
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.tables import LAPS
from apex_pipeline_tests.catalog.race_lake import SESSION, START, START_MS, TRACK, local_store, publish_race
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import (
    CAR,
    RACE_START,
    convert,
    csv_bytes,
    reading,
    write_file,
)

_OTHER_CAR = "GR86-004-78"

# Car, lap, start and end in seconds after the start of the race: adjacent laps, overlapping laps, one within another,
# two with the same start, a gap, and one after the last sample.
_LAPS = (
    (CAR, 1, 2.0, 10.0),
    (CAR, 2, 10.0, 20.0),
    (CAR, 3, 19.5, 30.0),
    (CAR, 4, 24.0, 26.0),
    (CAR, 5, 31.0, 40.0),
    (CAR, 6, 31.0, 45.0),
    (CAR, 7, 50.0, 60.0),
    (CAR, 8, 1000.0, 1100.0),
    (_OTHER_CAR, 1, 5.0, 33.3),
    (_OTHER_CAR, 2, 33.3, 59.0),
)


def test_a_lap_selects_exactly_the_samples_with_its_lap_number(tmp_path: Path) -> None:
    assert RACE_START == START
    laps = _laps(*(_lap(number, round(1000 * start), round(1000 * end), car) for car, number, start, end in _LAPS))
    # The device's counter is at lap 3 in every row.
    rows = [
        reading(step / 10, channel, str(step), vehicle_id=car)
        for car in (CAR, _OTHER_CAR)
        for step in range(700)
        for channel in ("speed", "gear")
    ]
    converted = convert(tmp_path, write_file(tmp_path, csv_bytes(rows)), laps=laps)
    catalog = publish_race(local_store(tmp_path), 0, telemetry=converted.path.read_bytes(), laps=laps).catalog
    everything = catalog.telemetry(TRACK, SESSION)
    assert set(everything["unit_lap"]) == {3}
    for car, number, _, _ in _LAPS:
        lap = catalog.telemetry(TRACK, SESSION, vehicle_id=car, lap_number=number)
        numbered = everything[(everything["vehicle_id"] == car) & (everything["lap_number"] == number)]
        assert list(lap["sample_time_utc"]) == list(numbered["sample_time_utc"]), (car, number)
    filled = {number for car, number, _, _ in _LAPS if car == CAR} - {5, 8}
    assert set(everything[everything["vehicle_id"] == CAR]["lap_number"].dropna()) == filled


def _lap(number: int, start: int | None, end: int | None, car: str = CAR) -> dict[str, object]:
    """Return a row of ``laps`` with start and end in milliseconds after the start of the race."""
    return {
        "track": TRACK,
        "session": SESSION,
        "vehicle_id": car,
        "chassis": car.split("-")[1],
        "lap_number": number,
        "lap_start_utc": None if start is None else START_MS + start,
        "lap_end_utc": None if end is None else START_MS + end,
        "is_valid": True,
        "flags": [],
        "source_file": "laps.csv",
    }


def _laps(*rows: dict[str, object]) -> pa.Table:
    return LAPS.from_rows(list(rows))


def test_lap_times_do_not_depend_on_the_order_of_rows() -> None:
    rows = [_lap(1, 0, 50), _lap(2, 40, 90), _lap(3, None, None), _lap(4, 90, 95)]
    assert lap_times(_laps(*rows)) == lap_times(_laps(*reversed(rows)))
    assert lap_times(_laps(*rows)).lap_span(CAR, 1) == (START_MS, START_MS + 40)


@pytest.mark.parametrize(("start", "end"), [(None, 5), (5, None), (None, None)])
def test_a_lap_without_both_start_and_end_has_no_window(start: int | None, end: int | None) -> None:
    with pytest.raises(ConfigurationError, match="has no UTC start or end"):
        lap_times(_laps(_lap(3, start, end))).lap_span(CAR, 3)


def test_the_error_for_a_session_without_laps_says_so() -> None:
    laps = lap_times(LAPS.empty())
    with pytest.raises(ConfigurationError, match=r"No car has a lap 1 .*\. The session has: none\."):
        laps.lap_windows(1)
    with pytest.raises(ConfigurationError, match=r"GR86-002-2 has no lap 1\. It has no laps\."):
        laps.lap_span(CAR, 1)


def test_only_cars_with_lap_times_get_a_window() -> None:
    windows = lap_times(_laps(_lap(1, None, 9), _lap(1, 0, 50, _OTHER_CAR))).lap_windows(1)
    assert [window.vehicle_id for window in windows] == [_OTHER_CAR]
