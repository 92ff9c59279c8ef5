"""Draws the fastest lap that has telemetry: its speed over the lap, and where it was driven.

Only the rows of that lap are kept in memory: the file may be larger.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import cos, isfinite, radians
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from apex_pipeline.amounts import lap_time
from apex_pipeline.reports.svg import Drawing, Point, Scale

_WIDTH, _HEIGHT = 640, 240
_TOP, _LEFT, _BOTTOM = 46, 48, 28
_MAP_SIZE, _MARGIN = 360, 44
# Fewer samples than this are not a lap, and more than one per pixel cannot be seen.
_FEWEST, _MOST = 20, 600
# The fastest laps may lie where the car sent nothing; this many are looked at before giving up.
_MOST_TRIES = 5
_BATCH_ROWS = 65_536
_COLUMNS = ("sample_time_utc", "lap_distance_m", "speed_kph", "latitude_deg", "longitude_deg")
# A track of 25 km is within 0.25 degrees; positions further apart are not all of one.
_LARGEST_TRACK_DEG = 0.5
_Sample = TypeVar("_Sample")

# Strokes of the slowest, the middle and the fastest third of the speeds.
_SPEED_STROKES = ("accent", "muted", "main")


@dataclass(frozen=True)
class LapSamples:
    """The telemetry of one lap, one entry per sample; what the car did not send is ``None``.

    Attributes:
        title: Which lap: car, lap number and time.
        seconds: Time since the first sample, in seconds.
        lap_distance_m: Distance from start/finish, in metres.
        speed_kph: Speed, in km/h.
        longitude_deg: Longitude, in degrees.
        latitude_deg: Latitude, in degrees.
    """

    title: str
    seconds: list[float | None]
    lap_distance_m: list[float | None]
    speed_kph: list[float | None]
    longitude_deg: list[float | None]
    latitude_deg: list[float | None]

    @property
    def positions(self) -> list[tuple[float, float, float | None]]:
        """Longitude and latitude where both are known, with the speed there."""
        samples = zip(self.longitude_deg, self.latitude_deg, self.speed_kph, strict=True)
        return [(x, y, speed) for x, y, speed in samples if x is not None and y is not None]


def fastest_lap_samples(telemetry: Path, laps: pa.Table) -> LapSamples | None:
    """Return the fastest valid lap that has telemetry with speed or position; ``None`` without any.

    Args:
        telemetry: A Parquet file of the table ``telemetry``.
        laps: Rows of the table ``laps``.
    """
    with pq.ParquetFile(telemetry) as file:
        groups = _groups_by_vehicle(file)
        for lap in _fastest_laps(laps, groups):
            samples = _samples_of(lap, _rows_of(file, groups[lap["vehicle_id"]], lap))
            if samples is not None:
                return samples
    return None


def _groups_by_vehicle(file: pq.ParquetFile) -> dict[str, list[int]]:
    """Return the row groups that may have rows of a vehicle; telemetry has groups of one vehicle each."""
    index = file.schema_arrow.names.index("vehicle_id")
    groups: dict[str, list[int]] = {}
    for group in range(file.num_row_groups):
        statistics = file.metadata.row_group(group).column(index).statistics
        if statistics is not None and statistics.has_min_max:
            for vehicle in {str(statistics.min), str(statistics.max)}:
                groups.setdefault(vehicle, []).append(group)
    return groups


def _fastest_laps(laps: pa.Table, vehicles: Iterable[str]) -> list[dict[str, Any]]:
    """Return the fastest valid laps of some vehicles, the fastest first."""
    recorded = pc.is_in(laps["vehicle_id"].cast(pa.string()), value_set=pa.array(list(vehicles), pa.string()))
    usable = laps.filter(pc.and_(recorded, pc.and_(laps["is_valid"], pc.is_valid(laps["lap_time_s"]))))
    columns = ["vehicle_id", "car_number", "lap_number", "lap_time_s"]
    return usable.select(columns).sort_by("lap_time_s").slice(0, _MOST_TRIES).to_pylist()


def _rows_of(file: pq.ParquetFile, groups: list[int], lap: dict[str, Any]) -> pa.Table:
    columns = ["vehicle_id", "lap_number", *_COLUMNS]
    batches = file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=columns)
    found = [_of_lap(pa.Table.from_batches([batch]), lap) for batch in batches]
    return pa.concat_tables(found).sort_by("sample_time_utc")


def _of_lap(rows: pa.Table, lap: dict[str, Any]) -> pa.Table:
    is_car = pc.equal(rows["vehicle_id"].cast(pa.string()), lap["vehicle_id"])
    return rows.filter(pc.and_(is_car, pc.equal(rows["lap_number"], lap["lap_number"]))).select(list(_COLUMNS))


def _samples_of(lap: dict[str, Any], rows: pa.Table) -> LapSamples | None:
    times = rows["sample_time_utc"].cast(pa.int64()).to_pylist()
    channels = {name: _finite(rows[name]) for name in _COLUMNS[1:]}
    name = f"#{lap['car_number']}" if lap["car_number"] else lap["vehicle_id"]
    samples = LapSamples(
        title=f"car {name}, lap {lap['lap_number']}, {lap_time(lap['lap_time_s'])}",
        seconds=[(time - times[0]) / 1000 for time in times],
        **channels,
    )
    speeds = sum(speed is not None for speed in samples.speed_kph)
    return samples if max(speeds, len(samples.positions)) >= _FEWEST else None


def _finite(column: pa.ChunkedArray) -> list[float | None]:
    return [value if value is not None and isfinite(value) else None for value in column.to_pylist()]


def draw_speed_trace(samples: LapSamples) -> str | None:
    """Return the speed over the lap as a Markdown image; ``None`` if there is too little of it."""
    by_distance = _pairs(samples.lap_distance_m, samples.speed_kph)
    points = by_distance if len(by_distance) >= _FEWEST else _pairs(samples.seconds, samples.speed_kph)
    if len(points) < _FEWEST:
        return None
    unit = "m" if points is by_distance else "s"
    drawing = Drawing(_WIDTH, _HEIGHT, f"Speed: {samples.title}")
    across = Scale(points[0][0], points[-1][0], _LEFT, _WIDTH - 20)
    up = Scale(0, max(speed for _, speed in points) * 1.05, _HEIGHT - _BOTTOM, _TOP)
    for value in up.ticks(5):
        drawing.line((_LEFT, up(value)), (_WIDTH - 20, up(value)))
        drawing.text(_LEFT - 6, up(value) + 4, f"{value:.0f}", fill="muted", anchor="end")
    for value in across.ticks(8):
        drawing.text(across(value), _HEIGHT - 10, f"{value:.0f}", fill="muted", anchor="middle")
    drawing.text(_LEFT, _TOP - 6, "km/h", fill="muted", anchor="end")
    drawing.text(_WIDTH - 6, _HEIGHT - 10, unit, fill="muted", anchor="end")
    drawing.path([[(across(x), up(y)) for x, y in _thinned(points)]], width=2)
    return drawing.markdown


def _pairs(across: Iterable[float | None], up: Iterable[float | None]) -> list[Point]:
    """Return the samples that have both values, in the order of the first."""
    return sorted((x, y) for x, y in zip(across, up, strict=True) if x is not None and y is not None)


def draw_track_map(samples: LapSamples) -> str | None:
    """Return where the lap was driven, coloured by speed, as a Markdown image; ``None`` without GPS."""
    positions = _thinned(samples.positions)
    if len(positions) < _FEWEST:
        return None
    west, east = min(x for x, _, _ in positions), max(x for x, _, _ in positions)
    south, north = min(y for _, y, _ in positions), max(y for _, y, _ in positions)
    # A degree of longitude is shorter than one of latitude, by the cosine of the latitude.
    shrink = cos(radians((south + north) / 2))
    span = max((east - west) * shrink, north - south)
    if not 0 < span <= _LARGEST_TRACK_DEG:
        return None
    pixels = (_MAP_SIZE - 2 * _MARGIN) / span
    drawing = Drawing(_MAP_SIZE, _MAP_SIZE + 20, f"Track map: {samples.title}")
    path = [
        (_MARGIN + (x - west) * shrink * pixels, _MARGIN + (north - y) * pixels, speed) for x, y, speed in positions
    ]
    for stroke, lines in _by_speed(path).items():
        drawing.path(lines, stroke=stroke, width=4)
    drawing.path([[path[0][:2]]], stroke="good", width=10)
    drawing.text(14, _MAP_SIZE + 8, "green: start; blue: the fastest third; orange: the slowest", fill="muted")
    return drawing.markdown


def _by_speed(path: list[tuple[float, float, float | None]]) -> dict[str, list[list[Point]]]:
    """Return the lines of the path by the stroke of their speed; without speeds all of it in one colour."""
    speeds = sorted(speed for _, _, speed in path if speed is not None)
    limits = (speeds[len(speeds) // 3], speeds[2 * len(speeds) // 3]) if speeds else (0.0, 0.0)
    lines: dict[str, list[list[Point]]] = {}
    last = ""
    for (x, y, speed), (next_x, next_y, _) in pairwise(path):
        third = sum(speed >= limit for limit in limits) if speed is not None else 1
        stroke = _SPEED_STROKES[third]
        if stroke != last:
            lines.setdefault(stroke, []).append([(x, y)])
        lines[stroke][-1].append((next_x, next_y))
        last = stroke
    return lines


def _thinned(samples: list[_Sample]) -> list[_Sample]:
    """Return every nth sample, so that at most one is drawn per pixel."""
    step = -(-len(samples) // _MOST) or 1
    return samples[::step]
