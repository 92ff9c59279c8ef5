"""Passings of the finish line as telemetry shows them, read from the raw files without converting them.

Here belongs the narrow reading of three channels and the merging of what they show. The arithmetic is in
``lap_distance`` and ``gps_line``. Not here: what a passing means for a lap, and what is wrong with a bad file, which
the conversion tells.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np

from apex_pipeline.errors import MalformedFileError, VanishedFileError
from apex_pipeline.sources.gr_cup.line_passing import LinePassing, Source
from apex_pipeline.sources.gr_cup.telemetry.clocks import measure_clocks
from apex_pipeline.sources.gr_cup.telemetry.gps_line import (
    FinishLine,
    Positions,
    gps_passings,
    is_at_line,
    learn_line,
    pair_up,
)
from apex_pipeline.sources.gr_cup.telemetry.lap_distance import (
    Distance,
    Numbers,
    distance_passings,
    in_driven_order,
    lap_length,
)
from apex_pipeline.sources.gr_cup.telemetry.loading import (
    TelemetryFile,
    create_table,
    load_channels,
    rows_of,
    shape_of,
)
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock
from apex_pipeline.sources.gr_cup.telemetry.workspace import Workspace, database, scratch_folder

_DISTANCE, _LATITUDE, _LONGITUDE = "laptrigger_lapdist_dls", "vbox_lat_min", "vbox_long_minutes"

# Distance and position of one passing lie within a second of each other; two passings are a lap apart.
_SAME_PASSING_MS = 5_000

# Of several values with one time (a burst, a message of a frozen clock) the mean lies where the car was about then.
_COORDINATE = "SELECT time, avg(value) AS value FROM sample WHERE channel = $1 GROUP BY time ORDER BY time"


@dataclass(frozen=True)
class _Car:
    """One car's samples, in its own clock, or in receive time where that stood still."""

    clock: CarClock
    file: str
    distance: Distance
    positions: Positions


def find_line_passings(files: Sequence[TelemetryFile], workspace: Workspace) -> list[LinePassing]:
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
    with scratch_folder(workspace) as folder, database(folder, workspace.memory_limit) as connection:
        create_table(connection)
        for number, file in enumerate(files):
            _load(connection, number, file)
        cars = [_car(connection, clock, files) for clock in measure_clocks(connection)]
    length_m = lap_length(car.distance for car in cars)
    line = learn_line((car.distance, car.positions) for car in cars)
    return [passing for car in cars for passing in _passings(car, length_m, line)]


def _load(connection: duckdb.DuckDBPyConnection, number: int, file: TelemetryFile) -> None:
    try:
        load_channels(connection, number, file, shape_of(file), (_DISTANCE, _LATITUDE, _LONGITUDE))
    except (MalformedFileError, VanishedFileError, duckdb.InvalidInputException, duckdb.ConversionException):
        return
    except duckdb.IOException:
        if file.path.exists():
            raise


def _car(connection: duckdb.DuckDBPyConnection, clock: CarClock, files: Sequence[TelemetryFile]) -> _Car:
    time = "received_ms" if clock.is_frozen else "car_ms"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE sample AS SELECT {time}::DOUBLE AS time, lower(channel) AS channel, value, "  # noqa: S608  -- a column
        "min(file_number) AS file_number FROM reading WHERE vehicle_id = $car AND problem IS NULL GROUP BY ALL",
        {"car": clock.vehicle_id},
    )
    ((number,),) = rows_of(connection, "SELECT min(file_number) FROM sample")
    return _Car(
        clock=clock,
        file=files[number].identity.path,
        distance=in_driven_order(*_samples(connection, "SELECT time, value FROM sample WHERE channel = $1", _DISTANCE)),
        positions=pair_up(*(_samples(connection, _COORDINATE, name) for name in (_LATITUDE, _LONGITUDE))),
    )


def _samples(connection: duckdb.DuckDBPyConnection, query: str, channel: str) -> tuple[Numbers, Numbers]:
    columns = connection.execute(query, [channel]).fetchnumpy()
    return np.asarray(columns["time"], dtype=np.float64), np.asarray(columns["value"], dtype=np.float64)


def _passings(car: _Car, length_m: float | None, line: FinishLine | None) -> Iterator[LinePassing]:
    """Yield what a car's distance shows, and where it shows nothing, its position."""
    by_distance = distance_passings(car.distance, length_m) if length_m else np.empty(0)
    by_position = gps_passings(car.positions, line) if line else np.empty(0)
    # A distance that began anew elsewhere was reset by hand or by a restart of the unit.
    if line and not car.clock.is_frozen:
        by_distance = by_distance[is_at_line(by_distance, car.positions, line)]
    driven: list[tuple[float, Source]] = [(float(time), "distance") for time in by_distance]
    located: list[tuple[float, Source]] = [(float(t), "gps") for t in by_position if not _is_among(t, by_distance)]
    offset_ms = 0 if car.clock.is_frozen else round(car.clock.offset_s * 1000)
    for time, source in sorted([*driven, *located]):
        own_ms = None if car.clock.is_frozen else time
        yield LinePassing(car.clock.vehicle_id, round(time) + offset_ms, own_ms, source, car.file)


def _is_among(time: float, others: Numbers) -> bool:
    return bool((np.abs(others - time) < _SAME_PASSING_MS).any())


__all__ = ["find_line_passings"]
