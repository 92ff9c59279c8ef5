"""Compares the derived tables of the synthetic weekend with its ground truth: faults, laps, times and cars."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from apex_pipeline.demo import FaultKind, GroundTruth, InjectedFault, SessionTruth
from apex_pipeline_tests.e2e.conftest import SyncedLake


def _lap(lake: SyncedLake, fault: InjectedFault, step: int = 0) -> pd.Series:
    laps = lake.catalog.laps(fault.track, fault.session)
    found = laps[(laps["vehicle_id"] == fault.vehicle_id) & (laps["lap_number"] == (fault.lap_number or 0) + step)]
    assert len(found) == 1, fault
    return found.iloc[0]


def _car(lake: SyncedLake, fault: InjectedFault) -> pd.Series:
    cars = lake.catalog.cars(fault.track, fault.session)
    return cars[cars["vehicle_id"] == fault.vehicle_id].iloc[0]


def _flagged(*flags: str) -> Callable[[SyncedLake, InjectedFault], bool]:
    return lambda lake, fault: not set(flags).isdisjoint(_lap(lake, fault)["flags"])


def _any_lap_flagged(flag: str) -> Callable[[SyncedLake, InjectedFault], bool]:
    return lambda lake, fault: any(flag in flags for flags in lake.catalog.laps(fault.track, fault.session)["flags"])


def _resolved(lake: SyncedLake, fault: InjectedFault) -> bool:
    car = _car(lake, fault)
    return car["method"] == "official_crossings" and str(car["car_number"]) in fault.detail


def _not_in_use(lake: SyncedLake, fault: InjectedFault) -> bool:
    files = lake.catalog.files().set_index("path")
    return files.loc[fault.file]["status"] in {"quarantined", "ignored", "unresolved"}


def _rejected(lake: SyncedLake, fault: InjectedFault) -> bool:
    return fault.file in set(lake.catalog.rejects(fault.track, fault.session)["source_file"])


def _telemetry(lake: SyncedLake, fault: InjectedFault) -> pd.DataFrame:
    cars = lake.catalog.telemetry_cars(fault.track, fault.session)
    return cars if fault.vehicle_id is None else cars[cars["vehicle_id"] == fault.vehicle_id]


def _note(lake: SyncedLake, fault: InjectedFault) -> str:
    return lake.catalog.session_note(fault.track, fault.session)


def _is_penalised(lake: SyncedLake, fault: InjectedFault) -> bool:
    results = lake.catalog.results(fault.track, fault.session)
    times = results.pivot_table(index="car_number", columns="version", values="total_time_s", observed=True)
    return bool((times["official"] - times["provisional"] > 1).any())


def _is_yellow(lake: SyncedLake, fault: InjectedFault) -> bool:
    laps = lake.catalog.laps(fault.track, fault.session)
    return set(laps[laps["lap_number"] == fault.lap_number]["flag_at_finish"]) == {"FCY"}


_IS_DETECTED: dict[FaultKind, Callable[[SyncedLake, InjectedFault], bool]] = {
    FaultKind.BOUNCED_TRIGGER: _flagged("bounced_trigger"),
    FaultKind.LAP_COUNTER_LOST: _flagged("unit_lap_lost"),
    FaultKind.LATE_TRIGGER_PAIR: _flagged("late_trigger_pair"),
    FaultKind.LATE_BY_A_SECOND: _flagged("late_trigger", "late_trigger_pair"),
    FaultKind.MISSING_CROSSING: _flagged("missing_crossing"),
    FaultKind.EXTRA_CROSSING: _flagged("extra_crossing"),
    FaultKind.POST_RACE_LAP: _flagged("post_race_lap"),
    FaultKind.LONG_LAP: _flagged("long_lap"),
    FaultKind.TRUNCATED_EXPORT: _any_lap_flagged("truncated_export"),
    FaultKind.WRONG_CAR_NUMBER: _resolved,
    FaultKind.NO_CAR_NUMBER: _resolved,
    FaultKind.ZERO_PADDED_NUMBER: _resolved,
    FaultKind.UNDECIDED_CAR: lambda lake, fault: _car(lake, fault)["method"] == "undecided",
    FaultKind.NEVER_STARTED: lambda lake, fault: not _car(lake, fault)["has_started"],
    FaultKind.CLOCK_FROZEN: lambda lake, fault: bool(_telemetry(lake, fault)["is_clock_frozen"].all()),
    FaultKind.CLOCK_DAYS_OFF: lambda lake, fault: bool((_telemetry(lake, fault)["clock_offset_s"] > 80_000).all()),
    FaultKind.EXACT_DUPLICATES: lambda lake, fault: _telemetry(lake, fault)["exact_duplicates"].sum() > 0,
    FaultKind.CONFLICTING_DUPLICATES: lambda lake, fault: _telemetry(lake, fault)["repeat_rows"].sum() > 0,
    FaultKind.RADIO_HOLE: lambda lake, fault: _telemetry(lake, fault)["longest_gap_s"].iloc[0] > 30,
    FaultKind.NEWEST_FIRST_ROWS: lambda lake, fault: bool(
        (_telemetry(lake, fault)["backward_steps"].fillna(0) == 0).all()
    ),
    FaultKind.FULL_COURSE_YELLOW: _is_yellow,
    FaultKind.PIT_LAP: lambda lake, fault: _lap(lake, fault)["is_in_lap"] and _lap(lake, fault, 1)["is_out_lap"],
    FaultKind.OFFICIAL_CLOCK_BEHIND: lambda lake, fault: "official clock" in _note(lake, fault).lower(),
    FaultKind.PENALTY: _is_penalised,
    FaultKind.WRONG_RACE_FILE: _not_in_use,
    FaultKind.EMPTY_FILE: _not_in_use,
    FaultKind.JUNK_FILE: _not_in_use,
    FaultKind.MALFORMED_ROW: _rejected,
    FaultKind.UNPARSABLE_VALUE: _rejected,
}


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_injected_fault_is_detected(local_lake: SyncedLake, ground_truth: GroundTruth, kind: FaultKind) -> None:
    injected = ground_truth.faults_of(kind)
    assert injected
    assert [fault for fault in injected if not _IS_DETECTED[kind](local_lake, fault)] == []


def _undecided(session: SessionTruth) -> set[str]:
    return {car.vehicle_id for car in session.cars if len(car.candidates) > 1}


def test_exactly_the_true_laps_are_derived_once_each(local_lake: SyncedLake, ground_truth: GroundTruth) -> None:
    for session in ground_truth.sessions:
        laps = local_lake.catalog.laps(session.track, session.session)
        found = sorted(zip(laps["vehicle_id"], laps["lap_number"], strict=True))
        assert found == sorted((lap.vehicle_id, lap.lap_number) for lap in session.laps)


def test_lap_times_match_the_ground_truth(local_lake: SyncedLake, ground_truth: GroundTruth) -> None:
    for session in ground_truth.sessions:
        laps = local_lake.catalog.laps(session.track, session.session)
        times = dict(zip(zip(laps["vehicle_id"], laps["lap_number"], strict=True), laps["lap_time_s"], strict=True))
        for lap in session.laps:
            if lap.lap_time_s is not None and lap.vehicle_id not in _undecided(session):
                assert times[lap.vehicle_id, lap.lap_number] == pytest.approx(lap.lap_time_s)


def test_every_car_is_matched_to_its_official_entry(local_lake: SyncedLake, ground_truth: GroundTruth) -> None:
    for session in ground_truth.sessions:
        cars = local_lake.catalog.cars(session.track, session.session).dropna(subset=["vehicle_id"])
        found = {
            row.vehicle_id: (row.car_number, row.official_number, row.official_entry)
            for row in cars[cars["method"] == "official_crossings"].itertuples()
        }
        assert found == {
            car.vehicle_id: (car.car_number, car.printed_number, car.printed_entry)
            for car in session.cars
            if car.has_started and car.vehicle_id not in _undecided(session)
        }
        undecided = cars[cars["method"] == "undecided"]
        candidates_by_car = zip(undecided["vehicle_id"], undecided["candidates"], strict=True)
        assert {vehicle_id: set(candidates) for vehicle_id, candidates in candidates_by_car} == {
            car.vehicle_id: set(car.candidates) for car in session.cars if len(car.candidates) > 1
        }


def test_the_best_lap_is_correct_where_a_naive_merge_is_wrong(
    local_lake: SyncedLake, ground_truth: GroundTruth, weekend: tuple[Path, GroundTruth]
) -> None:
    is_false: list[bool] = []
    for session in ground_truth.sessions:
        laps = local_lake.catalog.laps(session.track, session.session)
        best_s = laps[laps["is_valid"]]["lap_time_s"].min()
        assert best_s == pytest.approx(session.best_lap.lap_time_s, abs=0.005)
        is_false.append(_naive_best_s(weekend[0], local_lake, session) < session.best_lap.lap_time_s - 1)
    assert any(is_false)


def _naive_best_s(folder: Path, lake: SyncedLake, session: SessionTruth) -> float:
    """Return the best lap after merging lap starts and ends by car and lap, with the usual 60 to 300 s filter."""
    files = lake.catalog.files()
    paths = files[(files["track"] == session.track) & (files["session"] == session.session)].set_index("kind")["path"]
    start, end = (
        pd.read_csv(folder / paths[kind], parse_dates=["timestamp"], on_bad_lines="skip")
        for kind in ("lap_start", "lap_end")
    )
    merged = start.merge(end, on=["vehicle_id", "lap"], suffixes=("_start", "_end"))
    ends, starts = (pd.to_datetime(merged[f"timestamp_{side}"], errors="coerce") for side in ("end", "start"))
    seconds = (ends - starts).dt.total_seconds()
    return float(seconds[(seconds > 60) & (seconds < 300)].min())
