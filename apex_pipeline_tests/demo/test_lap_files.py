"""Lap files contain the true crossings, distorted exactly as listed in the ground truth."""

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from apex_pipeline.demo import FaultKind, InjectedFault, WeekendOptions, make_weekend
from apex_pipeline_tests.demo.reading import Weekend, each_session, instant

_NEAR = timedelta(seconds=5)


@each_session
def test_every_exported_lap_ends_with_a_trigger_within_two_milliseconds(
    weekend: Weekend, track: str, session: str
) -> None:
    rows = weekend.rows(weekend.lap_file(track, session, "lap_end"))
    distorted = weekend.faults_in(
        track, session, FaultKind.LATE_TRIGGER_PAIR, FaultKind.LATE_BY_A_SECOND, FaultKind.MISSING_CROSSING
    )
    without_clean_trigger = {(fault.vehicle_id, fault.lap_number) for fault in distorted}
    undecided = {fault.vehicle_id for fault in weekend.faults_in(track, session, FaultKind.UNDECIDED_CAR)}
    seen: dict[tuple[str, int], list[datetime]] = {}
    for row in rows:
        seen.setdefault((row["vehicle_id"], int(row["lap"])), []).append(instant(row["timestamp"]))
    for lap in weekend.truth.session(track, session).laps:
        if lap.vehicle_id in undecided:
            continue  # half of its crossings are late by design and tested below
        delays = [at - lap.end_utc for at in seen.get((lap.vehicle_id, lap.unit_lap), [])]
        is_clean = any(timedelta(0) <= delay <= timedelta(milliseconds=2) for delay in delays)
        assert is_clean == (lap.is_in_export and (lap.vehicle_id, lap.lap_number) not in without_clean_trigger)


@each_session
def test_triggers_are_received_a_tenth_of_a_second_to_two_seconds_late(
    weekend: Weekend, track: str, session: str
) -> None:
    for row in weekend.rows(weekend.lap_file(track, session, "lap_end")):
        delay = instant(row["meta_time"]) - instant(row["timestamp"])
        assert timedelta(milliseconds=60) <= delay <= timedelta(seconds=2)


def test_a_bounced_crossing_sends_three_rows_within_fifty_milliseconds(weekend: Weekend) -> None:
    bounces = weekend.truth.faults_of(FaultKind.BOUNCED_TRIGGER)
    assert len(bounces) == 13
    for fault in bounces:
        lap = weekend.lap(fault)
        for other in ("lap_end", "lap_start"):
            near = [
                int(row["lap"])
                for row in weekend.rows(weekend.sibling(fault, "lap_end", other))
                if row["vehicle_id"] == fault.vehicle_id
                and len(row["timestamp"]) > 0
                and abs(instant(row["timestamp"]) - lap.end_utc) < timedelta(milliseconds=50)
            ]
            main = lap.unit_lap + (other == "lap_start")
            assert sorted(near) == sorted([main, main, 2 * lap.unit_lap + 1 - main])


@each_session
def test_every_trigger_is_a_crossing_an_injected_bounce_or_an_injected_extra_crossing(
    weekend: Weekend, track: str, session: str
) -> None:
    rows = weekend.rows(weekend.lap_file(track, session, "lap_end"))
    exported = [lap for lap in weekend.truth.session(track, session).laps if lap.is_in_export]
    first_crossings = len({row["vehicle_id"] for row in rows})
    bounces, extra, missing = (
        len(weekend.faults_in(track, session, kind))
        for kind in (FaultKind.BOUNCED_TRIGGER, FaultKind.EXTRA_CROSSING, FaultKind.MISSING_CROSSING)
    )
    assert len(rows) == first_crossings + len(exported) + 2 * bounces + extra - missing


def test_a_lost_lap_count_is_32768_in_lap_files_and_telemetry(weekend: Weekend) -> None:
    lost = [fault for fault in weekend.truth.faults_of(FaultKind.LAP_COUNTER_LOST) if fault.lap_number]
    assert len(lost) == 2
    for fault in lost:
        lap = weekend.lap(fault)
        telemetry = weekend.truth.session(fault.track, fault.session).telemetry.file
        offset_s = next(
            car.clock_offset_s
            for car in weekend.truth.session(fault.track, fault.session).cars
            if car.vehicle_id == fault.vehicle_id
        )
        labelled = [
            instant(row["timestamp"]) + timedelta(seconds=offset_s or 0)
            for row in weekend.rows(telemetry)
            if (row["vehicle_id"], row["lap"]) == (fault.vehicle_id, "32768")
        ]
        ends = [row for row in weekend.rows(fault.file) if row["vehicle_id"] == fault.vehicle_id]
        assert lap.unit_lap == 32768
        assert labelled
        assert lap.start_utc <= min(labelled) <= max(labelled) <= lap.end_utc
        # Once for this lap, once for the start of the formation lap.
        assert [row["lap"] for row in ends].count("32768") == 2


