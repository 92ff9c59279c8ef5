"""Telemetry files match the counts of the ground truth, which are verified with the standard library only."""

from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from apex_pipeline.demo import FaultKind, InjectedFault, WeekendOptions, make_weekend
from apex_pipeline_tests.demo.reading import Weekend, each_session, instant


def _good_rows(weekend: Weekend, path: str) -> list[dict[str, str]]:
    return [row for row in weekend.rows(path) if row["vehicle_number"] and row["telemetry_value"] != "#ERR"]


@each_session
def test_the_counts_of_the_ground_truth_match_the_file(weekend: Weekend, track: str, session: str) -> None:
    answer = weekend.truth.session(track, session)
    rows = weekend.rows(answer.telemetry.file)
    good = _good_rows(weekend, answer.telemetry.file)
    distinct = {tuple(row.items()) for row in good}
    frozen = {car.vehicle_id for car in answer.cars if car.is_clock_frozen}
    values: dict[tuple[str, str, str], set[str]] = {}
    for row in good:
        if row["vehicle_id"] not in frozen:
            key = (row["vehicle_id"], row["timestamp"], row["telemetry_name"])
            values.setdefault(key, set()).add(row["telemetry_value"])
    assert len(rows) == answer.telemetry.rows
    assert len(rows) - len(good) == answer.telemetry.rejected_rows
    assert len(good) - len(distinct) == answer.telemetry.exact_duplicate_rows > 0
    assert sum(len(different) - 1 for different in values.values()) == answer.telemetry.conflicting_rows > 0


@pytest.mark.parametrize(("track", "channels"), [("harbor_street_circuit", 12), ("mesa_verde_raceway", 9)])
def test_the_tracks_send_different_channels(weekend: Weekend, track: str, channels: int) -> None:
    rows = _good_rows(weekend, weekend.truth.session(track, "R1").telemetry.file)
    names = Counter(row["telemetry_name"] for row in rows)
    assert len(names) == channels
    assert ("aps" in names) == ("Laptrigger_lapdist_dls" in names) == (channels == 12)
    assert ("ath" in names) == (channels == 9)


def test_rows_are_sorted_by_car_and_lap_newest_first(weekend: Weekend) -> None:
    faults = weekend.truth.faults_of(FaultKind.NEWEST_FIRST_ROWS)
    assert len(faults) == 4
    for fault in faults:
        rows = _good_rows(weekend, fault.file)
        groups = [(row["vehicle_id"], int(row["lap"])) for row in rows]
        assert groups == sorted(groups)
        for before, after in pairwise(rows):
            if (before["vehicle_id"], before["lap"]) == (after["vehicle_id"], after["lap"]):
                assert before["meta_time"] >= after["meta_time"]
                assert before["timestamp"] >= after["timestamp"]


def test_car_clocks_are_behind_by_the_offsets_of_the_ground_truth(weekend: Weekend) -> None:
    faults = weekend.truth.faults_of(FaultKind.CLOCK_DAYS_OFF)
    assert len(faults) == 24
    for fault in faults:
        answer = weekend.truth.session(fault.track, fault.session)
        offset_s = next(car.clock_offset_s for car in answer.cars if car.vehicle_id == fault.vehicle_id)
        behind = [
            (instant(row["meta_time"]) - instant(row["timestamp"])).total_seconds()
            for row in _good_rows(weekend, fault.file)
            if row["vehicle_id"] == fault.vehicle_id
        ]
        assert offset_s is not None
        assert 23 * 3600 <= offset_s <= 68 * 3600
        # Readings arrive about a second after they are measured.
        assert 0.9 < median(behind) - offset_s < 1.4


def test_a_frozen_clock_shows_one_time_on_both_days(weekend: Weekend) -> None:
    faults = weekend.truth.faults_of(FaultKind.CLOCK_FROZEN)
    times = {
        row["timestamp"]
        for fault in faults
        for row in _good_rows(weekend, fault.file)
        if row["vehicle_id"] == fault.vehicle_id
    }
    assert len(faults) == 2
    assert len(times) == 1


def test_the_radio_is_silent_around_the_late_trigger(weekend: Weekend) -> None:
    fault = weekend.only(FaultKind.RADIO_HOLE)
    answer = weekend.truth.session(fault.track, fault.session)
    car = next(car for car in answer.cars if car.vehicle_id == fault.vehicle_id)
    lap = next(lap for lap in answer.laps if (lap.vehicle_id, lap.lap_number) == (fault.vehicle_id, fault.lap_number))
    times = sorted(
        instant(row["timestamp"]) + timedelta(seconds=car.clock_offset_s or 0)
        for row in _good_rows(weekend, fault.file)
        if row["vehicle_id"] == fault.vehicle_id
    )
    hole = [(before, after) for before, after in pairwise(times) if before < lap.end_utc < after]
    assert (hole[0][1] - hole[0][0]).total_seconds() >= 36


def test_without_holes_every_lap_is_sampled_all_along_and_its_lap_files_stay_the_same(
    weekend: Weekend, tmp_path: Path
) -> None:
    options = WeekendOptions(target_bytes=3_000_000, telemetry_holes=False)
    whole = Weekend(tmp_path / "weekend", make_weekend(tmp_path / "weekend", options))
    kinds = Counter(fault.kind for fault in weekend.truth.faults)
    assert Counter(fault.kind for fault in whole.truth.faults) == kinds - Counter([FaultKind.RADIO_HOLE])
    late = whole.only(FaultKind.LATE_TRIGGER_PAIR)
    answer = whole.truth.session(late.track, late.session)
    times = sorted(
        instant(row["timestamp"])
        for row in _good_rows(whole, answer.telemetry.file)
        if row["vehicle_id"] == late.vehicle_id
    )
    assert max((after - before).total_seconds() for before, after in pairwise(times)) < 20  # the hole has 36 s
    (lap_ends,) = whole.folder.glob(f"{late.track}/*{late.session}*lap_end.csv")
    assert lap_ends.read_bytes() == (weekend.folder / lap_ends.relative_to(whole.folder)).read_bytes()


