"""What a catalog, a session and a lap say about themselves at a prompt and in a notebook."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from apex_pipeline import Catalog, Lap, RaceSession, open_catalog
from apex_pipeline.storage.layout import object_key

_LINES = 5


@pytest.fixture(scope="module")
def catalog(lake: Path) -> Catalog:
    return open_catalog(lake)


@pytest.fixture(scope="module")
def race(catalog: Catalog) -> RaceSession:
    return catalog.session("harbor", "R1")


def test_a_catalog_says_what_it_has(catalog: Catalog) -> None:
    lines = repr(catalog).splitlines()
    assert len(lines) == _LINES
    assert lines[2].startswith("  4 sessions of 2 tracks, ")
    assert lines[3] == "  tracks: harbor_street_circuit, mesa_verde_raceway"


def test_a_session_says_what_it_has(race: RaceSession) -> None:
    lines = repr(race).splitlines()
    assert len(lines) == _LINES
    assert lines[0].startswith("<RaceSession harbor_street_circuit/R1 of ")
    best = race.best_lap()
    assert lines[1].startswith(f"  {race.laps()['vehicle_id'].nunique()} cars, {len(race.laps())} laps, ")
    assert lines[1].endswith(f" by car {best.car_number}")
    assert lines[4].startswith("  note: ")


def test_a_lap_says_how_sure_it_is(race: RaceSession) -> None:
    lap = race.best_lap(car="13")
    lines = repr(lap).splitlines()
    assert len(lines) == _LINES
    assert lines[0] == f"<Lap {lap.number} of car 13 ({lap.vehicle_id}) in harbor_street_circuit/R1>"
    assert lines[2] == "  valid"
    assert lines[4] == "  telemetry: there is some"


def test_a_lap_of_which_nothing_is_known_says_so(race: RaceSession) -> None:
    lap = replace(
        race.best_lap(), car_number=None, time_s=None, method=None, confidence=None, flags=("a", "b"), is_valid=False
    )
    unknown = replace(lap, line_start_utc=None, line_end_utc=None, line_method=None, number=999)
    assert repr(unknown).splitlines()[1:] == [
        "  time not known (no method)",
        "  doubtful; a, b",
        "  line: ? to ? (not known)",
        f"  telemetry: Lap 999 of {lap.vehicle_id} has no UTC start or end, so its samples cannot be located.",
    ]
    assert "number undecided" in repr(unknown)


def test_a_notebook_shows_text_and_nothing_else(catalog: Catalog, race: RaceSession) -> None:
    lap: Lap = replace(race.best_lap(), vehicle_id="<script>alert(1)</script>")
    html = lap._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert html.count("<br>") == _LINES - 1
    for one in (catalog, race):
        assert one._repr_html_().count("<br>") == _LINES - 1


def test_what_cannot_be_read_is_said_and_not_raised(lake: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(lake, tmp_path / "lake")
    catalog = open_catalog(copy)
    race = catalog.session("harbor", "R1")
    record = catalog.snapshot.session(race.key)
    assert record is not None
    (copy / object_key(record.tables["laps"].sha256)).unlink()
    (copy / record.tables["laps"].key).unlink()
    assert "cannot be read: " in repr(race).splitlines()[1]
    assert len(catalog.session("harbor", "R2").laps()) > 0