def test_the_crossing_that_starts_a_formation_lap_has_lap_count_32768(weekend: Weekend) -> None:
    formation = [fault for fault in weekend.truth.faults_of(FaultKind.LAP_COUNTER_LOST) if fault.lap_number == 0]
    assert len(formation) == 14
    for fault in formation:
        rows = [row for row in weekend.rows(fault.file) if row["vehicle_id"] == fault.vehicle_id]
        oldest = min(rows, key=lambda row: row["timestamp"])
        assert oldest["lap"] == "32768"
        assert instant(oldest["timestamp"]) - weekend.lap(fault).start_utc <= timedelta(milliseconds=2)


def _naive_laps(weekend: Weekend, fault: InjectedFault) -> pd.DataFrame:
    """Join starts and ends on car and lap and keep laps of 60 to 300 s, as most readers of these files do."""
    ends = pd.DataFrame(weekend.rows(fault.file))
    starts = pd.DataFrame(weekend.rows(weekend.sibling(fault, "lap_end", "lap_start")))
    laps = starts.merge(ends, on=["vehicle_id", "lap"], suffixes=("_start", "_end"))
    durations = pd.to_datetime(laps["timestamp_end"]) - pd.to_datetime(laps["timestamp_start"])
    laps["lap_time_s"] = durations.dt.total_seconds()
    return laps[laps["lap_time_s"].between(60, 300)]


def test_a_naive_join_of_the_late_pair_gives_a_false_best_lap(weekend: Weekend) -> None:
    fault = weekend.only(FaultKind.LATE_TRIGGER_PAIR)
    laps = _naive_laps(weekend, fault)
    best = laps.sort_values("lap_time_s").iloc[0]
    after = weekend.lap(fault, 4)
    true_best = weekend.truth.session(fault.track, fault.session).best_lap
    assert best["vehicle_id"] == fault.vehicle_id
    assert int(best["lap"]) == after.unit_lap
    assert best["lap_time_s"] == pytest.approx((after.lap_time_s or 0) - 30, abs=0.003)
    assert best["lap_time_s"] < true_best.lap_time_s - 25


@each_session
def test_the_best_lap_has_one_trigger_at_each_end(weekend: Weekend, track: str, session: str) -> None:
    answer = weekend.truth.session(track, session)
    best = answer.best_lap
    lap = next(lap for lap in answer.laps if (lap.vehicle_id, lap.lap_number) == (best.vehicle_id, best.lap_number))
    stamps = [
        instant(row["timestamp"])
        for row in weekend.rows(weekend.lap_file(track, session, "lap_end"))
        if row["vehicle_id"] == best.vehicle_id
    ]
    near = timedelta(seconds=5)
    inside = [stamp for stamp in stamps if lap.start_utc - near < stamp < lap.end_utc + near]
    assert len(inside) == 2
    assert lap.is_in_export
    assert (max(inside) - min(inside)).total_seconds() == pytest.approx(best.lap_time_s, abs=0.002)


def test_the_truncated_export_ends_before_the_flag(weekend: Weekend) -> None:
    fault = weekend.only(FaultKind.TRUNCATED_EXPORT)
    laps = weekend.truth.session(fault.track, fault.session).laps
    missing = [lap for lap in laps if not lap.is_in_export]
    last = max(instant(row["timestamp"]) for row in weekend.rows(fault.file))
    assert {lap.lap_number for lap in missing} == {7, 8}
    assert last < min(lap.end_utc for lap in missing)


def test_the_device_reports_the_time_since_its_previous_trigger(weekend: Weekend) -> None:
    rows = weekend.rows("Mesa Verde Raceway/Race 1/mesa_lap_time_R1.csv")
    late = weekend.only(FaultKind.LATE_BY_A_SECOND).vehicle_id
    by_car: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_car.setdefault(row["vehicle_id"], []).append(row)
    assert len(by_car) == 7
    for vehicle_id, car_rows in by_car.items():
        stamps = [instant(row["timestamp"]) for row in car_rows]
        assert stamps == sorted(stamps, reverse=True)
        off = [
            int(row["value"]) - (newer - older) // timedelta(milliseconds=1)
            for row, newer, older in zip(car_rows, stamps, stamps[1:], strict=False)
        ]
        # The late timestamp makes its lap 1.2 s too long and the next one too short; the values are correct.
        assert [ms for ms in off if ms] == ([1_200, -1_200] if vehicle_id == late else [])


