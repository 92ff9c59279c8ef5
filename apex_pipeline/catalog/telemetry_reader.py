"""Reads the telemetry of published sessions: of a car, a lap or a time, and only the channels that are asked for.

The footers and the lap times of the last few sessions are kept. See ``selection.py`` for how a car and a lap become a
window of time, ``telemetry_file.py`` for how a window is read.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import pyarrow as pa

from apex_pipeline.catalog.published_tables import PublishedTables
from apex_pipeline.catalog.selection import LapTimes, clip, lap_times, resolve_vehicle
from apex_pipeline.catalog.telemetry_file import Footer, Window, read_footer, read_windows
from apex_pipeline.errors import ConfigurationError, did_you_mean
from apex_pipeline.lake.objects import table_file_key
from apex_pipeline.lake.published_session import TableRecord
from apex_pipeline.storage.arrow_fs import arrow_filesystem
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables import CARS, LAPS, TELEMETRY
from apex_pipeline.tables.session_key import SessionKey

if TYPE_CHECKING:
    from pyarrow import dataset as ds

# The first columns of every telemetry result: car and time.
SAMPLE_COLUMNS = ("vehicle_id", "sample_time_utc", "repeat", "lap_number")

# Footers of about 60 kB, and lap times of about 30 kB.
_KEPT_SESSIONS = 32


@dataclass(frozen=True)
class Selection:
    """What to read of a session's telemetry; each ``None`` is no restriction.

    Attributes:
        vehicle_id: One car, by its device.
        car_number: One car, by its number: 03 is not 3, but the number 3 is either.
        lap_number: One lap.
        start_utc: First sample time; with a time zone.
        end_utc: End of the sample times (exclusive); with a time zone.
        channels: Columns in addition to car, time, repeat and lap.
    """

    vehicle_id: str | None = None
    car_number: str | int | None = None
    lap_number: int | None = None
    start_utc: datetime | None = None
    end_utc: datetime | None = None
    channels: Sequence[str] | None = None


class TelemetryReader:
    """Reads parts of telemetry files; safe to share between threads.

    Args:
        tables: The tables of the sessions.
    """

    def __init__(self, tables: PublishedTables) -> None:
        self._tables = tables
        self._footer: Callable[[TableRecord], Footer] = lru_cache(_KEPT_SESSIONS)(partial(read_footer, tables.store))
        self._lap_times: Callable[[TableRecord], LapTimes] = lru_cache(_KEPT_SESSIONS)(
            lambda record: lap_times(tables.read_record(record))
        )

    def read(self, key: SessionKey, wanted: Selection) -> pa.Table:
        """Return the samples that were asked for, sorted by car and time.

        Raises:
            ObjectMissingError: The session is not published, or its file is missing.
            ConfigurationError: There is no such car, lap or channel, or a time has no time zone.
            StoreCorruptionError: The file is damaged.
        """
        record = self._tables.record(TELEMETRY.name, key)
        footer = self._footer(record)
        columns = sample_columns(wanted.channels, footer.columns)
        car = None
        if wanted.vehicle_id is not None or wanted.car_number is not None:
            car = self._vehicle_id(key, footer, wanted)
        windows = self._lap_windows(key, car, wanted.lap_number)
        clipped = [clip(window, wanted.start_utc, wanted.end_utc) for window in windows]
        return read_windows(self._tables.store, record, footer, clipped, columns)

    def read_lap(
        self, key: SessionKey, vehicle_id: str, lap_number: int, channels: Sequence[str] | None = None
    ) -> pa.Table:
        """Return the samples of one lap; no rows where there are none, and :meth:`lap_note` says why.

        Raises:
            ConfigurationError: The session has no such channel.
            StoreCorruptionError: The file is damaged.
        """
        if not self._tables.has(TELEMETRY.name, key):
            columns = sample_columns(channels, TELEMETRY.schema.names)
            return TELEMETRY.empty() if columns is None else TELEMETRY.empty().select(columns)
        record = self._tables.record(TELEMETRY.name, key)
        footer = self._footer(record)
        columns = sample_columns(channels, footer.columns)
        span = self._lap_span(key, vehicle_id, lap_number)
        if span is None:
            schema = footer.metadata.schema.to_arrow_schema()
            return schema.empty_table().select(columns or schema.names)
        return read_windows(self._tables.store, record, footer, [Window(vehicle_id, *span)], columns)

    def has_car(self, key: SessionKey, vehicle_id: str) -> bool:
        """Return whether a session has telemetry of a car."""
        return (
            self._tables.has(TELEMETRY.name, key)
            and vehicle_id in self._footer(self._tables.record(TELEMETRY.name, key)).cars
        )

    def dataset(self, keys: Sequence[SessionKey]) -> "ds.Dataset":
        """Return the telemetry of several sessions as one Arrow data set, of which only what is used is read.

        A channel that only some of the sessions have is null in the others.
        """
        from pyarrow import dataset as ds  # noqa: PLC0415  -- imports pandas, and only SQL needs it

        with_table = [key for key in keys if self._tables.has(TELEMETRY.name, key)]
        records = [record for key in with_table if (record := self._tables.record(TELEMETRY.name, key)).rows]
        with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
            schemas = list(pool.map(lambda record: self._footer(record).metadata.schema.to_arrow_schema(), records))
            paths = list(pool.map(partial(table_file_key, self._tables.store), records))
        schema = pa.unify_schemas([TELEMETRY.schema.remove_metadata(), *(one.remove_metadata() for one in schemas)])
        if not paths:
            return ds.dataset(schema.empty_table())
        return ds.dataset(paths, schema, "parquet", filesystem=arrow_filesystem(self._tables.store))

    def lap_note(self, key: SessionKey, vehicle_id: str, lap_number: int) -> str:
        """Return why a lap has no samples, in a sentence; empty if it has some."""
        if not self._tables.has(TELEMETRY.name, key) or not self._tables.record(TELEMETRY.name, key).rows:
            return f"{key} has no telemetry: none of its raw files has any."
        if vehicle_id not in self._footer(self._tables.record(TELEMETRY.name, key)).cars:
            return f"{vehicle_id} sent no telemetry in {key}."
        if self._lap_span(key, vehicle_id, lap_number) is None:
            return f"Lap {lap_number} of {vehicle_id} has no UTC start or end, so its samples cannot be located."
        if self.read_lap(key, vehicle_id, lap_number, ["lap_number"]).num_rows == 0:
            return f"{vehicle_id} sent nothing during lap {lap_number}, although it sent telemetry in {key}."
        return ""

    def _lap_span(self, key: SessionKey, vehicle_id: str, lap_number: int) -> tuple[int, int] | None:
        laps = self._lap_times(self._tables.record(LAPS.name, key))
        return laps.spans.get(vehicle_id, {}).get(lap_number)

    def _vehicle_id(self, key: SessionKey, footer: Footer, wanted: Selection) -> str:
        if wanted.car_number is None and wanted.vehicle_id in footer.cars:
            return str(wanted.vehicle_id)
        # A device may have sent telemetry but no lap triggers, or the other way round.
        numbers: dict[str, str | None] = dict.fromkeys(footer.cars)
        cars = self._tables.read(CARS.name, key)
        pairs = zip(cars["vehicle_id"].to_pylist(), cars["car_number"].to_pylist(), strict=True)
        numbers |= {vehicle: number for vehicle, number in pairs if vehicle is not None}
        return resolve_vehicle(numbers, str(key), vehicle_id=wanted.vehicle_id, car_number=wanted.car_number)

    def _lap_windows(self, key: SessionKey, car: str | None, lap_number: int | None) -> list[Window]:
        if lap_number is None:
            return [Window(car)]
        laps = self._lap_times(self._tables.record(LAPS.name, key))
        return laps.lap_windows(lap_number) if car is None else [Window(car, *laps.lap_span(car, lap_number))]


def sample_columns(channels: Sequence[str] | None, known: Sequence[str]) -> list[str] | None:
    """Return the columns to read for these channels; ``None`` for all.

    Raises:
        ConfigurationError: The session has no such channel, or ``channels`` is a text instead of a list of them.
    """
    if not channels:
        return None
    if isinstance(channels, str):
        raise ConfigurationError(f"channels is the text {channels!r}.", f"Write a list: [{channels!r}].")
    missing = [name for name in channels if name not in known]
    if missing:
        guess = did_you_mean(str(missing[0]), known)
        raise ConfigurationError(
            f"The session has no channel {', '.join(map(str, missing))}.", f"{guess}It has: {', '.join(known)}."
        )
    return [*SAMPLE_COLUMNS, *dict.fromkeys(name for name in channels if name not in SAMPLE_COLUMNS)]
