"""`apex motec`: a lap, a stint or a session of a car as a log for MoTeC i2."""

import json
from pathlib import Path

import numpy as np
import pytest

from apex_pipeline import open_catalog
from apex_pipeline_tests.catalog.race_lake import CAR, SESSION, TRACK, local_store, publish_race
from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.export.motec.ld_reader import read_beacons, read_ld


@pytest.fixture(autouse=True)
def lake_of_the_demo(monkeypatch: pytest.MonkeyPatch, synced: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("APEX_LAKE_DIR", str(synced / "lake"))
    monkeypatch.chdir(tmp_path)


def test_the_best_lap_has_a_beacon_at_both_ends(apex: Apex, synced: Path) -> None:
    shown = apex("motec", "harbor", "r1", "--car", "13", "--lap", "best", "--out", "lap.ld")
    assert (shown.code, shown.error) == (0, "")
    lap = open_catalog(str(synced / "lake")).session("harbor", "r1").best_lap(car="13")
    assert shown.out.startswith(f"GR86-022-13, lap {lap.number}: ")
    assert "speed_kph: 1 Hz, " in shown.out
    assert "Without any reading, so not in the log: throttle_blade_pct." in shown.out
    (begin, _), (end, name) = read_beacons(Path("lap.ldx"))
    assert (begin, name) == (1.0, f"Lap {lap.number} ends")
    assert lap.time_s is not None
    assert end - begin == pytest.approx(lap.time_s, abs=0.5)
    read = read_ld(Path("lap.ld"))
    assert (read.venue, read.session, read.vehicle) == ("harbor_street_circuit", "R1", "GR86-022-13")
    assert read.comment == f"GR86-022-13, lap {lap.number}. Times are UTC."


def test_a_stint_has_a_beacon_for_each_of_its_laps(apex: Apex) -> None:
    told = json.loads(apex("motec", "harbor", "r1", "--car", "#13", "--lap", "3-5", "--out", "s.ld", "--json").out)
    assert [beacon["name"] for beacon in told["beacons"]] == ["Lap 3 begins", *(f"Lap {lap} ends" for lap in (3, 4, 5))]
    assert read_beacons(Path("s.ldx")) == [(beacon["at_s"], beacon["name"]) for beacon in told["beacons"]]
    assert {name: channel.rate_hz for name, channel in read_ld(Path("s.ld")).channels.items()} == told["channels"]


def test_a_session_is_the_default(apex: Apex) -> None:
    shown = apex("motec", "harbor", "r1", "--car", "13", "--out", "race.ld")
    assert shown.out.startswith("GR86-022-13, all laps: ")
    assert len(read_beacons(Path("race.ldx"))) == 5


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("harbor", "r1", "--car", "13", "--lap", "99"), 2, "Its laps are: 1 to 8."),
        (("harbor", "r1", "--car", "13", "--lap", "3-99"), 2, "no lap 99"),
        (("harbor", "r1", "--car", "13", "--lap", "5-3"), 2, "Write 3-5."),
        (("harbor", "r1", "--car", "13", "--lap", "fast"), 2, "Write 5 for a lap, 5-12 for a stint, or best."),
        (("harbor", "r1", "--car", "99"), 2, "99"),
        (("harbor", "r9", "--car", "13"), 2, "r9"),
    ],
)
def test_what_cannot_be_written_is_an_error_with_the_next_step(
    apex: Apex, words: tuple[str, ...], code: int, named: str
) -> None:
    refused = apex("motec", *words, "--out", "log.ld")
    assert (refused.code, refused.out) == (code, "")
    assert named in refused.error
    assert "Next step: " in refused.error
    assert [*Path().glob("*log*")] == []


@pytest.mark.parametrize("lap", ["99", "1-99"])
def test_laps_whose_begin_or_end_is_not_known_are_refused(
    apex: Apex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lap: str
) -> None:
    race = publish_race(local_store(tmp_path / "race"), 1_200)
    monkeypatch.setenv("APEX_LAKE_DIR", race.store.uri)
    words = (TRACK, SESSION, "--car", CAR, "--lap", lap)
    refused = apex("motec", *words, "--out", "log.ld")
    assert refused.code == 2
    assert f"The begin or the end of {CAR}, lap" in refused.error
    assert "is not known." in refused.error


def test_a_lap_sent_every_43_ms_has_its_values_at_50_hz(
    apex: Apex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = publish_race(local_store(tmp_path / "race"), 1_200)
    monkeypatch.setenv("APEX_LAKE_DIR", race.store.uri)
    assert apex("motec", TRACK, SESSION, "--car", CAR, "--lap", "1", "--out", "log.ld").code == 0
    read = read_ld(Path("log.ld"))
    assert {name: channel.rate_hz for name, channel in read.channels.items()} == {
        name: 5 if name == "speed_kph" else 50 for name in read.channels
    }
    assert read_beacons(Path("log.ldx")) == [(1.0, "Lap 1 begins"), (41.0, "Lap 1 ends")]
    # The log begins a second before the line, 4 s after the first sample.
    rows = race.catalog.telemetry(TRACK, SESSION, vehicle_id=CAR)
    at_s = (rows["sample_time_utc"] - rows["sample_time_utc"].iloc[0]).dt.total_seconds().to_numpy() - 4
    brake = read.channels["brake_front_bar"].values
    expected = np.interp(np.arange(len(brake)) / 50, at_s, rows["brake_front_bar"].to_numpy())
    assert len(brake) == 2_101
    assert brake.astype(np.float32) == pytest.approx(expected.astype(np.float32), rel=3e-7, abs=1e-6)
