"""The lap files hold the truth, distorted exactly as the answer sheet says."""

from datetime import datetime, timedelta

import pandas as pd
import pytest

from apex_pipeline.demo import FaultKind
from apex_pipeline.demo.answers import LapAnswer, PlantedFault
from apex_pipeline_tests.demo.reading import Weekend, each_session, instant

_LAP_END = {
    "harbor_street_circuit": "harbor_street_circuit/{0}_harbor_lap_end.csv",
    "mesa_verde_raceway": "Mesa Verde Raceway/Race {0[1]}/mesa_lap_end_time_{0}.csv",
}


def _lap(weekend: Weekend, fault: PlantedFault, lap_number: int | None = None) -> LapAnswer:
    wanted = (fault.vehicle_id, fault.lap_number if lap_number is None else lap_number)
    laps = weekend.sheet.session(fault.track, fault.session).laps
    return next(lap for lap in laps if (lap.vehicle_id, lap.lap_number) == wanted)


@each_session
def test_every_exported_lap_ends_with_a_trigger_within_two_milliseconds(
    weekend: Weekend, track: str, session: str
) -> None:
    rows = weekend.rows(_LAP_END[track].format(session))
    late = {
        (fault.vehicle_id, fault.lap_number)
        for fault in weekend.sheet.faults_of(FaultKind.LATE_TRIGGER_PAIR)
        if (fault.track, fault.session) == (track, session)
    }
    seen: dict[tuple[str, int], list[datetime]] = {}
    for row in rows:
        seen.setdefault((row["vehicle_id"], int(row["lap"])), []).append(instant(row["timestamp"]))
    for lap in weekend.sheet.session(track, session).laps:
        delays = [at - lap.end_utc for at in seen.get((lap.vehicle_id, lap.unit_lap), [])]
        is_clean = any(timedelta(0) <= delay <= timedelta(milliseconds=2) for delay in delays)
        assert is_clean == (lap.is_in_export and (lap.vehicle_id, lap.lap_number) not in late)


@each_session
def test_triggers_are_received_a_tenth_of_a_second_to_two_seconds_late(
    weekend: Weekend, track: str, session: str
) -> None:
    for row in weekend.rows(_LAP_END[track].format(session)):
        delay = instant(row["meta_time"]) - instant(row["timestamp"])
        assert timedelta(milliseconds=60) <= delay <= timedelta(seconds=2)


def test_a_bounced_crossing_sends_three_rows_within_fifty_milliseconds(weekend: Weekend) -> None:
    bounces = weekend.sheet.faults_of(FaultKind.BOUNCED_TRIGGER)
    assert len(bounces) == 13
    for fault in bounces:
        lap = _lap(weekend, fault)
        for other in ("lap_end", "lap_start"):
            near = [
                int(row["lap"])
                for row in weekend.rows(weekend.beside(fault, "lap_end", other))
                if row["vehicle_id"] == fault.vehicle_id
                and len(row["timestamp"]) > 0
                and abs(instant(row["timestamp"]) - lap.end_utc) < timedelta(milliseconds=50)
            ]
            main = lap.unit_lap + (other == "lap_start")
            assert sorted(near) == sorted([main, main, 2 * lap.unit_lap + 1 - main])


@each_session
def test_every_repeated_trigger_is_a_planted_bounce(weekend: Weekend, track: str, session: str) -> None:
    rows = weekend.rows(_LAP_END[track].format(session))
    exported = [lap for lap in weekend.sheet.session(track, session).laps if lap.is_in_export]
    first_crossings = len({row["vehicle_id"] for row in rows})
    bounces = [
        fault
        for fault in weekend.sheet.faults_of(FaultKind.BOUNCED_TRIGGER)
        if (fault.track, fault.session) == (track, session)
    ]
    assert len(rows) == first_crossings + len(exported) + 2 * len(bounces)


