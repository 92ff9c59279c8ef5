"""Finds telemetry crossings of the finish line in the raw files, without converting them.

Reads the three channels needed and merges the crossings found from them; see ``lap_distance`` and
``gps_crossings`` for the arithmetic. Bad files are skipped here and reported by the conversion.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from apex_pipeline.errors import ApexError, FileChangedError
from apex_pipeline.sources.gr_cup.laps.crossings import Source, TelemetryCrossing
from apex_pipeline.sources.gr_cup.telemetry.chunks import TelemetryFile
from apex_pipeline.sources.gr_cup.telemetry.clocks import measure_clock
from apex_pipeline.sources.gr_cup.telemetry.gps_crossings import (
    FinishLine,
    Positions,
    gps_crossings,
    is_at_line,
    locate_line,
    pair_coordinates,
)
from apex_pipeline.sources.gr_cup.telemetry.lap_distance import (
    Distance,
    Numbers,
    distance_crossings,
    lap_length,
    sort_as_driven,
)
from apex_pipeline.sources.gr_cup.telemetry.parse import read_file
from apex_pipeline.sources.gr_cup.telemetry.pivot import unique
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock
from apex_pipeline.sources.gr_cup.telemetry.spill import ReadingSpill, join
from apex_pipeline.sources.gr_cup.vehicle_spellings import match_spellings
from apex_pipeline.sources.unreadable import is_unreadable
from apex_pipeline.sources.workspace import Workspace, scratch_folder

_DISTANCE, _LATITUDE, _LONGITUDE = "laptrigger_lapdist_dls", "vbox_lat_min", "vbox_long_minutes"

# Measured memory of a reading: in the samples of all cars, and while those of its car are sorted.
_BYTES_PER_READING, _BYTES_PER_READING_OF_ONE_CAR = 14, 80

# Distance and position time the same crossing within a second of each other; two crossings are a lap apart.
_SAME_CROSSING_MS = 5_000


@dataclass(frozen=True)
class _CarSignals:
    """One car's samples, in UTC by its own clock, or in receive time if that clock is frozen."""

    clock: CarClock
    file: str
    distance: Distance
    positions: Positions


def find_telemetry_crossings(
    files: Sequence[TelemetryFile], workspace: Workspace, known: Iterable[str] = ()
) -> list[TelemetryCrossing]:
    """Find the crossings of the finish line in a session's telemetry.

    Args:
        files: Its raw telemetry files. Unreadable files are skipped; the conversion reports the reason.
        workspace: Memory limit and scratch folder, for the samples of three channels.
        known: Vehicle ids of the lap files, as published; other spellings of them are the same cars.

    Returns:
        Crossings by car and time; none if the cars send neither lap distance nor position, or more readings than fit in
        memory (with the default limit, telemetry of 20 GB). A crossing within a gap in the data is not found.

    Raises:
        StorageFullError: The memory or the disk of the scratch folder is full.
    """
    found_in: dict[str, str] = {}
    with scratch_folder(workspace) as folder, ReadingSpill(folder, workspace.limits) as readings:
        for file in files:
            _read(file, readings)
            for car in readings.cars:
                found_in.setdefault(car, file.identity.path)
        spellings = match_spellings({car: readings.size_of(car).readings for car in readings.cars}, known)
        readings.merge_cars(spellings.published)
        found_in = {spellings.published[car]: path for car, path in found_in.items()}
        sizes = [readings.size_of(car).readings for car in readings.cars]
        needed = sum(sizes) * _BYTES_PER_READING + max(sizes, default=0) * _BYTES_PER_READING_OF_ONE_CAR
        if needed > workspace.bytes_for_rows:
            return []
        cars = [_signals_of(readings, car, found_in[car]) for car in readings.cars]
    length_m = lap_length(car.distance for car in cars)
    line = locate_line((car.distance, car.positions) for car in cars)
    return [crossing for car in cars for crossing in _crossings(car, length_m, line)]


def _read(file: TelemetryFile, readings: ReadingSpill) -> None:
    checkpoint = readings.checkpoint()
    try:
        read_file(file, readings, only_channels=(_DISTANCE, _LATITUDE, _LONGITUDE))
    except ApexError as error:
        if not is_unreadable(error) and not isinstance(error, FileChangedError):
            raise
        readings.rewind(checkpoint)


def _signals_of(readings: ReadingSpill, car: str, file: str) -> _CarSignals:
    clock = measure_clock(car, partial(readings.blocks_of, car))
    frames = join(list(readings.blocks_of(car)))
    time_ms = np.repeat(clock.sample_ms(frames.car_ms, frames.received_ms), frames.readings).astype(np.float64)
    names = np.array([name.lower() for name in readings.channels])

    def samples(channel: str) -> tuple[Numbers, Numbers]:
        """Return the distinct pairs of time and value."""
        is_wanted = (names == channel)[frames.channel]
        pairs = np.unique(np.stack([time_ms[is_wanted], frames.value[is_wanted]]), axis=1)
        return pairs[0], pairs[1]

    return _CarSignals(
        clock=clock,
        file=file,
        distance=sort_as_driven(*samples(_DISTANCE)),
        positions=pair_coordinates(*(_mean_by_time(*samples(name)) for name in (_LATITUDE, _LONGITUDE))),
    )


def _mean_by_time(time_ms: Numbers, value: Numbers) -> tuple[Numbers, Numbers]:
    """Return the distinct times with the mean of the values at each, which is close to where the car was."""
    times, index = unique(time_ms)
    return times, np.bincount(index, weights=value, minlength=len(times)) / np.bincount(index, minlength=len(times))


def _crossings(car: _CarSignals, length_m: float | None, line: FinishLine | None) -> Iterator[TelemetryCrossing]:
    """Yield the crossings found by lap distance, and those found only by position."""
    by_distance = distance_crossings(car.distance, length_m) if length_m else np.empty(0)
    by_position = gps_crossings(car.positions, line) if line else np.empty(0)
    # A distance that falls to zero elsewhere was reset by hand or by a restart of the device.
    if line and not car.clock.is_frozen:
        by_distance = by_distance[is_at_line(by_distance, car.positions, line)]
    from_distance: list[tuple[float, Source]] = [(float(time), "distance") for time in by_distance]
    from_position: list[tuple[float, Source]] = [
        (float(t), "gps") for t in by_position if not _is_near_any(t, by_distance)
    ]
    for time, source in sorted([*from_distance, *from_position]):
        # With the offset of one piece for all, differences are lap times also where the clock stopped in between.
        car_ms = None if car.clock.is_frozen else time - car.clock.pieces[0].offset_ms
        yield TelemetryCrossing(car.clock.vehicle_id, round(time), car_ms, source, car.file)


def _is_near_any(time: float, others: Numbers) -> bool:
    return bool((np.abs(others - time) < _SAME_CROSSING_MS).any())
