"""Official files match the ground truth."""

from datetime import datetime, time, timedelta
from itertools import groupby, pairwise
from zoneinfo import ZoneInfo

import pytest

from apex_pipeline.demo import FaultKind, LapTruth, SessionTruth
from apex_pipeline_tests.demo.reading import Weekend, each_session

_SECTIONS = {
    "harbor_street_circuit": "harbor_street_circuit/23_AnalysisEnduranceWithSections_Race {}_Anonymized.CSV",
    "mesa_verde_raceway": "Mesa Verde Raceway/Race {0}/23_AnalysisEnduranceWithSections_ Race {0}_Anonymized.CSV",
}


def _seconds(text: str) -> float:
    minutes, _, seconds = text.rpartition(":")
    return round(60 * int(minutes or 0) + float(seconds), 3)


def _sections(weekend: Weekend, track: str, session: str) -> list[dict[str, str]]:
    return weekend.rows(_SECTIONS[track].format(session[1]))


def _by_true_number(answer: SessionTruth) -> list[str]:
    """Return the vehicle ids of started cars in the order of the official files."""
    started = [car for car in answer.cars if car.has_started]
    return [car.vehicle_id for car in sorted(started, key=lambda car: car.car_number)]


def _hour(answer: SessionTruth, lap: LapTruth) -> time:
    """Return the official time of day of the crossing that ends a lap."""
    timed = [other for other in answer.laps if other.lap_time_s is not None]
    flag = min(other.end_utc for other in timed if other.flag == "FF")
    first = next(other for other in timed if other.lap_number == 1)
    green = first.end_utc - timedelta(seconds=first.lap_time_s or 0)
    at_green_s, at_flag_s = answer.official_clock_behind_s
    behind_s = at_green_s + (at_flag_s - at_green_s) * ((lap.end_utc - green) / (flag - green))
    return (lap.end_utc - timedelta(seconds=round(behind_s, 3))).astimezone(ZoneInfo(answer.zone)).time()


def test_one_official_clock_is_behind_and_drifts(weekend: Weekend) -> None:
    fault = weekend.only(FaultKind.OFFICIAL_CLOCK_BEHIND)
    behind = {(answer.track, answer.session): answer.official_clock_behind_s for answer in weekend.truth.sessions}
    assert behind.pop((fault.track, fault.session)) == (7.3, 8.8)
    assert set(behind.values()) == {(0.0, 0.0)}


@each_session
def test_printed_number_and_block_identify_the_laps_of_every_car(weekend: Weekend, track: str, session: str) -> None:
    answer = weekend.truth.session(track, session)
    blocks: dict[tuple[str, int], list[float]] = {}
    entry: dict[str, int] = {}
    for row in _sections(weekend, track, session):
        if row["LAP_NUMBER"] == "1":
            entry[row["NUMBER"]] = entry.get(row["NUMBER"], 0) + 1
        blocks.setdefault((row["NUMBER"], entry[row["NUMBER"]]), []).append(_seconds(row["LAP_TIME"]))
    for car in answer.cars:
        expected = [lap.lap_time_s for lap in answer.laps if lap.vehicle_id == car.vehicle_id and lap.lap_time_s]
        assert blocks.pop((car.printed_number, car.printed_entry), []) == expected
    assert blocks == {}


def test_the_two_blocks_of_one_printed_number_are_not_adjacent(weekend: Weekend) -> None:
    numbers = [row["NUMBER"] for row in _sections(weekend, "mesa_verde_raceway", "R1")]
    assert [number for number, _ in groupby(numbers)] == ["3", "21", "3", "46", "7", "72"]


@each_session
def test_sections_list_every_true_lap_with_its_time_and_local_crossing(
    weekend: Weekend, track: str, session: str
) -> None:
    answer = weekend.truth.session(track, session)
    laps = {(lap.vehicle_id, lap.lap_number): lap for lap in answer.laps}
    expected = [
        (laps[vehicle, number].lap_time_s, _hour(answer, laps[vehicle, number]), laps[vehicle, number].flag)
        for vehicle in _by_true_number(answer)
        for number in sorted(lap.lap_number for lap in answer.laps if lap.vehicle_id == vehicle and lap.lap_time_s)
    ]
    printed = [
        (
            _seconds(row["LAP_TIME"]),
            datetime.strptime(row["HOUR"], "%H:%M:%S.%f").time(),  # noqa: DTZ007 - only a time of day
            row["FLAG_AT_FL"],
        )
        for row in _sections(weekend, track, session)
    ]
    assert printed == expected


