"""Passings of the finish line as telemetry shows them, read from the raw files without converting them.

Here belongs the narrow reading of three channels and the merging of what they show. The arithmetic is in
``lap_distance`` and ``gps_line``. Not here: what a passing means for a lap, and what is wrong with a bad file, which
the conversion tells.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from apex_pipeline.errors import FileChangedError, MalformedFileError
from apex_pipeline.sources.gr_cup.laps.crossings import Source, TelemetryCrossing
from apex_pipeline.sources.gr_cup.telemetry.chunks import TelemetryFile
from apex_pipeline.sources.gr_cup.telemetry.clocks import measure_clock
from apex_pipeline.sources.gr_cup.telemetry.gps_crossings import (
    FinishLine,
    Positions,
    gps_crossings,
    is_at_line,
    learn_line,
    pair_up,
)
from apex_pipeline.sources.gr_cup.telemetry.lap_distance import (
    Distance,
    Numbers,
    distance_crossings,
    in_driven_order,
    lap_length,
)
from apex_pipeline.sources.gr_cup.telemetry.parse import read_file
from apex_pipeline.sources.gr_cup.telemetry.pivot import unique
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock
from apex_pipeline.sources.gr_cup.telemetry.spill import ReadingSpill, join
from apex_pipeline.sources.workspace import Workspace, scratch_folder

_DISTANCE, _LATITUDE, _LONGITUDE = "laptrigger_lapdist_dls", "vbox_lat_min", "vbox_long_minutes"

# Distance and position of one passing lie within a second of each other; two passings are a lap apart.
_SAME_CROSSING_MS = 5_000


@dataclass(frozen=True)
class _CarSignals:
    """One car's samples, in its own clock, or in receive time where that stood still."""

    clock: CarClock
    file: str
    distance: Distance
    positions: Positions


def find_telemetry_crossings(files: Sequence[TelemetryFile], workspace: Workspace) -> list[TelemetryCrossing]:
    """Find the passings of the finish line in a session's telemetry.

    Args:
        files: Its telemetry files, raw. One that cannot be read shows nothing; the conversion says why.
        workspace: Memory and scratch; the samples of three channels are held there.

    Returns:
        Passings by car and time; none where the cars send neither lap distance nor position. A passing within a hole
        of the data is not among them.

    Raises:
        StoreFullError: Memory and the disk of the scratch folder do not suffice.
    """
    found_in: dict[str, str] = {}
    with scratch_folder(workspace) as folder, ReadingSpill(folder) as readings:
        for file in files:
            _read(file, readings)
            for car in readings.cars:
                found_in.setdefault(car, file.identity.path)
        cars = [_car(readings, car, found_in[car]) for car in readings.cars]
    length_m = lap_length(car.distance for car in cars)
    line = learn_line((car.distance, car.positions) for car in cars)
    return [passing for car in cars for passing in _crossings(car, length_m, line)]


def _read(file: TelemetryFile, readings: ReadingSpill) -> None:
    mark = readings.mark()
    try:
        read_file(file, readings, only_channels=(_DISTANCE, _LATITUDE, _LONGITUDE))
    except (MalformedFileError, FileChangedError):
        readings.rewind(mark)


def _car(readings: ReadingSpill, car: str, file: str) -> _CarSignals:
    clock = measure_clock(car, readings.blocks_of(car))
    frames = join(list(readings.blocks_of(car)))
    time_ms = np.repeat(frames.received_ms if clock.is_frozen else frames.car_ms, frames.readings).astype(np.float64)
    names = np.array([name.lower() for name in readings.channels])[frames.channel]

    def samples(channel: str) -> tuple[Numbers, Numbers]:
        """Return times and values, each pair once."""
        is_wanted = names == channel
        pairs = np.unique(np.stack([time_ms[is_wanted], frames.value[is_wanted]]), axis=1)
        return pairs[0], pairs[1]

    return _CarSignals(
        clock=clock,
        file=file,
        distance=in_driven_order(*samples(_DISTANCE)),
        positions=pair_up(*(_mean_by_time(*samples(name)) for name in (_LATITUDE, _LONGITUDE))),
    )


def _mean_by_time(time_ms: Numbers, value: Numbers) -> tuple[Numbers, Numbers]:
    """Return each time once; of several values with one time the mean lies where the car was about then."""
    times, place = unique(time_ms)
    return times, np.bincount(place, weights=value, minlength=len(times)) / np.bincount(place, minlength=len(times))


def _crossings(car: _CarSignals, length_m: float | None, line: FinishLine | None) -> Iterator[TelemetryCrossing]:
    """Yield what a car's distance shows, and where it shows nothing, its position."""
    by_distance = distance_crossings(car.distance, length_m) if length_m else np.empty(0)
    by_position = gps_crossings(car.positions, line) if line else np.empty(0)
    # A distance that began anew elsewhere was reset by hand or by a restart of the unit.
    if line and not car.clock.is_frozen:
        by_distance = by_distance[is_at_line(by_distance, car.positions, line)]
    driven: list[tuple[float, Source]] = [(float(time), "distance") for time in by_distance]
    located: list[tuple[float, Source]] = [(float(t), "gps") for t in by_position if not _is_among(t, by_distance)]
    offset_ms = 0 if car.clock.is_frozen else round(car.clock.offset_s * 1000)
    for time, source in sorted([*driven, *located]):
        own_ms = None if car.clock.is_frozen else time
        yield TelemetryCrossing(car.clock.vehicle_id, round(time) + offset_ms, own_ms, source, car.file)


def _is_among(time: float, others: Numbers) -> bool:
    return bool((np.abs(others - time) < _SAME_CROSSING_MS).any())
