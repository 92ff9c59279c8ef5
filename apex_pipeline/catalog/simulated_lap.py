"""Laps of a simulator beside those of real cars: a race of Automobilista 2, read from the tables in the store.

A race belongs to no session and no snapshot; ``apex race`` makes it. Its track is the one that the game names. What the
game counts as distance runs along its own track, so a place of it is a share of that track's length; see ``distance``
for how it is compared.
"""

import io
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline import arrow_compute as pc
from apex_pipeline.distance import LapSamples
from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import race_table_key
from apex_pipeline.tables import RACE_LAPS, RACE_SAMPLES
from apex_pipeline.tables.model import Row, Table

# Channel of a real car → column of the game, and what one unit of it is. The brakes of the game have no pressure and
# its steering no angle, so these are channels of their own.
_CHANNELS = {
    "speed_kph": ("speed_mps", 3.6),
    "engine_rpm": ("engine_rpm", 1.0),
    "gear": ("gear", 1.0),
    "accelerator_pedal_pct": ("throttle", 100.0),
    "brake_pedal_pct": ("brake", 100.0),
    "steering_pct": ("steering", 100.0),
    "lap_distance_m": ("lap_distance_m", 1.0),
}
_CLOCK = "current_time_s"
_REMARK = "How well the game's corners lie where the real ones do is not known, and not part of error_s."


@dataclass(frozen=True)
class SimulatedLap:
    """One lap of a simulator; made by :meth:`Catalog.simulated_lap`.

    Attributes:
        race_id: The race.
        number: The game's number of the lap.
        place: The track and its layout, as the game names them.
        track: Slug of the track; ``None`` if the lake has none of this name.
        time_s: The lap time, seconds.
        is_valid: Whether the game counts it.
        samples: The lap as the package ``distance`` takes it.
    """

    race_id: str
    number: int
    place: str
    track: str | None
    time_s: float
    is_valid: bool
    samples: LapSamples

    def __repr__(self) -> str:
        return f"<SimulatedLap {self.number} of race {self.race_id}: {self.time_s:.3f} s, {self.place}>"


def is_race_id(text: str) -> bool:
    """Return whether a text can be the id of a race: a UUID in its usual spelling."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def find_lap(store: ObjectStore, race_id: str, number: int | None) -> Row:
    """Return the row of ``race_laps`` of a lap; without a number of the best valid one.

    Raises:
        ConfigurationError: The race has no such lap from line to line.
        ObjectMissingError: The store has no such race.
    """
    if not is_race_id(race_id):
        raise ConfigurationError(f"{race_id!r} is not the id of a race.", "`apex race list` shows the ids.")
    laps = [row for row in _read(store, RACE_LAPS, race_id).to_pylist() if row["is_published"]]
    timed = {row["lap_number"]: row for row in laps if row["lap_time_s"] is not None and row["track_length_m"]}
    known = f"Its laps from line to line: {', '.join(map(str, timed)) or 'none'}."
    if number is not None:
        if number not in timed:
            raise ConfigurationError(f"The race {race_id} has no lap {number} that can be compared.", known)
        return timed[number]
    valid = [row for row in timed.values() if row["is_valid"]]
    if not valid:
        raise ConfigurationError(f"The race {race_id} has no valid lap.", known)
    return min(valid, key=lambda row: row["lap_time_s"])


def place_of(row: Row) -> tuple[str, str]:
    """Return the track and the layout of a lap, as the game names them; empty if it does not."""
    return row["track_location"] or "", row["track_variation"] or ""


def simulated_lap(store: ObjectStore, row: Row, track: str | None) -> SimulatedLap:
    """Return a lap of a race with its samples.

    Args:
        store: Where the tables of races are.
        row: Its row of ``race_laps``, from :func:`find_lap`.
        track: Slug of its track; ``None`` if the lake has none of this name.

    Raises:
        ObjectMissingError: The samples are gone.
    """
    race_id, number = row["race_id"], row["lap_number"]
    samples = _read(store, RACE_SAMPLES, race_id, ["lap_index", _CLOCK, *{name for name, _ in _CHANNELS.values()}])
    samples = samples.filter(pc.equal(samples["lap_index"], row["lap_index"]))
    clock = samples[_CLOCK].to_numpy().astype(np.float64)
    order = np.argsort(clock, kind="stable")[: np.isfinite(clock).sum()]  # what has no time comes last
    channels = {
        channel: samples[column].to_numpy().astype(np.float64)[order] * unit
        for channel, (column, unit) in _CHANNELS.items()
    }
    return SimulatedLap(
        race_id,
        number,
        ", ".join(filter(None, place_of(row))) or "a track that the game does not name",
        track,
        row["lap_time_s"],
        row["is_valid"],
        LapSamples(
            times_s=clock[order],
            channels=channels,
            lap_time_s=row["lap_time_s"],
            duration_s=row["lap_time_s"],
            track_length_m=row["track_length_m"],
            is_simulated=True,
            knows_distance=True,
            label=f"lap {number} of race {race_id}",
            remarks=(_REMARK,),
        ),
    )


def _read(store: ObjectStore, table: Table, race_id: str, columns: list[str] | None = None) -> pa.Table:
    try:
        content = store.read_bytes(race_table_key(table.name, race_id))
    except ObjectMissingError as error:
        raise ObjectMissingError(
            f"{store.uri} has no race {race_id}.", "`apex race list` shows the races and whether they are ready."
        ) from error
    return pq.ParquetFile(io.BytesIO(content)).read(columns)
