"""One lap of one car: how sure its time is, and its telemetry.

A lap is cut where the car itself crossed the line (``line_start_utc``, ``line_end_utc`` of ``laps``), or at the
crossings of ``laps`` where the car's own are not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from apex_pipeline.catalog.describe import as_html, as_text, lap_lines
from apex_pipeline.catalog.frames import Frame, FrameKind, as_frame
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey

if TYPE_CHECKING:
    from apex_pipeline.catalog.lap_distance import LapComparison
    from apex_pipeline.catalog.session import RaceSession
    from apex_pipeline.catalog.simulated_lap import SimulatedLap
    from apex_pipeline.distance import LapSamples


@dataclass(frozen=True, repr=False)
class Lap:
    """One lap of one car; made by :meth:`RaceSession.lap` and :meth:`RaceSession.best_lap`.

    Attributes:
        session: Its session.
        vehicle_id: The car, by its device.
        car_number: Its number; ``None`` while undecided.
        number: ``lap_number`` of ``laps``.
        time_s: Best estimate of the lap time, seconds; ``None`` if it is not known.
        method: Where the time comes from: ``lap_time_method`` of ``laps``.
        confidence: How sure the time is, 0 to 1.
        flags: Reasons to look twice.
        is_valid: Whether nothing speaks against the time.
        line_start_utc: When the car itself crossed the line to begin the lap.
        line_end_utc: When it crossed the line to end it.
        line_method: Where the two line times come from.
        line_residual_s: Time between them minus ``time_s``, seconds.
    """

    session: "RaceSession"
    vehicle_id: str
    car_number: str | None
    number: int
    time_s: float | None
    method: str | None
    confidence: float | None
    flags: tuple[str, ...]
    is_valid: bool
    line_start_utc: datetime | None
    line_end_utc: datetime | None
    line_method: str | None
    line_residual_s: float | None

    def __repr__(self) -> str:
        """Say what there is, in five lines."""
        return as_text(lap_lines(self))

    def _repr_html_(self) -> str:
        """Say the same in a notebook."""
        return as_html(lap_lines(self))

    @property
    def track(self) -> str:
        """Slug of the track."""
        return self.session.track

    def telemetry(self, channels: Sequence[str] | None = None, *, frame: FrameKind = "pandas") -> Frame:
        """Return the samples of the lap as they were sent, by time.

        Args:
            channels: Columns in addition to car, time, repeat and lap; by default all.
            frame: ``pandas`` or ``arrow``.

        Returns:
            The samples; no rows where there are none, and :attr:`telemetry_note` says why.

        Raises:
            ConfigurationError: The session has no such channel.
            StoreCorruptionError: The file is damaged.
        """
        return as_frame(self.telemetry_arrow(channels), frame)

    def telemetry_arrow(self, channels: Sequence[str] | None = None) -> pa.Table:
        """Return the samples as an Arrow table; arguments and errors as for :meth:`telemetry`."""
        return self.session.catalog.telemetry_reader.read_lap(*self._key, channels)

    @property
    def telemetry_note(self) -> str:
        """Why the lap has no telemetry, in a sentence; empty if it has."""
        return self.session.catalog.telemetry_reader.lap_note(*self._key)

    def on_distance(
        self, step_m: float = 2.0, channels: Sequence[str] | None = None, *, frame: FrameKind = "pandas"
    ) -> Frame:
        """Return the lap at equal steps of distance, from the line to the line.

        Args:
            step_m: Distance between two rows, 0.1 to 1,000 m; the last row lies on the line itself.
            channels: The channels to interpolate, each by its own readings; by default all that the lap has.
            frame: ``pandas`` or ``arrow``.

        Returns:
            ``distance_m``, ``time_s``, ``error_s`` (how far the time may be off, nine times in ten) and the channels;
            null in holes over 0.5 s. How the distance was found, and what to know, is in ``attrs`` of the frame, or the
            metadata of the schema, as ``method`` and ``notes``.

        Raises:
            ConfigurationError: The lap has no such channel, its begin or end is not known, or the step makes no grid.
            NotPublishedError: The length of the track is not known.
        """
        from apex_pipeline.catalog.lap_distance import distance_table  # noqa: PLC0415  -- see Catalog.lap_distances

        lap = self.session.catalog.lap_distances.on_distance(self._key, step_m, channels)
        found = as_frame(distance_table(lap), frame)
        if frame == "pandas":
            found.attrs |= {"method": lap.method, "notes": lap.notes}
        return found

    def compare(
        self, other: "Lap | SimulatedLap | LapSamples", *, step_m: float = 2.0, channels: Sequence[str] | None = None
    ) -> "LapComparison":
        """Return how far another lap of the track is behind this one, all along the lap.

        Args:
            other: A lap of any car, session or year; one of a simulator, whose distance is the share of its own
                track's length; or the samples of one.
            step_m: Distance between two points, 0.1 to 1,000 m.
            channels: The channels to put on the distance as well; by default all.

        Raises:
            ConfigurationError: The laps are of different tracks or layouts, there is no such channel, the begin or end
                of a lap is not known, or the step makes no grid.
            NotPublishedError: The length of the track is not known.
        """
        return self.session.catalog.lap_distances.compare(self._key, self._samples_of(other), step_m, channels)

    def _samples_of(self, other: "Lap | SimulatedLap | LapSamples") -> "LapSamples":
        from apex_pipeline.catalog.simulated_lap import SimulatedLap  # noqa: PLC0415  -- only comparisons need it

        if isinstance(other, Lap) and other.track != self.track:
            raise ConfigurationError(
                f"{self.track} and {other.track} are different tracks.", "Compare two laps of one track."
            )
        if isinstance(other, SimulatedLap) and other.track != self.track:
            raise ConfigurationError(
                f"{other.samples.label} was driven at {other.place}, which is not known as {self.track}.",
                "Compare two laps of one track; another name of it goes into the file that APEX_TRACKS_FILE names.",
            )
        if isinstance(other, Lap):
            return other.samples()
        return other.samples if isinstance(other, SimulatedLap) else other

    def samples(self) -> "LapSamples":
        """Return the lap as the package ``distance`` takes it; errors as for :meth:`on_distance`."""
        return self.session.catalog.lap_distances.samples(self._key)

    @property
    def _key(self) -> tuple[SessionKey, str, int]:
        return self.session.key, self.vehicle_id, self.number


def lap_of_row(session: "RaceSession", row: Row) -> Lap:
    """Return the lap of a row of ``laps``, which has no line times if it was derived by an earlier version."""
    return Lap(
        session,
        row["vehicle_id"],
        row["car_number"],
        row["lap_number"],
        row["lap_time_s"],
        row["lap_time_method"],
        row["confidence"],
        tuple(row["flags"]),
        row["is_valid"],
        row.get("line_start_utc"),
        row.get("line_end_utc"),
        row.get("line_method"),
        row.get("line_residual_s"),
    )
