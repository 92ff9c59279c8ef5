"""Laps of a lake on distance, compared, and the map of their track, asked as people ask."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from apex_pipeline import Lap, RaceSession, open_catalog
from apex_pipeline.catalog.telemetry_reader import Selection, TelemetryReader
from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.distance.driven_lake import BARE, HARBOR_1, HARBOR_2, MESA, publish_session
from apex_pipeline_tests.distance.driving import LENGTH_M, drive


@pytest.fixture(scope="module")
def race(driven_lake: Path) -> RaceSession:
    return open_catalog(driven_lake).session("harbor_street_circuit", "R1")


@pytest.fixture(scope="module")
def laps(race: RaceSession) -> tuple[Lap, Lap]:
    """Return a lap of each of two cars."""
    return race.lap(car="13", number=2), race.lap(car="22", number=2)


def test_a_lap_on_distance_goes_from_line_to_line(laps: tuple[Lap, Lap]) -> None:
    lap, _ = laps
    found = lap.on_distance(step_m=2, channels=["speed_kph", "gear"])
    assert list(found.columns) == ["distance_m", "time_s", "error_s", "speed_kph", "gear"]
    assert found["distance_m"].iloc[-1] == pytest.approx(LENGTH_M, abs=1)
    assert found["time_s"].iloc[-1] == pytest.approx(lap.time_s, abs=1e-9)
    assert found.attrs["method"] == "integrated_speed"
    assert found["error_s"].median() < 0.2
    as_arrow = lap.on_distance(frame="arrow")
    assert isinstance(as_arrow, pa.Table)
    assert as_arrow.schema.metadata[b"method"] == b"integrated_speed"


def test_two_laps_are_compared_all_along_the_lap(laps: tuple[Lap, Lap]) -> None:
    a, b = laps
    assert a.time_s is not None
    assert b.time_s is not None
    both = a.compare(b, channels=["speed_kph"])
    assert both.delta_s[-1] == pytest.approx(b.time_s - a.time_s, abs=1e-9)
    assert len(both.delta_s) == len(both.error_s) == len(both.distance_m)
    assert both.method == "integrated_speed"
    assert "at the line" in repr(both)
    frame = both.frame(["speed_kph"])
    assert list(frame.columns) == ["distance_m", "a_speed_kph", "b_speed_kph", "delta_s", "error_s"]
    assert isinstance(frame, pd.DataFrame)
    assert both.frame(frame="arrow").num_rows == len(frame)


def test_what_is_no_lap_is_not_compared(laps: tuple[Lap, Lap]) -> None:
    with pytest.raises(ConfigurationError, match=r"None is not a lap\. Take one from `lap`"):
        laps[0].compare(None)  # pyright: ignore[reportArgumentType]  -- what is tested


def test_a_lap_is_compared_with_one_of_another_session_and_of_a_simulator(race: RaceSession) -> None:
    mine = race.lap(car="13", number=2)
    other = race.catalog.session("harbor_street_circuit", "R2").lap(car="22", number=2)
    assert other.time_s is not None
    assert mine.time_s is not None
    assert mine.compare(other).delta_s[-1] == pytest.approx(other.time_s - mine.time_s)
    simulated = drive(95.0, is_simulated=True, track_length_m=LENGTH_M * 1.01, label="my simulated lap").samples
    both = mine.compare(simulated, step_m=10)
    assert both.delta_s[-1] == pytest.approx(95.0 - mine.time_s)
    assert any("my simulated lap is simulated" in note for note in both.notes)


def test_what_cannot_be_compared_is_refused_with_a_reason(race: RaceSession, laps: tuple[Lap, Lap]) -> None:
    elsewhere = race.catalog.session("mesa_verde_raceway", "R1").best_lap()
    with pytest.raises(ConfigurationError, match="different tracks"):
        laps[0].compare(elsewhere)
    with pytest.raises(ConfigurationError, match="Did you mean speed_kph"):
        laps[0].compare(laps[1], channels=["speed"])
    with pytest.raises(ConfigurationError, match="Write a list"):
        laps[0].on_distance(channels="speed_kph")
    with pytest.raises(ConfigurationError, match="no channel none"):
        laps[0].compare(laps[1]).frame(["none"])
    with pytest.raises(ConfigurationError, match="step_m"):
        laps[0].on_distance(step_m=0)


def test_every_lap_has_an_answer_or_a_reason(driven_lake: Path) -> None:
    catalog = open_catalog(driven_lake)
    methods: dict[str, str] = {}
    for key in (HARBOR_1, HARBOR_2, MESA):
        race = catalog.session(*key)
        for row in race.laps(frame="arrow").to_pylist():
            found = race.lap(car=row["vehicle_id"], number=row["lap_number"]).on_distance(step_m=50, frame="arrow")
            method, notes = (found.schema.metadata[name].decode() for name in (b"method", b"notes"))
            methods[f"{key} {row['car_number']}"] = method
            assert method != "none" or "has no distance" in notes
            assert (row["car_number"] == "80") == ("stood still: it has no times" in notes)
            assert (row["lap_number"] == 1) == ("green flag" in notes) or row["car_number"] == "80"
            assert bool(row["is_in_lap"]) == ("through the pits" in notes)
    harbor, mesa = "harbor_street_circuit/R1", "mesa_verde_raceway/R1"
    assert methods[f"{harbor} 13"] == methods[f"{mesa} 22"] == "integrated_speed"
    assert methods[f"{harbor} 7"] == "gps_on_line"
    assert methods[f"{harbor} 80"] == "lap_distance_m"
    assert methods[f"{harbor} 98"] == methods[f"{mesa} 7"] == methods[f"{mesa} 80"] == "none"


def test_a_car_with_gps_only_is_compared_by_it(race: RaceSession) -> None:
    both = race.lap(car="13", number=2).compare(race.lap(car="7", number=3), channels=["gear"])
    assert "gps_on_line" in both.method
    assert both.delta.residual_s < 0.06
    assert np.nanmedian(both.error_s) < 0.2


def test_lap_1_is_compared_from_line_to_line(race: RaceSession) -> None:
    first, second = race.lap(car="13", number=1), race.lap(car="13", number=2)
    both = second.compare(first)
    assert first.time_s is not None
    assert second.time_s is not None
    assert both.delta_s[-1] == pytest.approx(first.time_s - 0.3 - second.time_s, abs=0.002)
    assert any("green flag" in note for note in both.notes)
    assert both.delta.residual_s < 0.01


def _facts_of_track(drawn: dict[str, Any]) -> dict[str, Any]:
    """Return what a map says about the track, by the way that its readers go."""
    facts: dict[str, Any] = drawn["features"][0]["properties"]
    assert facts["kind"] == "track"
    return facts


def test_the_map_of_a_track_is_geojson_and_without_gps_says_why(race: RaceSession) -> None:
    drawn = json.loads(json.dumps(race.track_map()))
    kinds = [feature["properties"]["kind"] for feature in drawn["features"]]
    assert kinds[:2] == ["track", "start_finish"]
    assert kinds.count("sector") == 2
    facts = drawn["features"][0]["properties"]
    assert facts["line_length_m"] == pytest.approx(facts["length_m"], rel=0.03)
    mesa = race.catalog.session("mesa_verde_raceway", "R1").track_map()
    assert "GPS" in _facts_of_track(mesa)["reason"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("silent", "no car of harbor_street_circuit/R1 has a lap with GPS"), ("still", "the GPS stood still")],
)
def test_the_only_car_with_gps_is_found_wherever_it_is_in_the_grid(tmp_path: Path, fault: str, reason: str) -> None:
    cars = [str(number) for number in range(11, 31)]
    one = _publish_alone(tmp_path / "one", cars, dict.fromkeys(cars[:-1], fault))
    assert _facts_of_track(one.track_map())["laps"] == 2
    none = _publish_alone(tmp_path / "none", cars, dict.fromkeys(cars, fault))
    assert reason in _facts_of_track(none.track_map())["reason"]


def _publish_alone(folder: Path, cars: list[str], receivers: dict[str, str]) -> RaceSession:
    folder.mkdir()
    publish_session(LocalStore(folder, DigestCache()), HARBOR_1, cars, receivers)
    return open_catalog(folder).session(*HARBOR_1)


def test_the_cars_behind_the_first_with_gps_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    race = _publish_alone(tmp_path / "lake", [str(number) for number in range(11, 31)], {})
    read: list[str | None] = []
    read_telemetry = TelemetryReader.read

    def record(reader: TelemetryReader, key: SessionKey, wanted: Selection) -> pa.Table:
        read.append(wanted.vehicle_id)
        return read_telemetry(reader, key, wanted)

    monkeypatch.setattr(TelemetryReader, "read", record)
    assert _facts_of_track(race.track_map())["laps"] == 8
    assert set(read) == {f"GR86-0{number}-{number}" for number in range(11, 17)}


def test_the_users_own_lengths_are_used(driven_lake: Path, tmp_path: Path, race: RaceSession) -> None:
    own = tmp_path / "lengths.yaml"
    own.write_text("tracks: [{slug: harbor_street_circuit, length_m: 3655, evidence: my own wheel}]\n")
    settings = load_settings(track_lengths_file=own)
    mine = open_catalog(driven_lake, settings).session("harbor_street_circuit", "R1")
    assert _facts_of_track(mine.track_map())["length_evidence"] == "my own wheel"
    assert mine.lap(car="13", number=2).on_distance()["distance_m"].iloc[-1] == 3655
    other_layout = own.with_name("other.yaml")
    other_layout.write_text("tracks: [{slug: harbor_street_circuit, length_m: 5000, evidence: long one}]\n")
    longer = open_catalog(driven_lake, load_settings(track_lengths_file=other_layout)).session(
        "harbor_street_circuit", "R1"
    )
    assert "another layout" in _facts_of_track(longer.track_map())["length_evidence"]
    with pytest.raises(ConfigurationError, match=r"missing\.yaml"):
        open_catalog(driven_lake, load_settings(track_lengths_file=tmp_path / "missing.yaml")).session(
            *race.key
        ).track_map()


def test_a_lap_without_a_length_of_its_track_is_refused(driven_lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = open_catalog(driven_lake)
    geometry = catalog.lap_distances.geometry
    monkeypatch.setattr(geometry, "_official_length", lambda key: None)  # noqa: ARG005
    length = geometry.length(catalog.find_session("harbor_street_circuit", "R1"))
    assert "speed of" in length.evidence
    assert length.length_m == pytest.approx(LENGTH_M, rel=0.01)
    monkeypatch.setattr(geometry, "_driven_length", lambda key: None)  # noqa: ARG005
    with pytest.raises(ObjectMissingError, match="APEX_TRACK_LENGTHS_FILE"):
        geometry.length(catalog.find_session("harbor_street_circuit", "R2"))


def test_samples_are_those_between_the_lines(laps: tuple[Lap, Lap]) -> None:
    samples = laps[0].samples()
    assert samples.duration_s == pytest.approx(laps[0].time_s, abs=0.5)
    assert len(samples.points) == 5
    assert samples.label.endswith(f"lap {laps[0].number}")
    assert np.isfinite(samples.readings("speed_kph")[1]).all()


def test_laps_without_telemetry_or_a_begin_say_so(driven_lake: Path, tmp_path: Path) -> None:
    catalog = open_catalog(driven_lake)
    distances = catalog.lap_distances
    with pytest.raises(ObjectMissingError, match="length of harbor_street_circuit is not known"):
        distances.samples((BARE, "GR86-013-13", 2))
    own = tmp_path / "lengths.yaml"
    own.write_text("tracks: [{slug: harbor_street_circuit, length_m: 3650, evidence: my own wheel}]\n")
    distances = open_catalog(driven_lake, load_settings(track_lengths_file=own)).lap_distances
    lap = distances.on_distance((BARE, "GR86-013-13", 2), 10.0, None)
    assert lap.method == "none"
    assert any("no telemetry" in note for note in lap.notes)
    with pytest.raises(ConfigurationError, match="cannot be located"):
        distances.samples((BARE, "GR86-013-13", 3))
    with pytest.raises(ConfigurationError, match="has no lap 9"):
        distances.samples((BARE, "GR86-013-13", 9))
    # The map is that of another session of the track.
    drawn = distances.geometry.map(BARE)
    assert drawn.line is not None
    assert len(drawn.geojson()["features"]) == 4  # type: ignore[arg-type]