def test_the_file_of_the_wrong_race_is_a_copy_of_race_one(weekend: Weekend) -> None:
    fault = weekend.only(FaultKind.WRONG_RACE_FILE)
    other = fault.file.replace("Race 2", "Race 1").replace("R2", "R1")
    assert (weekend.folder / fault.file).read_bytes() == (weekend.folder / other).read_bytes()
    assert {row["meta_session"] for row in weekend.rows(fault.file)} == {"R1"}


def test_the_car_that_never_starts_crosses_the_line_twice(weekend: Weekend) -> None:
    fault = weekend.only(FaultKind.NEVER_STARTED)
    answer = weekend.truth.session(fault.track, fault.session)
    assert [row["vehicle_id"] for row in weekend.rows(fault.file)].count(fault.vehicle_id or "") == 2
    assert [lap.lap_number for lap in answer.laps if lap.vehicle_id == fault.vehicle_id] == [0]
    assert [car.vehicle_id for car in answer.cars if not car.has_started] == [fault.vehicle_id]


def test_the_two_file_formats_are_those_of_barber_and_cota(weekend: Weekend) -> None:
    bare = (weekend.folder / "harbor_street_circuit/R2_harbor_lap_time.csv").read_bytes()
    quoted = (weekend.folder / "Mesa Verde Raceway/Race 1/mesa_lap_time_R1.csv").read_bytes()
    assert bare.count(b"\r\n") == bare.count(b"\n")
    assert bare.endswith(b"\r\n")
    assert b'"' not in bare
    assert b"value" not in bare
    assert b"\r" not in quoted
    assert quoted.endswith(b",")
    assert quoted.startswith(b'"meta_source","meta_time",')
    assert all(line.endswith(b",") for line in quoted.split(b"\n")[1:])


def test_exactly_the_unparsable_rows_are_listed_with_their_lines(weekend: Weekend) -> None:
    found: dict[str, list[int]] = {}
    for path in (file.path for file in weekend.truth.files if file.path.endswith(".csv")):
        header, *lines = (weekend.folder / path).read_text(encoding="ascii").splitlines()
        columns = header.count(",")
        bad = [line for line, text in enumerate(lines, start=2) if text.count(",") != columns or "#ERR" in text]
        if bad:
            found[path] = bad
    assert len(found) == 3
    assert found == {reject.file: [reject.line] for reject in weekend.truth.rejects}


@each_session
def test_a_clean_weekend_has_one_row_per_crossing(clean_weekend: Weekend, track: str, session: str) -> None:
    rows = clean_weekend.rows(clean_weekend.lap_file(track, session, "lap_end"))
    laps = clean_weekend.truth.session(track, session).laps
    assert all(lap.is_in_export for lap in laps)
    assert len(rows) == len(laps) + 6
    assert "32768" not in {row["lap"] for row in rows}


def test_the_value_after_a_bounce_is_short_because_the_timer_restarts(weekend: Weekend) -> None:
    bounces = weekend.faults_in("mesa_verde_raceway", "R1", FaultKind.BOUNCED_TRIGGER)
    assert bounces
    for fault in bounces:
        after = weekend.lap(fault, (fault.lap_number or 0) + 1)
        (value,) = (int(row["value"]) for at, row in weekend.triggers(fault, "lap_time") if _is_at(at, after.end_utc))
        assert 42 <= (after.lap_time_s or 0) * 1000 - value <= 46


def _is_at(stamp: datetime, crossing: datetime) -> bool:
    return timedelta(0) <= stamp - crossing <= timedelta(milliseconds=2)


def test_a_crossing_late_by_a_second_has_the_correct_value(weekend: Weekend) -> None:
    fault = weekend.only(FaultKind.LATE_BY_A_SECOND)
    lap = weekend.lap(fault)
    near = [trigger for trigger in weekend.triggers(fault, "lap_time") if abs(trigger[0] - lap.end_utc) < _NEAR]
    ((stamp, row),) = near
    assert (stamp - lap.end_utc).total_seconds() == pytest.approx(1.2, abs=0.002)
    assert int(row["value"]) == pytest.approx((lap.lap_time_s or 0) * 1000, abs=2)


