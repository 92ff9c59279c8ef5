"""A session and its laps, asked as people ask."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from apex_pipeline import Catalog, Lap, RaceSession, open_catalog
from apex_pipeline.errors import ConfigurationError, ObjectMissingError

_RACE = ("harbor_street_circuit", "R1")


@pytest.fixture(scope="module")
def race(lake: Path) -> RaceSession:
    return open_catalog(lake).session("harbor", "r1")


@pytest.fixture(scope="module")
def catalog(lake: Path) -> Catalog:
    return open_catalog(lake)


def test_a_session_is_found_by_the_names_people_write(race: RaceSession) -> None:
    assert (race.track, race.name, race.key) == (*_RACE, _RACE)
    assert race == open_catalog(race.catalog.uri).session(*_RACE)
    assert race != race.catalog.session("harbor", "R2")
    assert len({race, race.catalog.session(*_RACE)}) == 1


def test_the_best_laps_are_the_fastest_valid_ones_in_order(race: RaceSession) -> None:
    best, laps = race.best(), race.laps(valid=True)
    expected = laps.groupby("vehicle_id", observed=True)["lap_time_s"].min().sort_values()
    assert best["lap_time_s"].tolist() == expected.tolist()
    assert best["rank"].tolist() == list(range(1, len(best) + 1))
    assert best["gap_s"].iloc[0] == 0
    assert (best["gap_s"] - (best["lap_time_s"] - best["lap_time_s"].iloc[0])).abs().max() < 0.0006


def test_the_best_lap_of_a_session_and_of_a_car(race: RaceSession) -> None:
    fastest, of_car = race.best_lap(), race.best_lap(car="#13")
    assert fastest.time_s == race.best()["lap_time_s"].min()
    assert of_car.car_number == "13"
    assert of_car.time_s == race.laps(car="13", valid=True)["lap_time_s"].min()
    assert (of_car.track, of_car.is_valid) == ("harbor_street_circuit", True)


def test_a_lap_is_that_of_the_table(race: RaceSession) -> None:
    rows = race.laps(car="13", frame="arrow").to_pylist()
    for row in rows:
        lap = race.lap(car="13", number=row["lap_number"])
        assert (lap.vehicle_id, lap.number, lap.time_s) == (row["vehicle_id"], row["lap_number"], row["lap_time_s"])
        assert (lap.method, lap.confidence) == (row["lap_time_method"], row["confidence"])
        assert lap.flags == tuple(row["flags"])
        assert (lap.line_start_utc, lap.line_end_utc) == (row["line_start_utc"], row["line_end_utc"])


def test_the_samples_of_a_lap_lie_between_its_passings_of_the_line(race: RaceSession) -> None:
    lap = race.best_lap(car="13")
    assert lap.line_start_utc is not None
    assert lap.line_end_utc is not None
    times = lap.telemetry_arrow(["speed_kph", "brake_front_bar"])["sample_time_utc"].to_pylist()
    assert len(times) > 1
    assert lap.line_start_utc <= times[0] <= times[-1] < lap.line_end_utc
    assert times == sorted(times)
    assert list(lap.telemetry(["speed_kph", "brake_front_bar"]).columns)[-2:] == ["speed_kph", "brake_front_bar"]
    assert lap.telemetry_note == ""


def test_counts_and_flags_that_may_be_missing_have_nullable_types(race: RaceSession) -> None:
    laps = race.laps()
    assert {str(laps[name].dtype) for name in ("is_out_lap", "is_in_lap", "from_green")} == {"boolean"}
    assert {str(laps[name].dtype) for name in ("official_lap_number", "unit_lap", "driver_number")} == {"Int64"}
    assert (str(laps["lap_number"].dtype), str(laps["is_valid"].dtype)) == ("int64", "bool")
    assert list(laps.columns) == race.laps(frame="arrow").schema.names


def test_laps_of_every_session_come_in_one_frame(lake: Path) -> None:
    catalog = open_catalog(lake)
    everything = catalog.laps()
    assert len(everything) == sum(catalog.rows("laps", *key) for key in catalog.snapshot.keys)
    assert set(everything["track"]) == set(catalog.tracks()["track"])
    pd.testing.assert_frame_equal(
        catalog.laps("harbor").reset_index(drop=True),
        everything[everything["track"] == _RACE[0]].reset_index(drop=True),
        check_categorical=False,
    )
    assert catalog.laps(valid=True)["is_valid"].all()
    assert not catalog.laps(valid=False)["is_valid"].any()
    assert set(catalog.laps(car="13")["car_number"]) == {"13"}


@pytest.mark.parametrize("name", ["sessions", "tracks", "files", "laps", "cars", "results", "weather", "quality"])
def test_every_table_comes_as_arrow_too(lake: Path, name: str) -> None:
    catalog = open_catalog(lake)
    arrow = getattr(catalog, name)(frame="arrow")
    assert isinstance(arrow, pa.Table)
    assert list(getattr(catalog, name)().columns) == arrow.schema.names
    assert catalog.table(name, frame="arrow").equals(arrow)


def test_a_number_is_understood_if_only_one_car_can_be_meant(race: RaceSession) -> None:
    assert race.best_lap(car=13) == race.best_lap(car="13")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda race: race.laps(car="133"), r"No car is called '133'. Did you mean 13\?"),
        (lambda race: race.lap(car="13", number=99), r"has no lap 99\. Its laps are: 1 to "),
        (lambda race: race.lap(car="13", number="8"), "'8' is not a whole number"),
        (lambda race: race.laps(frame="polars"), "There is no frame 'polars'"),
        (lambda race: race.best_lap().telemetry(["sped_kph"]), r"no channel sped_kph\. Did you mean speed_kph\?"),
        (lambda race: race.best_lap().telemetry_arrow("speed_kph"), r"Write a list: \['speed_kph'\]"),
        (lambda race: race.catalog.laps(session="R1"), "without its track"),
        (lambda race: race.catalog.table("lap"), r"No table is called 'lap'\. Did you mean laps\?"),
        (lambda race: race.catalog.table("telemetry"), "one session at a time"),
        (lambda race: race.catalog.table("tracks", "harbor", "R1"), "one table for the whole lake"),
        (lambda race: race.catalog.table("weather", car="13"), "weather is not about cars"),
        (lambda race: race.catalog.laps(car="1313"), "No row of laps is of a car '1313'"),
        (lambda race: race.catalog.session("harbr", "R1"), r"Did you mean harbor_street_circuit\?"),
    ],
)
def test_what_does_not_exist_is_an_error_with_a_suggestion(
    race: RaceSession, ask: Callable[[RaceSession], object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ask(race)


def test_an_unknown_session_is_an_error_with_those_that_exist(lake: Path) -> None:
    with pytest.raises(ObjectMissingError, match=r"harbor_street_circuit/R9 is not published\. Published sessions: "):
        open_catalog(lake).session("harbor", "R9")


def test_a_lap_without_telemetry_has_the_columns_and_says_why(lake: Path) -> None:
    catalog = open_catalog(lake)
    laps = [_lap(catalog.session(row["track"], row["session"]), row) for row in catalog.laps(frame="arrow").to_pylist()]
    silent = [lap for lap in laps if lap.telemetry_arrow(["speed_kph"]).num_rows == 0]
    assert silent
    for lap in silent:
        samples = lap.telemetry(["speed_kph"])
        assert list(samples.columns) == ["vehicle_id", "sample_time_utc", "repeat", "lap_number", "speed_kph"]
        assert lap.telemetry_note.endswith(".")


def _lap(session: RaceSession, row: dict[str, object]) -> Lap:
    return session.lap(car=str(row["vehicle_id"]), number=int(str(row["lap_number"])))


@pytest.mark.parametrize(("car", "entry"), [("03", 1), ("3", 2), ("GR86-037-03", 1), ("GR86-040-3", 2)])
def test_of_two_cars_that_are_printed_alike_each_has_its_own_official_rows(
    catalog: Catalog, car: str, entry: int
) -> None:
    for name in ("official_laps", "official_points"):
        rows = catalog.table(name, "mesa", "R1", car=car, frame="arrow")
        assert set(zip(rows["car_number"].to_pylist(), rows["entry"].to_pylist(), strict=True)) == {("3", entry)}
        assert catalog.table(name, "mesa", car=car, frame="arrow").num_rows > rows.num_rows
    for session in ("R1", None):
        with pytest.raises(ConfigurationError, match="does not say which of the cars printed 3"):
            catalog.table("results", "mesa", session, car=car)


def test_a_number_that_two_cars_write_differently_is_refused_in_official_tables_too(catalog: Catalog) -> None:
    with pytest.raises(ConfigurationError, match="'03' or '3'"):
        catalog.table("official_laps", "mesa", "R1", car=3)
    assert (
        len(catalog.table("results", "mesa", "R1", car=7)) == len(catalog.table("results", "mesa", "R1", car="7")) > 0
    )
    with pytest.raises(ConfigurationError, match="No row of results is of a car '777'"):
        catalog.table("results", "mesa", car="777")
