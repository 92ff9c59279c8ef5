"""Sessions that lack something: telemetry, official timing, whole tables; and cars whose numbers are alike."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from apex_pipeline.catalog import Catalog, RaceSession
from apex_pipeline.errors import ConfigurationError, ObjectMissingError, StoreCorruptionError
from apex_pipeline.lake.publication import Change, publish
from apex_pipeline.storage.layout import object_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import CARS, TELEMETRY
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.catalog.race_lake import (
    CAR,
    SESSION,
    TRACK,
    Race,
    car_rows,
    local_store,
    publish_race,
    race_cars,
    telemetry_bytes,
)
from apex_pipeline_tests.lake.tables import NOON, publish_tables

_SAMPLES = ["vehicle_id", "sample_time_utc", "repeat", "lap_number", "gear"]


@pytest.fixture
def session(race: Race) -> RaceSession:
    return race.catalog.session(TRACK, SESSION)


@pytest.fixture
def bare(tmp_path: Path) -> LocalStore:
    """A lake whose sessions were published with laps only."""
    store = local_store(tmp_path)
    for name in ("R1", "R2"):
        key = SessionKey("spa", name)
        published = publish_tables(store, key, laps=2).session(key)
        assert published is not None
        only_laps = replace(published, tables={"laps": published.tables["laps"]})
        publish(store, {key: Change(only_laps)}, NOON)
    return store


def test_a_session_of_laps_only_answers_what_it_can(bare: LocalStore) -> None:
    race = Catalog(bare).session("spa", "R1")
    assert len(race.laps()) == 2
    assert race.results().empty
    assert race.penalties().empty
    assert "total_time_s" in race.results().columns
    assert "There is no official timing" in race.timing_note
    assert "There is no classification" in race.timing_note
    assert set(race.positions()["method"]) <= {"own_laps"}
    assert list(race.sectors()["method"].unique()) in ([], ["own_laps"])
    assert race.note == ""
    with pytest.raises(ObjectMissingError, match="without the table weather"):
        race.weather()
    car = race.laps(frame="arrow")["vehicle_id"][0].as_py()
    assert race.find_car(car) == car
    assert len(race.laps(car=car)) > 0
    nothing = race.catalog.telemetry_reader.read_lap(race.key, "x", 1, ["gear"])
    assert (nothing.num_rows, nothing.schema.names) == (0, _SAMPLES)
    assert race.catalog.telemetry_reader.read_lap(race.key, "x", 1).schema.names == TELEMETRY.schema.names
    assert "has no telemetry" in race.catalog.telemetry_reader.lap_note(race.key, "x", 1)


@pytest.mark.skipif(find_spec("duckdb") is None, reason="an extra")
def test_sql_over_sessions_without_a_table(bare: LocalStore) -> None:
    catalog = Catalog(bare)
    assert catalog.sql("select count(*) as n from telemetry")["n"].tolist() == [0]
    with pytest.raises(ConfigurationError, match="Table with name weather does not exist"):
        catalog.sql("select * from weather")


def test_a_table_that_no_session_has_is_an_error_for_the_whole_lake(bare: LocalStore) -> None:
    with pytest.raises(ConfigurationError, match=r"No table is called 'weather'.*There are: .*laps"):
        Catalog(bare).weather()


def test_a_damaged_session_does_not_stop_the_others(bare: LocalStore) -> None:
    catalog = Catalog(bare)
    record = catalog.snapshot.session(SessionKey("spa", "R1"))
    assert record is not None
    for key in (object_key(record.tables["laps"].sha256), record.tables["laps"].key):
        (Path(bare.uri) / key).unlink()
    with pytest.raises((ObjectMissingError, StoreCorruptionError), match="spa"):
        catalog.laps()
    with pytest.raises(ObjectMissingError, match="session=R1"):
        catalog.laps("spa", "R1")
    assert len(catalog.laps("spa", "R2")) == 2


def test_a_lap_without_a_start_or_end_says_why_it_has_no_samples(session: RaceSession) -> None:
    lap = session.lap(car=CAR, number=99)
    assert lap.telemetry_arrow(["gear"]).schema.names == _SAMPLES
    assert lap.telemetry_arrow().num_rows == 0
    assert "has no UTC start or end" in lap.telemetry_note
    assert lap.time_s is None
    with pytest.raises(ConfigurationError, match=r"no channel geer\. Did you mean gear\?"):
        lap.telemetry_arrow(["geer"])


def test_a_car_that_sent_nothing_says_so(tmp_path: Path) -> None:
    race = publish_race(local_store(tmp_path), 3_000, telemetry=telemetry_bytes([car_rows("GR86-001-1", 3_000)]))
    lap = race.catalog.session(TRACK, SESSION).lap(car=CAR, number=1)
    assert lap.telemetry_note == f"{CAR} sent no telemetry in {TRACK}/{SESSION}."
    assert lap.telemetry(["gear"]).empty


def test_a_session_without_a_valid_time_has_no_best_lap(session: RaceSession) -> None:
    assert session.best().empty
    for car in (None, CAR):
        with pytest.raises(ObjectMissingError, match="valid lap with a time"):
            session.best_lap(car=car)


@pytest.mark.parametrize("ask", ["telemetry", "laps", "lap"])
def test_a_number_that_two_cars_write_differently_is_refused(tmp_path: Path, ask: str) -> None:
    rows = race_cars().to_pylist()
    rows[0]["car_number"], rows[1]["car_number"] = "3", "03"
    race = publish_race(local_store(tmp_path), 300, cars=CARS.from_rows(rows))
    session = race.catalog.session(TRACK, SESSION)
    asked = {
        "telemetry": lambda car: race.catalog.telemetry(TRACK, SESSION, car_number=car, channels=["gear"]),
        "laps": lambda car: session.laps(car=car),
        "lap": lambda car: session.lap(car=car, number=99),
    }[ask]
    with pytest.raises(ConfigurationError, match=r"'03' or '3'"):
        asked(3)
    assert asked("03") is not None
    assert asked("3") is not None


def test_a_number_means_the_only_car_that_it_can(session: RaceSession) -> None:
    assert session.lap(car=1007, number=1).vehicle_id == CAR
    assert session.find_car("#1007") == session.find_car(CAR.lower()) == CAR
    assert len(session.catalog.telemetry(TRACK, SESSION, car_number=1007, channels=["gear"])) == 3_000
