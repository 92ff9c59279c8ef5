"""`apex compare`: two laps named on the command line."""

import csv
import io
import json
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.distance.driven_lake import publish_lake
from apex_pipeline_tests.distance.simulated import add_race

_LAPS = ("harbor_street_circuit/R1/13", "harbor_street_circuit/R2/22/best")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_lake(tmp_path_factory.mktemp("driven"))


@pytest.fixture(autouse=True)
def read_lake(monkeypatch: pytest.MonkeyPatch, lake: Path) -> None:
    monkeypatch.setenv("APEX_LAKE_DIR", str(lake))
    monkeypatch.setenv("COLUMNS", "80")


def test_a_screen_shows_the_delta_along_the_lap_and_how_sure_it_is(apex: Apex) -> None:
    shown = apex("compare", *_LAPS)
    assert shown.code == 0
    assert "behind harbor_street_circuit/R1 car 13 lap" in " ".join(shown.out.split())
    assert "delta_s" in shown.out
    assert "Distance by integrated_speed." in shown.out
    first_cells = [line.split()[0] for line in shown.out.splitlines() if line.strip()]
    assert {"0", "100", "3600", "3650"} <= set(first_cells)
    assert all(len(line) <= 80 for line in shown.out.splitlines())


def test_a_program_gets_every_row(apex: Apex) -> None:
    rows = list(csv.DictReader(io.StringIO(apex("compare", *_LAPS, "--step", "2", "--csv").out)))
    assert len(rows) > 1_800
    assert set(rows[0]) == {"distance_m", "delta_s", "error_s", "a_speed_kph", "b_speed_kph"}
    as_json = json.loads(apex("compare", *_LAPS, "--channel", "gear", "--json").out)
    assert set(as_json[0]) == {"distance_m", "delta_s", "error_s", "a_gear", "b_gear"}
    assert as_json[0]["delta_s"] == 0


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        ("harbor_street_circuit/R1", "harbor_street_circuit/R1/13", "does not name a lap"),
        ("harbor_street_circuit/R1/13/1/2", "harbor_street_circuit/R1/13", "does not name a lap"),
        ("harbor_street_circuit//13", "harbor_street_circuit/R1/13", "does not name a lap"),
        ("harbor_street_circuit/R1/13/x", "harbor_street_circuit/R1/13", "not the number of a lap"),
        ("harbor_street_circuit/R1/13/999", "harbor_street_circuit/R1/13", "no lap 999"),
        ("harbor_street_circuit/R1/1234", "harbor_street_circuit/R1/13", "1234"),
        ("harbor_street_circuit/R1/13", "mesa_verde_raceway/R1/13", "different tracks"),
    ],
)
def test_what_names_no_pair_of_laps_is_refused(apex: Apex, first: str, second: str, named: str) -> None:
    refused = apex("compare", first, second)
    assert refused.code == 2
    assert named in refused.error


def test_a_lap_with_a_frozen_clock_has_no_delta_and_says_so(apex: Apex) -> None:
    shown = apex("compare", "harbor_street_circuit/R1/13", "harbor_street_circuit/R1/80")
    assert shown.code == 0
    assert "There is no delta." in shown.out
    assert "stood still" in shown.out


def test_a_real_lap_is_compared_with_one_of_a_simulator(apex: Apex, lake: Path) -> None:
    race = "0198f0a0-0000-7000-8000-000000000001"
    add_race(lake, race)
    shown = apex("compare", _LAPS[0], f"race/{race}/1")
    assert shown.code == 0, shown.error
    assert "Distance by integrated_speed / lap_distance_m." in " ".join(shown.out.split())
    assert "is simulated" in " ".join(shown.out.split())
    rows = list(csv.DictReader(io.StringIO(apex("compare", _LAPS[0], f"race/{race}", "--csv").out)))
    assert float(rows[1]["b_speed_kph"]) > 100
    refused = apex("compare", f"race/{race}/1", _LAPS[0])
    assert refused.code == 2
    assert "Name it second" in refused.error
    assert "not the number of a lap" in apex("compare", _LAPS[0], f"race/{race}/x").error
    assert "race" in apex("compare", _LAPS[0], "race/x/1").error