@each_session
def test_sectors_add_up_to_the_lap_time_and_laps_to_the_elapsed_time(
    weekend: Weekend, track: str, session: str
) -> None:
    elapsed = 0.0
    for row in _sections(weekend, track, session):
        lap_s = _seconds(row["LAP_TIME"])
        elapsed = lap_s if row["LAP_NUMBER"] == "1" else elapsed + lap_s
        assert _seconds(row["ELAPSED"]) == pytest.approx(elapsed, abs=1e-6)
        for form in ("S{}", "S{}_LARGE", "S{}_SECONDS"):
            sectors = [_seconds(row[form.format(number)]) for number in (1, 2, 3)]
            assert sum(sectors) == pytest.approx(lap_s, abs=1e-6)
        assert _seconds(row["FL_elapsed"]) == lap_s


@each_session
def test_laps_after_the_first_run_from_crossing_to_crossing(weekend: Weekend, track: str, session: str) -> None:
    answer = weekend.truth.session(track, session)
    timed = {(lap.vehicle_id, lap.lap_number): lap for lap in answer.laps if lap.lap_time_s is not None}
    for (vehicle, number), lap in timed.items():
        driven_s = (lap.end_utc - lap.start_utc).total_seconds()
        if number == 1:
            assert lap.lap_time_s is not None
            assert 0 < lap.lap_time_s - driven_s < 10
        else:
            assert lap.lap_time_s == driven_s
            assert lap.start_utc == timed[vehicle, number - 1].end_utc


@each_session
def test_the_best_lap_is_the_fastest_of_all_laps(weekend: Weekend, track: str, session: str) -> None:
    answer = weekend.truth.session(track, session)
    times = sorted(lap.lap_time_s for lap in answer.laps if lap.lap_time_s is not None)
    assert answer.best_lap.lap_time_s == times[0] <= times[1] - 0.2


def test_zero_padded_numbers_are_two_blocks_of_one_printed_number(weekend: Weekend) -> None:
    faults = weekend.truth.faults_of(FaultKind.ZERO_PADDED_NUMBER)
    assert {fault.vehicle_id for fault in faults} == {"GR86-037-03", "GR86-040-3"}
    for session in ("R1", "R2"):
        numbers = [
            int(row["LAP_NUMBER"]) for row in _sections(weekend, "mesa_verde_raceway", session) if row["NUMBER"] == "3"
        ]
        assert numbers[:2] == [1, 2]
        assert sum(after < before for before, after in pairwise(numbers)) == 1


def test_cars_with_wrong_or_missing_numbers_have_other_official_numbers(weekend: Weekend) -> None:
    wrong = {fault.vehicle_id for fault in weekend.truth.faults_of(FaultKind.WRONG_CAR_NUMBER)}
    missing = {fault.vehicle_id for fault in weekend.truth.faults_of(FaultKind.NO_CAR_NUMBER)}
    cars = {car.vehicle_id: car for car in weekend.truth.session("harbor_street_circuit", "R1").cars}
    printed = {row["NUMBER"] for row in _sections(weekend, "harbor_street_circuit", "R1")}
    assert wrong == {"GR86-060-2"}
    assert missing == {"GR86-002-000"}
    assert (cars["GR86-060-2"].car_number, cars["GR86-002-000"].car_number) == ("111", "2")
    assert printed == {car.printed_number for car in cars.values()}