def test_a_lost_count_is_32768_in_lap_files_and_telemetry(weekend: Weekend) -> None:
    lost = [fault for fault in weekend.sheet.faults_of(FaultKind.LAP_COUNTER_LOST) if fault.lap_number]
    assert len(lost) == 2
    for fault in lost:
        lap = _lap(weekend, fault)
        telemetry = weekend.sheet.session(fault.track, fault.session).telemetry.file
        offset_s = next(
            car.clock_offset_s
            for car in weekend.sheet.session(fault.track, fault.session).cars
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


def test_the_crossing_that_begins_a_formation_lap_is_32768(weekend: Weekend) -> None:
    formation = [fault for fault in weekend.sheet.faults_of(FaultKind.LAP_COUNTER_LOST) if fault.lap_number == 0]
    assert len(formation) == 13
    for fault in formation:
        rows = [row for row in weekend.rows(fault.file) if row["vehicle_id"] == fault.vehicle_id]
        oldest = min(rows, key=lambda row: row["timestamp"])
        assert oldest["lap"] == "32768"
        assert instant(oldest["timestamp"]) - _lap(weekend, fault).start_utc <= timedelta(milliseconds=2)


def _naive_laps(weekend: Weekend, fault: PlantedFault) -> pd.DataFrame:
    """Do what most readers of these files do: join start and end on car and lap, keep 60 to 300 s."""
    ends = pd.DataFrame(weekend.rows(fault.file))
    starts = pd.DataFrame(weekend.rows(weekend.beside(fault, "lap_end", "lap_start")))
    laps = starts.merge(ends, on=["vehicle_id", "lap"], suffixes=("_start", "_end"))
    spent = pd.to_datetime(laps["timestamp_end"]) - pd.to_datetime(laps["timestamp_start"])
    laps["lap_time_s"] = spent.dt.total_seconds()
    return laps[laps["lap_time_s"].between(60, 300)]


def test_a_naive_join_of_the_late_pair_gives_a_false_best_lap(weekend: Weekend) -> None:
    fault = weekend.only(FaultKind.LATE_TRIGGER_PAIR)
    laps = _naive_laps(weekend, fault)
    best = laps.sort_values("lap_time_s").iloc[0]
    after = _lap(weekend, fault, 4)
    true_best = weekend.sheet.session(fault.track, fault.session).best_lap
    assert best["vehicle_id"] == fault.vehicle_id
    assert int(best["lap"]) == after.unit_lap
    assert best["lap_time_s"] == pytest.approx((after.lap_time_s or 0) - 30, abs=0.003)
    assert best["lap_time_s"] < true_best.lap_time_s - 25


@each_session
def test_the_best_lap_has_one_trigger_at_each_end(weekend: Weekend, track: str, session: str) -> None:
    answer = weekend.sheet.session(track, session)
    best = answer.best_lap
    lap = next(lap for lap in answer.laps if (lap.vehicle_id, lap.lap_number) == (best.vehicle_id, best.lap_number))
    stamps = [
        instant(row["timestamp"])
        for row in weekend.rows(_LAP_END[track].format(session))
        if row["vehicle_id"] == best.vehicle_id
    ]
    near = timedelta(seconds=5)
    inside = [stamp for stamp in stamps if lap.start_utc - near < stamp < lap.end_utc + near]
    assert len(inside) == 2
    assert lap.is_in_export
    assert (max(inside) - min(inside)).total_seconds() == pytest.approx(best.lap_time_s, abs=0.002)


def test_the_truncated_export_ends_before_the_flag(weekend: Weekend) -> None:
    fault = weekend.only(FaultKind.TRUNCATED_EXPORT)
    laps = weekend.sheet.session(fault.track, fault.session).laps
    missing = [lap for lap in laps if not lap.is_in_export]
    last = max(instant(row["timestamp"]) for row in weekend.rows(fault.file))
    assert {lap.lap_number for lap in missing} == {7, 8}
    assert last < min(lap.end_utc for lap in missing)


def test_the_unit_reports_the_time_since_its_previous_trigger(weekend: Weekend) -> None:
    rows = weekend.rows("Mesa Verde Raceway/Race 1/mesa_lap_time_R1.csv")
    by_car: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_car.setdefault(row["vehicle_id"], []).append(row)
    assert len(by_car) == 7
    for car_rows in by_car.values():
        stamps = [instant(row["timestamp"]) for row in car_rows]
        assert stamps == sorted(stamps, reverse=True)
        for row, newer, older in zip(car_rows, stamps, stamps[1:], strict=False):
            assert timedelta(milliseconds=int(row["value"])) == newer - older


def test_the_file_of_the_wrong_race_is_a_copy_of_race_one(weekend: Weekend) -> None:
    fault = weekend.only(FaultKind.WRONG_RACE_FILE)
    other = fault.file.replace("Race 2", "Race 1").replace("R2", "R1")
    assert (weekend.folder / fault.file).read_bytes() == (weekend.folder / other).read_bytes()
    assert {row["meta_session"] for row in weekend.rows(fault.file)} == {"R1"}


def test_the_car_that_never_starts_passes_the_line_twice(weekend: Weekend) -> None:
    fault = weekend.only(FaultKind.NEVER_STARTED)
    answer = weekend.sheet.session(fault.track, fault.session)
    assert [row["vehicle_id"] for row in weekend.rows(fault.file)].count(fault.vehicle_id or "") == 2
    assert [lap.lap_number for lap in answer.laps if lap.vehicle_id == fault.vehicle_id] == [0]
    assert [car.vehicle_id for car in answer.cars if not car.has_started] == [fault.vehicle_id]


def test_the_two_byte_formats_are_those_of_barber_and_cota(weekend: Weekend) -> None:
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


def test_planted_rejects_are_where_the_sheet_says(weekend: Weekend) -> None:
    found: dict[str, list[int]] = {}
    for path in (file.path for file in weekend.sheet.files if file.path.endswith(".csv")):
        header, *lines = (weekend.folder / path).read_text(encoding="ascii").splitlines()
        columns = header.count(",")
        bad = [line for line, text in enumerate(lines, start=2) if text.count(",") != columns or "#ERR" in text]
        if bad:
            found[path] = bad
    assert len(found) == 3
    assert found == {reject.file: [reject.line] for reject in weekend.sheet.rejects}


@each_session
def test_a_clean_weekend_has_one_row_per_crossing(clean_weekend: Weekend, track: str, session: str) -> None:
    rows = clean_weekend.rows(_LAP_END[track].format(session))
    laps = clean_weekend.sheet.session(track, session).laps
    assert all(lap.is_in_export for lap in laps)
    assert len(rows) == len(laps) + 6
    assert "32768" not in {row["lap"] for row in rows}
