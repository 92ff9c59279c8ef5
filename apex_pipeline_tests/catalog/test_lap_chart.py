"""Lap chart, penalties and sectors: of official timing with two cars of one number, and of the cars' own laps."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pyarrow as pa

from apex_pipeline.catalog.lap_chart import lap_chart, vehicles_by_entry
from apex_pipeline.catalog.penalties import penalties
from apex_pipeline.catalog.sectors import best_sectors
from apex_pipeline.tables import CARS, LAPS, OFFICIAL_LAPS, RESULTS

_GREEN = datetime(2025, 9, 6, 18, 40, tzinfo=UTC)
_ROW = {"track": "t", "session": "s", "source_file": "f", "is_finish_in_pit": False, "flags": [], "is_valid": True}


def _official(*cars: tuple[str, int, list[float]], **more: Any) -> pa.Table:
    """Return official laps of cars by number, entry and lap times."""
    rows: list[dict[str, object]] = []
    for number, entry, times in cars:
        for lap, time_s in enumerate(times, start=1):
            elapsed_s = round(sum(times[:lap]), 3)
            named = {"car_number": number, "entry": entry, "lap_number": lap}
            rows.append({**_ROW, **named, "lap_time_s": time_s, "elapsed_s": elapsed_s, **more})
    return OFFICIAL_LAPS.from_rows(rows)


def _results(*rows: tuple[int | None, str, int, float | None, int | None, float | None]) -> pa.Table:
    names = ("position", "car_number", "laps_completed", "total_time_s", "best_lap_number", "best_lap_time_s")
    return RESULTS.from_rows(
        [{**_ROW, "version": "official", "is_final": True, **dict(zip(names, row, strict=True))} for row in rows]
    )


def _order(chart: pa.Table, lap: int) -> list[tuple[Any, ...]]:
    rows = [row for row in chart.to_pylist() if row["lap_number"] == lap]
    return [(row["position"], row["car_number"], row["entry"], row["gap_to_leader_s"]) for row in rows]


_TWO_3 = _official(("3", 1, [100.0, 100.5]), ("3", 2, [101.0, 98.0]), ("7", 1, [99.0]))


def test_the_order_of_each_lap_is_that_of_the_elapsed_times() -> None:
    chart = lap_chart(_TWO_3, LAPS.empty(), {("3", 2): "GR86-037-03"})
    assert _order(chart, 1) == [(1, "7", 1, 0.0), (2, "3", 1, 1.0), (3, "3", 2, 2.0)]
    assert _order(chart, 2) == [(1, "3", 2, 0.0), (2, "3", 1, 1.5)]
    assert chart["vehicle_id"].to_pylist()[2:4] == ["GR86-037-03", "GR86-037-03"]
    assert chart["gap_to_ahead_s"].to_pylist() == [None, 1.0, 1.0, None, 1.5]
    assert set(chart["method"].to_pylist()) == {"official"}


def test_a_lap_without_an_elapsed_time_has_no_position() -> None:
    rows = _TWO_3.to_pylist()
    rows[0]["elapsed_s"] = None
    chart = lap_chart(OFFICIAL_LAPS.from_rows(rows), LAPS.empty(), {})
    assert _order(chart, 1) == [(1, "7", 1, 0.0), (2, "3", 2, 2.0), (None, "3", 1, None)]


def test_without_official_timing_the_order_is_that_of_the_cars_own_crossings() -> None:
    def lap(vehicle: str, number: int, start_s: float, end_s: float | None) -> dict[str, object]:
        ends = None if end_s is None else _GREEN + timedelta(seconds=end_s)
        times = {"lap_start_utc": _GREEN + timedelta(seconds=start_s), "lap_end_utc": ends}
        return {**_ROW, "vehicle_id": vehicle, "chassis": "1", "lap_number": number, **times}

    laps = LAPS.from_rows(
        [lap("a", 0, -90, 0), lap("a", 1, 0, 100), lap("b", 1, 2, 99.5), lap("c", 1, 1, None), lap("b", 2, 99.5, 200)]
    )
    for official in (None, OFFICIAL_LAPS.empty()):
        chart = lap_chart(official, laps, {}).to_pylist()
        assert [(row["lap_number"], row["position"], row["vehicle_id"], row["elapsed_s"]) for row in chart] == [
            (1, 1, "b", 99.5),
            (1, 2, "a", 100.0),
            (1, None, "c", None),
            (2, 1, "b", 200.0),
        ]
        assert {row["method"] for row in chart} == {"own_laps"}


def test_a_session_without_any_lap_has_an_empty_chart() -> None:
    chart = lap_chart(None, LAPS.empty(), {})
    assert (chart.num_rows, "gap_to_leader_s" in chart.schema.names) == (0, True)
    assert best_sectors(None, LAPS.empty(), {}).num_rows == 0
    assert penalties(RESULTS.empty(), None, {}).num_rows == 0


def test_devices_are_named_where_official_timing_is_matched_with_them() -> None:
    car = {**_ROW, "method": "suffix", "confidence": 1.0, "has_started": True, "candidates": [], "evidence": "x"}
    cars = CARS.from_rows(
        [
            {**car, "vehicle_id": "a", "official_number": "3", "official_entry": 2},
            {**car, "vehicle_id": "b"},
            {**car, "official_number": "7", "official_entry": 1},
        ]
    )
    assert vehicles_by_entry(cars) == {("3", 2): "a"}
    assert vehicles_by_entry(None) == {}


def test_the_penalty_is_what_the_result_adds_to_the_time_on_the_road() -> None:
    official = _official(("13", 1, [100.0, 100.0]), ("7", 1, [101.0, 101.0]), ("2", 1, [120.0]), ("9", 1, [150.0]))
    results = _results(
        (1, "7", 2, 202.0, 1, 101.0),
        (2, "13", 2, 205.0, 1, 100.0),
        (3, "2", 2, 221.0, 1, 120.0),
        (None, "80", 0, None, None, None),
    )
    rows = penalties(results, official, {("13", 1): "GR86-022-13"}).to_pylist()
    found = [(row["car_number"], row["position"], row["position_on_road"], row["penalty_s"]) for row in rows]
    # Car 2 has other laps in the result than in official timing, car 80 has none, car 9 is not in the result.
    assert found == [
        ("7", 1, 2, 0.0),
        ("13", 2, 1, 5.0),
        ("2", 3, 3, None),
        ("80", None, None, None),
        ("9", None, 4, None),
    ]
    assert [row["places_lost"] for row in rows] == [-1, 1, 0, None, None]
    assert rows[1]["vehicle_id"] == "GR86-022-13"


def test_two_cars_of_one_number_are_told_apart_by_laps_and_best_lap() -> None:
    official = _official(("3", 1, [100.0, 99.0, 99.0]), ("3", 2, [98.0, 101.0, 99.5]))
    results = _results((1, "3", 3, 298.0, 2, 99.0), (2, "3", 3, 301.5, 1, 98.0))
    rows = penalties(results, official, {}).to_pylist()
    assert [(row["entry"], row["penalty_s"]) for row in rows] == [(1, 0.0), (2, 3.0)]
    swapped = penalties(_results((1, "3", 3, 298.5, 1, 98.0), (2, "3", 3, 299.0, 2, 99.0)), official, {}).to_pylist()
    assert [(row["entry"], row["penalty_s"]) for row in swapped] == [(2, 0.0), (1, 1.0)]


def test_more_rows_than_cars_of_a_number_leave_one_without_laps() -> None:
    results = _results((1, "3", 1, 100.0, 1, 100.0), (2, "3", 1, 200.0, None, None))
    rows = penalties(results, _official(("3", 1, [100.0])), {}).to_pylist()
    assert [(row["entry"], row["penalty_s"]) for row in rows] == [(1, 0.0), (None, None)]


def test_best_sectors_leave_out_the_pits_and_may_lack_the_best_lap() -> None:
    laps = [
        {"lap_number": 1, "lap_time_s": 100.0, "s1_s": 30.0, "s2_s": 40.0, "s3_s": 30.0},
        {"lap_number": 2, "lap_time_s": 98.0},
        {"lap_number": 3, "lap_time_s": 101.0, "s1_s": 29.5, "s2_s": 41.5, "s3_s": 30.0},
        {"lap_number": 4, "lap_time_s": 90.0, "s1_s": 29.0, "s2_s": 40.0, "s3_s": 21.0, "is_finish_in_pit": True},
        {"lap_number": 5, "lap_time_s": 150.0, "s1_s": 20.0, "s2_s": 40.0, "s3_s": 90.0, "pit_time_s": 60.0},
    ]
    official = OFFICIAL_LAPS.from_rows([{**_ROW, "car_number": "13", "entry": 1, **lap} for lap in laps])
    row = best_sectors(official, LAPS.empty(), {("13", 1): "v"}).to_pylist()[0]
    assert (row["best_lap_number"], row["best_lap_time_s"], row["theoretical_best_s"]) == (2, 98.0, 99.5)
    assert (row["best_s1_s"], row["best_s2_s"], row["best_s3_s"]) == (29.5, 40.0, 30.0)
    assert (row["laps"], row["laps_with_sectors"], row["vehicle_id"], row["method"]) == (3, 2, "v", "official")


def test_without_official_timing_the_valid_laps_of_the_cars_count() -> None:
    base = {**_ROW, "vehicle_id": "a", "chassis": "1"}
    laps = LAPS.from_rows(
        [
            {**base, "lap_number": 1, "lap_time_s": 100.0, "s1_s": 30.0},
            {**base, "lap_number": 2, "lap_time_s": 50.0, "is_valid": False},
            {**base, "lap_number": 3},
        ]
    )
    row = best_sectors(None, laps, {}).to_pylist()[0]
    assert (row["best_lap_time_s"], row["best_s1_s"], row["theoretical_best_s"]) == (100.0, 30.0, None)
    assert (row["laps"], row["laps_with_sectors"], row["method"]) == (1, 0, "own_laps")


def test_a_car_without_a_sum_of_lap_times_keeps_the_place_of_its_passing() -> None:
    rows = _official(("1", 1, [100.0, 100.0]), ("2", 1, [101.0, 100.0]), ("3", 1, [102.0, 100.0])).to_pylist()
    for row in rows:  # the green flag at 23:58:30
        seconds = (86_310 + row["elapsed_s"]) % 86_400
        row["crossing_local_time"] = time(int(seconds // 3600), int(seconds % 3600 // 60), int(seconds % 60))
        if (row["car_number"], row["lap_number"]) == ("2", 2):
            row["elapsed_s"] = None
    chart = lap_chart(OFFICIAL_LAPS.from_rows(rows), LAPS.empty(), {})
    assert _order(chart, 2) == [(1, "1", 1, 0.0), (2, "2", 1, 1.0), (3, "3", 1, 2.0)]
    assert {row["car_number"] for row in chart.to_pylist() if row["method"] == "official_crossing"} == {"2"}
