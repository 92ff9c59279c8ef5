"""The pictures of the fastest lap that has telemetry: speed trace and track map."""

from datetime import UTC, datetime, timedelta
from math import cos, pi, sin
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apex_pipeline.reports.svg import MAX_BYTES
from apex_pipeline.reports.telemetry import LapSamples, draw_speed_trace, draw_track_map, fastest_lap_samples
from apex_pipeline.tables import LAPS, TELEMETRY
from apex_pipeline_tests.reports.pictures import Picture

_START = datetime(2025, 9, 6, 18, 40, tzinfo=UTC)


def _samples(vehicle: str, lap: int, count: int = 40, **channels: Any) -> list[dict[str, Any]]:
    """Return samples of one lap, half a second apart, with speed and, unless replaced, distance."""
    return [
        {
            "track": "spa",
            "session": "R1",
            "chassis": "002",
            "vehicle_id": vehicle,
            "lap_number": lap,
            "sample_time_utc": _START + timedelta(minutes=lap, seconds=number / 2),
            "received_time_utc": _START,
            "repeat": 0,
            "speed_kph": 100.0 + number,
            "lap_distance_m": 50.0 * number,
            **channels,
        }
        for number in range(count)
    ]


def _telemetry(path: Path, *cars: list[dict[str, Any]]) -> Path:
    """Write a telemetry file with one row group per car, as the pipeline does."""
    with pq.ParquetWriter(path, TELEMETRY.schema) as writer:
        for rows in cars:
            writer.write_table(TELEMETRY.from_rows(rows))
    return path


def _laps(*rows: tuple[str, int, float | None, bool]) -> pa.Table:
    names = ("vehicle_id", "lap_number", "lap_time_s", "is_valid")
    return LAPS.from_rows([{**dict(zip(names, row, strict=True)), "car_number": row[0][-1]} for row in rows])


def _found(path: Path, laps: pa.Table) -> LapSamples:
    samples = fastest_lap_samples(path, laps)
    assert samples is not None
    return samples


def test_the_fastest_valid_lap_with_telemetry_is_chosen(tmp_path: Path) -> None:
    path = _telemetry(tmp_path / "t.parquet", [*_samples("car2", 1), *_samples("car2", 2)], _samples("car5", 1))
    laps = _laps(("car9", 1, 90.0, True), ("car2", 1, 98.5, True), ("car2", 2, 97.5, True), ("car5", 1, 97.0, False))
    samples = _found(path, laps)
    assert samples.title == "car #2, lap 2, 1:37.500"
    assert samples.seconds[:3] == [0, 0.5, 1]


def test_a_lap_of_which_the_car_sent_nothing_is_passed_over(tmp_path: Path) -> None:
    path = _telemetry(tmp_path / "t.parquet", _samples("car2", 1))
    assert _found(path, _laps(("car2", 7, 90.0, True), ("car2", 1, 98.0, True))).title.startswith("car #2, lap 1")


@pytest.mark.parametrize("laps", [LAPS.empty(), _laps(("car2", 1, None, True)), _laps(("car2", 1, 97.0, False))])
def test_without_a_valid_lap_there_is_nothing(tmp_path: Path, laps: pa.Table) -> None:
    assert fastest_lap_samples(_telemetry(tmp_path / "t.parquet", _samples("car2", 1)), laps) is None


def test_without_samples_there_is_nothing(tmp_path: Path) -> None:
    empty = _telemetry(tmp_path / "t.parquet", [])
    assert fastest_lap_samples(empty, _laps(("car2", 1, 97.0, True))) is None


def test_speed_is_drawn_over_distance_or_else_over_time(tmp_path: Path) -> None:
    laps = _laps(("car2", 1, 97.0, True))
    over_distance = Picture(draw_speed_trace(_found(_telemetry(tmp_path / "a.parquet", _samples("car2", 1)), laps)))
    without = _samples("car2", 1, lap_distance_m=None)
    over_time = Picture(draw_speed_trace(_found(_telemetry(tmp_path / "b.parquet", without), laps)))
    assert "m" in over_distance.texts
    assert "s" in over_time.texts
    assert over_distance.is_within_its_frame
    assert over_time.is_within_its_frame


def _lap_around(count: int, *, speeds: bool = True) -> LapSamples:
    angles = [2 * pi * number / count for number in range(count)]
    return LapSamples(
        "car #2",
        seconds=[float(number) for number in range(count)],
        lap_distance_m=[None] * count,
        speed_kph=[100 + 50 * sin(3 * angle) if speeds else None for angle in angles],
        longitude_deg=[-86.6 + 0.02 * cos(angle) for angle in angles],
        latitude_deg=[33.5 + 0.01 * sin(angle) for angle in angles],
    )


def test_the_track_is_drawn_to_scale_and_coloured_by_speed() -> None:
    picture = Picture(draw_track_map(_lap_around(400)))
    across = [x for x, _ in picture.positions]
    up = [y for _, y in picture.positions]
    # 0.04 degrees of longitude at 33.5 degrees north are 1.67 times as long as 0.02 of latitude.
    assert (max(across) - min(across)) / (max(up) - min(up)) == pytest.approx(1.67, rel=0.02)
    assert len(picture.paths) == 4
    assert picture.is_within_its_frame


def test_a_track_without_speeds_has_one_colour() -> None:
    assert len(Picture(draw_track_map(_lap_around(50, speeds=False))).paths) == 2
    assert draw_speed_trace(_lap_around(50, speeds=False)) is None


def test_positions_that_are_no_track_are_not_drawn() -> None:
    lap = _lap_around(50)
    lost = LapSamples(
        lap.title, lap.seconds, lap.lap_distance_m, lap.speed_kph, [0.0, *lap.longitude_deg[1:]], lap.latitude_deg
    )
    still = LapSamples(lap.title, lap.seconds, lap.lap_distance_m, lap.speed_kph, [1.0] * 50, [2.0] * 50)
    assert draw_track_map(lost) is None
    assert draw_track_map(still) is None
    assert draw_track_map(_lap_around(5)) is None


def test_a_lap_of_100_000_samples_gives_small_pictures() -> None:
    lap = _lap_around(100_000)
    assert Picture(draw_speed_trace(lap)).bytes < MAX_BYTES / 4
    assert Picture(draw_track_map(lap)).bytes < MAX_BYTES / 4
