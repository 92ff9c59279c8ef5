"""Reads laps of a lake as the samples that ``distance`` takes, and keeps the last ones.

What a lap's distance needs is spread over tables: its line and time (laps), its official points, whether its clock ran
(telemetry_cars), and the length and line of its track; see ``track_geometry.py`` for these two.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from apex_pipeline.catalog.official_crossings import OfficialCrossings
from apex_pipeline.catalog.published_tables import PublishedTables
from apex_pipeline.catalog.telemetry_reader import Selection, TelemetryReader
from apex_pipeline.distance import LapSamples
from apex_pipeline.distance.arrays import Numbers
from apex_pipeline.distance.positions import driven_m
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.tables import LAPS, TELEMETRY, TELEMETRY_CARS
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey

# Readings this long before the line and after the lap say where the line was between two of them.
_MARGIN = timedelta(seconds=1)
# A lap has 2,200 rows of 15 channels: 0.3 MB.
_KEPT_LAPS = 64
_KEPT_SESSIONS = 32
_LAP_COLUMNS = (
    "vehicle_id",
    "car_number",
    "lap_number",
    "official_lap_number",
    "lap_time_s",
    "lap_start_utc",
    "lap_end_utc",
    "line_start_utc",
    "line_end_utc",
    "from_green",
    "is_in_lap",
    "is_out_lap",
    "is_valid",
    "s1_s",
    "s2_s",
)

LapKey = tuple[SessionKey, str, int]


@dataclass(frozen=True)
class LapRow:
    """What ``laps`` says of a lap, as far as its distance needs it."""

    key: LapKey
    row: Row

    @property
    def label(self) -> str:
        """Names the lap in notes: ``barber/R1 car 13 lap 9``."""
        session, vehicle_id, number = self.key
        return f"{session} car {self.row['car_number'] or vehicle_id} lap {number}"

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """When the car crossed the line to begin and to end the lap; ``None`` if either is unknown."""
        start = self.row.get("line_start_utc") or self.row["lap_start_utc"]
        end = self.row.get("line_end_utc") or self.row["lap_end_utc"]
        return (start, end) if start is not None and end is not None and start < end else None

    @property
    def is_plain(self) -> bool:
        """Whether the lap is a valid one from line to line, with a time, not through the pits."""
        row = self.row
        through_pits = row["is_in_lap"] or row["is_out_lap"]
        is_timed = row["lap_time_s"] is not None and self.span is not None
        return bool(row["is_valid"]) and is_timed and not through_pits and not row.get("from_green")

    def sector_times_s(self) -> dict[str, float]:
        """Return the times of the sector ends within the lap."""
        first, second = self.row["s1_s"], self.row["s2_s"]
        if first is None:
            return {}
        return {"S1": first} if second is None else {"S1": first, "S2": first + second}


class LapReader:
    """Reads laps as samples; safe to share between threads.

    Args:
        tables: The tables of the sessions.
        telemetry: Their telemetry.
        length_of: Returns the length of a session's track in metres.
    """

    def __init__(
        self, tables: PublishedTables, telemetry: TelemetryReader, length_of: Callable[[SessionKey], float]
    ) -> None:
        self._tables = tables
        self._telemetry = telemetry
        self._length_of = length_of
        self._crossings = OfficialCrossings(tables)
        self.laps: Callable[[SessionKey], dict[tuple[str, int], LapRow]] = lru_cache(_KEPT_SESSIONS)(self._laps)
        self.samples: Callable[[LapKey], LapSamples] = lru_cache(_KEPT_LAPS)(self._samples)

    def _laps(self, key: SessionKey) -> dict[tuple[str, int], LapRow]:
        table = self._tables.read(LAPS.name, key)
        rows = table.select([name for name in _LAP_COLUMNS if name in table.schema.names]).to_pylist()
        return {
            (row["vehicle_id"], row["lap_number"]): LapRow((key, row["vehicle_id"], row["lap_number"]), row)
            for row in rows
        }

    def _samples(self, lap_key: LapKey) -> LapSamples:
        """Return one lap as it was sampled.

        Raises:
            ConfigurationError: There is no such lap, or its begin or end is not known.
            NotPublishedError: The length of the track is not known.
        """
        key, vehicle_id, number = lap_key
        lap = self.laps(key).get((vehicle_id, number))
        if lap is None:
            raise ConfigurationError(
                f"{vehicle_id} has no lap {number} in {key}.", f"`apex laps {key.track}` lists them."
            )
        if lap.span is None:
            raise ConfigurationError(
                f"{lap.label} has no start or end in UTC, so its samples cannot be located.",
                "Choose a lap that has line_start_utc and line_end_utc in `laps`.",
            )
        return self._sampled(lap, lap.span, self._length_of(key))

    def driven_m(self, lap: LapRow) -> float | None:
        """Return how far a lap drove by its speed; ``None`` if it was not read as a whole."""
        if lap.span is None:
            return None
        return driven_m(self._sampled(lap, lap.span, 1.0))

    def _sampled(self, lap: LapRow, span: tuple[datetime, datetime], length_m: float) -> LapSamples:
        start, end = span
        key, vehicle_id, _ = lap.key
        times, channels = self._readings(lap, start, end)
        official = lap.row["official_lap_number"]
        points = self._crossings.of_lap(key, vehicle_id, official) if official is not None else ()
        lap_time_s = lap.row["lap_time_s"]
        return LapSamples(
            times_s=times,
            channels=channels,
            lap_time_s=np.nan if lap_time_s is None else lap_time_s,
            duration_s=(end - start).total_seconds(),
            track_length_m=length_m,
            points=points,
            from_green=bool(lap.row.get("from_green")),
            has_clock=self._has_clock(key, vehicle_id, start, end),
            label=lap.label,
            remarks=tuple(self._remarks(lap)),
        )

    def _readings(self, lap: LapRow, start: datetime, end: datetime) -> tuple[Numbers, dict[str, Numbers]]:
        key, vehicle_id, _ = lap.key
        if not self._tables.has(TELEMETRY.name, key) or not self._telemetry.has_car(key, vehicle_id):
            return np.empty(0), {}
        wanted = Selection(vehicle_id=vehicle_id, start_utc=start - _MARGIN, end_utc=end + _MARGIN)
        table = self._telemetry.read(key, wanted)
        start_ms = round(start.timestamp() * 1000)
        times = (table["sample_time_utc"].cast(pa.int64()).to_numpy() - start_ms) / 1000
        return times, {
            name: column.to_numpy().astype(np.float64)
            for name, column in zip(table.schema.names, table.columns, strict=True)
            if pt.is_floating(column.type) and column.null_count < len(column)
        }

    def _has_clock(self, key: SessionKey, vehicle_id: str, start: datetime, end: datetime) -> bool:
        if not self._tables.has(TELEMETRY_CARS.name, key):
            return True
        for piece in self._tables.read(TELEMETRY_CARS.name, key).to_pylist():
            begin, stop = piece.get("piece_start_utc"), piece.get("piece_end_utc")
            is_here = (begin is None or begin < end) and (stop is None or stop > start)
            if piece["vehicle_id"] == vehicle_id and piece["clock_method"] == "received" and is_here:
                return False
        return True

    def _remarks(self, lap: LapRow) -> list[str]:
        note = self._telemetry.lap_note(*lap.key)
        if note:
            return [note]
        if lap.row["is_in_lap"] or lap.row["is_out_lap"]:
            return [f"{lap.label} went through the pits, where the way has another length."]
        return []