def test_a_missing_crossing_is_in_no_lap_file_and_the_device_counts_two_laps_as_one(weekend: Weekend) -> None:
    faults = weekend.truth.faults_of(FaultKind.MISSING_CROSSING)
    assert {fault.track for fault in faults} == {"harbor_street_circuit", "mesa_verde_raceway"}
    for fault in faults:
        before, lap, after = (weekend.lap(fault, (fault.lap_number or 0) + step) for step in (-1, 0, 1))
        for kind in ("lap_end", "lap_start", "lap_time"):
            stamps = [at for at, _ in weekend.triggers(fault, kind)]
            assert not [at for at in stamps if lap.start_utc + _NEAR < at < after.end_utc - _NEAR]
            assert [at for at in stamps if abs(at - lap.start_utc) < _NEAR]
            assert [at for at in stamps if abs(at - after.end_utc) < _NEAR]
        assert lap.is_in_export
        assert before.unit_lap + 1 == lap.unit_lap == after.unit_lap


def test_the_value_after_a_missing_crossing_is_two_laps_long(weekend: Weekend) -> None:
    (fault,) = weekend.faults_in("mesa_verde_raceway", "R1", FaultKind.MISSING_CROSSING)
    lap, after = weekend.lap(fault), weekend.lap(fault, (fault.lap_number or 0) + 1)
    (value,) = (int(row["value"]) for at, row in weekend.triggers(fault, "lap_time") if _is_at(at, after.end_utc))
    assert value == pytest.approx(1000 * ((lap.lap_time_s or 0) + (after.lap_time_s or 0)), abs=2)


def test_an_extra_crossing_splits_a_lap_into_two_impossible_ones(weekend: Weekend) -> None:
    fault = weekend.only(FaultKind.EXTRA_CROSSING)
    before, lap, after = (weekend.lap(fault, (fault.lap_number or 0) + step) for step in (-1, 0, 1))
    for kind, counted in (("lap_end", lap.unit_lap - 1), ("lap_time", lap.unit_lap - 1), ("lap_start", lap.unit_lap)):
        triggers = weekend.triggers(fault, kind)
        ((at, row),) = (one for one in triggers if lap.start_utc + _NEAR < one[0] < lap.end_utc - _NEAR)
        assert (at - lap.start_utc) / (lap.end_utc - lap.start_utc) == pytest.approx(0.4, abs=0.001)
        assert int(row["lap"]) == counted
    assert before.unit_lap + 2 == lap.unit_lap == after.unit_lap - 1


def test_a_post_race_lap_has_both_triggers_and_no_official_time(weekend: Weekend) -> None:
    faults = weekend.truth.faults_of(FaultKind.POST_RACE_LAP)
    assert len(faults) == 3
    for fault in faults:
        best_s = weekend.truth.session(fault.track, fault.session).best_lap.lap_time_s
        last, lap = (weekend.lap(fault, (fault.lap_number or 0) + step) for step in (-1, 0))
        (*_, start, end) = (at for at, _ in weekend.triggers(fault))
        assert (lap.lap_time_s, lap.flag, last.flag) == (None, None, "FF")
        assert lap.is_in_export
        assert lap.start_utc == last.end_utc
        assert _is_at(start, lap.start_utc)
        assert _is_at(end, lap.end_utc)
        assert (end - start).total_seconds() > 1.5 * best_s


def test_half_of_the_undecided_cars_crossings_match_a_car_with_another_device(weekend: Weekend) -> None:
    fault = weekend.only(FaultKind.UNDECIDED_CAR)
    answer = weekend.truth.session(fault.track, fault.session)
    undecided = next(car for car in answer.cars if car.vehicle_id == fault.vehicle_id)
    vehicle_ids = {car.printed_number: car.vehicle_id for car in answer.cars}
    stamps = [at for at, _ in weekend.triggers(fault)]
    matching = {
        number: [
            lap.lap_number
            for lap in answer.laps
            if lap.vehicle_id == vehicle_ids[number] and lap.lap_time_s
            # Crossings that do not match are at least 2.2 s apart.
            if any(abs(at - lap.end_utc) < timedelta(seconds=2) for at in stamps)
        ]
        for number in undecided.candidates
    }
    assert matching == {"21": [1, 2, 3, 4], "58": [5, 6, 7, 8]}
    assert undecided.car_number == "58"
    assert all(car.candidates == (car.printed_number,) for car in answer.cars if car != undecided)


@pytest.mark.parametrize("seed", range(5))
def test_no_lap_between_timestamps_of_the_undecided_car_beats_the_best_lap(tmp_path: Path, seed: int) -> None:
    truth = make_weekend(tmp_path / "weekend", WeekendOptions(seed=seed, target_bytes=700_000))
    weekend = Weekend(tmp_path / "weekend", truth)
    fault = weekend.only(FaultKind.UNDECIDED_CAR)
    stamps = [at for at, _ in weekend.triggers(fault)]
    fastest = min(after - before for before, after in pairwise(stamps))
    assert fastest.total_seconds() > truth.session(fault.track, fault.session).best_lap.lap_time_s
