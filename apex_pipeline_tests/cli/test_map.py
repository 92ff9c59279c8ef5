"""`apex map`: the map of a track on the screen and as GeoJSON."""

import json
from pathlib import Path

import pytest

from apex_pipeline import RaceSession
from apex_pipeline.distance import TrackLength, track_map
from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.distance.driving import LENGTH_M, PLACE, Faults, drive


@pytest.fixture(autouse=True)
def lake_of_the_demo(monkeypatch: pytest.MonkeyPatch, synced: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("APEX_LAKE_DIR", str(synced / "lake"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def with_gps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the harbor circuit a map: the telemetry of the small demo is too thin for one."""
    lap = drive(faults=Faults(held_gps=True)).samples
    drawn = track_map([lap, lap], TrackLength(LENGTH_M, "measured", *PLACE), [{"S1": 30.0, "S2": 60.0}] * 2).geojson()
    without = RaceSession.track_map
    monkeypatch.setattr(
        RaceSession, "track_map", lambda race: drawn if race.key == ("harbor_street_circuit", "R2") else without(race)
    )


@pytest.mark.usefixtures("with_gps")
def test_a_track_is_shown_with_its_length_the_evidence_and_its_sectors(apex: Apex) -> None:
    shown = apex("map", "harbor")
    assert (shown.code, shown.error) == (0, "")
    assert shown.out.splitlines()[0] == f"harbor_street_circuit: {LENGTH_M:,.0f} m (measured)"
    assert "start/finish at 0 m" in shown.out
    assert "S1 at " in shown.out


@pytest.mark.usefixtures("with_gps")
def test_a_map_is_written_as_standard_geojson(apex: Apex) -> None:
    shown = apex("map", "harbor", "r2", "--geojson", "harbor.geojson")
    assert (shown.code, shown.error) == (0, "")
    assert "harbor.geojson: " in shown.out
    document = json.loads(Path("harbor.geojson").read_text(encoding="utf-8"))
    # RFC 7946, 7.1: a collection has no properties of its own.
    assert set(document) == {"type", "features"}
    track, *lines = document["features"]
    assert track["geometry"]["type"] == "LineString"
    assert track["geometry"]["coordinates"][0] == track["geometry"]["coordinates"][-1]
    assert all(-180 <= x <= 180 and -90 <= y <= 90 for x, y in track["geometry"]["coordinates"])
    assert track["properties"]["kind"] == "track"
    assert track["properties"]["length_m"] == pytest.approx(LENGTH_M, abs=0.01)
    assert track["properties"]["length_evidence"]
    assert [line["properties"]["name"] for line in lines] == ["start/finish", "S1", "S2"]


def test_a_track_without_gps_has_its_length_and_the_reason(apex: Apex) -> None:
    shown = apex("map", "mesa")
    assert shown.code == 0
    assert "mesa_verde_raceway: 4,120 m" in shown.out
    assert "No map: no car of mesa_verde_raceway/R1 has a lap with GPS." in shown.out
    (track,) = json.loads(apex("map", "mesa", "--json").out)["features"]
    assert track["geometry"] is None
    assert track["properties"] == {
        "kind": "track",
        "length_m": 4120.0,
        "length_evidence": track["properties"]["length_evidence"],
        "reason": "no car of mesa_verde_raceway/R1 has a lap with GPS",
    }


def test_without_a_map_no_file_is_written(apex: Apex) -> None:
    refused = apex("map", "mesa", "r1", "--geojson", "mesa.geojson")
    assert refused.code == 2
    assert "There is no map of mesa_verde_raceway: no car" in refused.error
    assert [*Path().glob("*mesa*")] == []


@pytest.mark.usefixtures("with_gps")
def test_a_file_is_never_replaced(apex: Apex) -> None:
    Path("mine.geojson").write_text("mine")
    assert apex("map", "harbor", "--geojson", "mine.geojson").code == 2
    assert Path("mine.geojson").read_text() == "mine"


def test_an_unknown_track_is_an_error_with_a_suggestion(apex: Apex) -> None:
    refused = apex("map", "harbour")
    assert refused.code == 2
    assert "harbor_street_circuit" in refused.error
