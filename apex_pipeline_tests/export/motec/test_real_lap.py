"""A real lap as a log: names, units, rates and values are those of the lake, the beacons lie on the line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from apex_pipeline import RaceSession, open_catalog
from apex_pipeline.cli import main
from apex_pipeline_tests.export.motec.ld_reader import read_beacons, read_ld
from apex_pipeline_tests.lake.derived import open_lake, publish_folder

# Of the real car: speed, rpm and distance every 0.216 s, the others every 0.043 s.
_RATES = {"speed_kph": 5, "engine_rpm": 5, "lap_distance_m": 5}
_UNITS = {
    "speed_kph": "km/h",
    "engine_rpm": "rpm",
    "gear": "",
    "accelerator_pedal_pct": "%",
    "brake_front_bar": "bar",
    "brake_rear_bar": "bar",
    "accel_long_g": "G",
    "accel_lat_g": "G",
    "steering_deg": "deg",
    "latitude_deg": "deg",
    "longitude_deg": "deg",
    "lap_distance_m": "m",
    "held_channels": "",
}


@pytest.fixture(scope="module")
def race(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> RaceSession:
    folder = tmp_path_factory.mktemp("real")
    for part in ("grcup", "grcup_rebuilt"):
        for path in (real_data / part / "barber").glob("*"):
            if path.is_file() and "R2" not in path.name and "Race 2" not in path.name:
                target = folder / "files" / "barber" / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    publish_folder(open_lake(folder / "lake"), folder / "files", folder / "scratch", is_complete=True)
    return open_catalog(folder / "lake").session("barber", "R1")


@pytest.mark.slow
def test_a_real_lap_is_in_its_log(
    race: RaceSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "lap.ld"
    words = ["motec", "barber", "r1", "--car", "13", "--lap", "9", "--out", str(target), "--json"]
    monkeypatch.setattr("sys.argv", ["apex", *words, "--lake", race.catalog.uri])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    told = json.loads(capsys.readouterr().out)

    lap = race.lap(car="13", number=9)
    assert lap.line_start_utc is not None
    assert lap.line_end_utc is not None
    read = read_ld(target)
    assert {name: channel.unit for name, channel in read.channels.items()} == _UNITS
    assert {name: channel.rate_hz for name, channel in read.channels.items()} == {
        name: _RATES.get(name, 50) for name in _UNITS
    }
    assert {channel.rate_hz for channel in read.channels.values()} == set(told["channels"].values())
    begin = lap.line_start_utc - pd.Timedelta(seconds=1)
    end = lap.line_end_utc + pd.Timedelta(seconds=1)
    rows = race.catalog.telemetry("barber", "R1", vehicle_id=lap.vehicle_id, start_utc=begin, end_utc=end)
    at_s = (rows["sample_time_utc"] - begin).dt.total_seconds().to_numpy()
    for name in _UNITS.keys() - {"held_channels"}:
        _require_equal(name, at_s, rows[name], read.channels[name].values, read.channels[name].rate_hz)

    (first, _), (last, name) = read_beacons(target.with_suffix(".ldx"))
    assert name == f"Lap {lap.number} ends"
    assert first == pytest.approx(1.0, abs=1 / 50)
    assert last - first == pytest.approx((lap.line_end_utc - lap.line_start_utc).total_seconds(), abs=1e-6)
    assert lap.time_s is not None
    assert last - first == pytest.approx(lap.time_s, abs=0.1)


def _require_equal(name: str, at_s: "np.ndarray", column: "pd.Series", read: "np.ndarray", rate_hz: int) -> None:
    """Compare a channel with the rows of the lake: where a tick has a reading, and between two that are near."""
    sent = pd.Series(column.to_numpy(dtype=np.float64), index=at_s).dropna()
    sent = sent[~sent.index.duplicated(keep="last")]
    times, values = sent.index.to_numpy(dtype=np.float64), sent.to_numpy()
    ticks = np.arange(len(read)) / rate_hz
    after = np.searchsorted(times, ticks - 1e-9)
    inside = (after > 0) & (after < len(times))
    near = np.zeros(len(ticks), dtype=bool)
    near[inside] = times[after[inside]] - times[after[inside] - 1] < 0.45
    assert near.mean() > 0.9
    if name == "gear":
        expected = values[np.searchsorted(times, ticks[near] + 1e-9) - 1]
    else:
        expected = np.interp(ticks[near], times, values)
    assert read[near].astype(np.float32) == pytest.approx(expected.astype(np.float32), rel=3e-7, abs=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--car", "13", "--lap", "8"], "GR86-022-13, lap 8: nothing was sent in barber_motorsports_park/R1."),
        (["--car", "22"], "GR86-010-16 sent no telemetry in barber_motorsports_park/R1."),
        (["--car", "22", "--lap", "best"], "GR86-010-16 has no valid lap with telemetry."),
    ],
)
def test_a_lap_of_which_only_the_margin_or_nothing_was_sent_is_refused(
    race: RaceSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    problem: str,
) -> None:
    target = str(tmp_path / "lap.ld")
    monkeypatch.setattr(
        "sys.argv", ["apex", "motec", "barber", "r1", *words, "--out", target, "--lake", race.catalog.uri]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert problem in told
    assert "Next step: " in told
    assert [*tmp_path.glob("*lap*")] == []