def test_the_penalty_moves_a_car_down_between_provisional_and_official(weekend: Weekend) -> None:
    fault = weekend.only(FaultKind.PENALTY)
    provisional = weekend.rows("Mesa Verde Raceway/Race 1/03_Provisional Results_ Race 1_Anonymized.CSV")
    official = weekend.rows(fault.file)
    before = {_seconds(row["TOTAL_TIME"]) for row in provisional if row["TOTAL_TIME"]}
    after = {_seconds(row["TOTAL_TIME"]) for row in official if row["TOTAL_TIME"]}
    (was,), (now,) = before - after, after - before
    elapsed = sum(
        lap.lap_time_s or 0
        for lap in weekend.truth.session(fault.track, fault.session).laps
        if lap.vehicle_id == fault.vehicle_id
    )
    assert was == pytest.approx(elapsed)
    assert now - was == pytest.approx(10)
    assert [row["NUMBER"] for row in provisional] != [row["NUMBER"] for row in official]
    assert [int(row["POSITION"]) for row in official] == list(range(1, 8))
    assert official[-1]["STATUS"] == "Not started"


def test_other_classifications_do_not_change(weekend: Weekend) -> None:
    for race in (1, 2):
        folder = "harbor_street_circuit"
        provisional = weekend.rows(f"{folder}/03_Provisional Results_Race {race}_Anonymized.CSV")
        official = weekend.rows(f"{folder}/03_Results GR Cup Race {race} Official_Anonymized.CSV")
        by_class = weekend.rows(f"{folder}/05_Results by Class GR Cup Race {race} Official_Anonymized.CSV")
        assert provisional == official
        assert [row["NUMBER"] for row in by_class] == [row["NUMBER"] for row in official]


def test_racing_incidents_are_in_the_official_files(weekend: Weekend) -> None:
    yellow, pit, long = (
        weekend.only(kind) for kind in (FaultKind.FULL_COURSE_YELLOW, FaultKind.PIT_LAP, FaultKind.LONG_LAP)
    )
    flags = [(row["LAP_NUMBER"], row["FLAG_AT_FL"]) for row in weekend.rows(yellow.file)]
    assert {lap for lap, flag in flags if flag == "FCY"} == {str(yellow.lap_number)}
    rows = weekend.rows(pit.file)
    in_pit = [place for place, row in enumerate(rows) if row["CROSSING_FINISH_LINE_IN_PIT"] == "B"]
    assert [(rows[place]["NUMBER"], rows[place]["LAP_NUMBER"]) for place in in_pit] == [("47", str(pit.lap_number))]
    assert [place - 1 for place, row in enumerate(rows) if row["PIT_TIME"] == "0:00:41.000"] == in_pit
    slow = [row for row in weekend.rows(long.file) if _seconds(row["LAP_TIME"]) > 300]
    assert [(row["NUMBER"], row["LAP_NUMBER"]) for row in slow] == [("72", str(long.lap_number))]


def test_a_car_that_loses_minutes_is_laps_down(weekend: Weekend) -> None:
    rows = weekend.rows("Mesa Verde Raceway/Race 2/00_Results GR Cup Race 2 Official_Anonymized.CSV")
    assert [(row["NUMBER"], row["GAP_FIRST"]) for row in rows][-1] == ("72", "2 Laps")


def test_weather_has_the_same_time_in_both_time_columns(weekend: Weekend) -> None:
    rows = weekend.rows("Mesa Verde Raceway/Race 2/26_Weather_ Race 2_Anonymized.CSV")
    assert len(rows) > 10
    for row in rows:
        written = datetime.strptime(row["TIME_UTC_STR"] + "+0000", "%m/%d/%Y %I:%M:%S %p%z")
        assert written.timestamp() == int(row["TIME_UTC_SECONDS"])


def test_best_laps_are_sorted_and_missing_ones_have_lap_zero(weekend: Weekend) -> None:
    rows = weekend.rows("harbor_street_circuit/99_Best 10 Laps By Driver_Race 1_Anonymized.CSV")
    assert len(rows) == 6
    for row in rows:
        times = [_seconds(row[f"BESTLAP_{place}"]) for place in range(1, 9)]
        assert times == sorted(times)
        assert (row["BESTLAP_9"], row["BESTLAP_9_LAPNUM"], row["BESTLAP_10_LAPNUM"]) == ("", "0", "0")


def test_the_empty_file_has_no_bytes(weekend: Weekend) -> None:
    assert (weekend.folder / weekend.only(FaultKind.EMPTY_FILE).file).read_bytes() == b""
    assert [file.path for file in weekend.truth.files if file.size == 0] == [weekend.only(FaultKind.EMPTY_FILE).file]