def _distances(weekend: Weekend, fault: InjectedFault) -> list[tuple[datetime, int, float]]:
    """Return time, the device's lap count and lap distance in metres of the fault's car, oldest first."""
    answer = weekend.truth.session(fault.track, fault.session)
    offset_s = next(car.clock_offset_s for car in answer.cars if car.vehicle_id == fault.vehicle_id) or 0
    return sorted(
        (instant(row["timestamp"]) + timedelta(seconds=offset_s), int(row["lap"]), float(row["telemetry_value"]))
        for row in _good_rows(weekend, answer.telemetry.file)
        if (row["vehicle_id"], row["telemetry_name"]) == (fault.vehicle_id, "Laptrigger_lapdist_dls")
    )


def test_a_missing_crossing_resets_lap_distance_but_does_not_increment_the_lap_count(weekend: Weekend) -> None:
    (fault,) = weekend.faults_in("harbor_street_circuit", "R2", FaultKind.MISSING_CROSSING)
    lap, after = weekend.lap(fault), weekend.lap(fault, (fault.lap_number or 0) + 1)
    two_laps = [reading for reading in _distances(weekend, fault) if lap.start_utc < reading[0] < after.end_utc]
    resets = [(one[0], two[0]) for one, two in pairwise(two_laps) if two[2] < one[2] - 1_000]
    assert {unit_lap for _, unit_lap, _ in two_laps} == {lap.unit_lap}
    assert len(resets) == 1
    assert resets[0][0] <= lap.end_utc <= resets[0][1]


def test_an_extra_crossing_increments_the_lap_count_but_does_not_reset_lap_distance(weekend: Weekend) -> None:
    fault = weekend.only(FaultKind.EXTRA_CROSSING)
    lap = weekend.lap(fault)
    inside = [reading for reading in _distances(weekend, fault) if lap.start_utc < reading[0] < lap.end_utc]
    spurious = lap.start_utc + 0.4 * (lap.end_utc - lap.start_utc)
    assert not [one for one, two in pairwise(inside) if two[2] < one[2] - 1_000]
    assert {(unit_lap, at < spurious) for at, unit_lap, _ in inside} == {
        (lap.unit_lap - 1, True),
        (lap.unit_lap, False),
    }


def test_the_radio_is_silent_at_every_late_crossing_of_the_undecided_car(tmp_path: Path) -> None:
    # 15 MB give a sample rate at which an 8 s gap differs from the time between two readings.
    truth = make_weekend(tmp_path / "weekend", WeekendOptions(target_bytes=15_000_000))
    weekend = Weekend(tmp_path / "weekend", truth)
    fault = weekend.only(FaultKind.UNDECIDED_CAR)
    answer = weekend.truth.session(fault.track, fault.session)
    car = next(car for car in answer.cars if car.vehicle_id == fault.vehicle_id)
    times = [
        instant(row["timestamp"]) + timedelta(seconds=car.clock_offset_s or 0)
        for row in _good_rows(weekend, answer.telemetry.file)
        if row["vehicle_id"] == fault.vehicle_id
    ]
    silent = [
        lap.lap_number
        for lap in answer.laps
        if lap.vehicle_id == fault.vehicle_id
        and not any(timedelta(seconds=-4) < at - lap.end_utc < timedelta(seconds=4) for at in times)
    ]
    assert silent == [0, 1, 2, 3, 4]


def test_lap_distance_is_reset_at_every_crossing(clean_weekend: Weekend) -> None:
    answer = clean_weekend.truth.session("harbor_street_circuit", "R1")
    car = answer.cars[0].vehicle_id
    laps = [lap for lap in answer.laps if lap.vehicle_id == car]
    readings = [
        (instant(row["timestamp"]), int(row["lap"]), float(row["telemetry_value"]))
        for row in clean_weekend.rows(answer.telemetry.file)
        if (row["vehicle_id"], row["telemetry_name"]) == (car, "Laptrigger_lapdist_dls")
    ]
    for lap in laps:
        inside = sorted((at, metres) for at, unit_lap, metres in readings if unit_lap == lap.unit_lap)
        assert all(lap.start_utc <= at <= lap.end_utc for at, _ in inside)
        assert [metres for _, metres in inside] == sorted(metres for _, metres in inside)
        assert inside[0][1] < 1_000
        assert inside[-1][1] > 2_700


@each_session
def test_a_clean_weekend_has_no_duplicates_and_correct_clocks(clean_weekend: Weekend, track: str, session: str) -> None:
    answer = clean_weekend.truth.session(track, session)
    rows = clean_weekend.rows(answer.telemetry.file)
    keys = {(row["vehicle_id"], row["timestamp"], row["telemetry_name"]) for row in rows}
    assert len(keys) == len(rows) == answer.telemetry.rows
    assert answer.telemetry.conflicting_rows == answer.telemetry.exact_duplicate_rows == 0
    assert {car.clock_offset_s for car in answer.cars} == {0.0}


def test_a_clean_weekend_has_an_empty_list_of_faults(clean_weekend: Weekend) -> None:
    assert clean_weekend.truth.faults == ()
    assert clean_weekend.truth.rejects == ()
