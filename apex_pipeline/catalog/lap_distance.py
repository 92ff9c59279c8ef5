"""Laps of a lake on the distance of their track, and two of them compared.

See ``lap_samples.py`` for how a lap is read, ``track_geometry.py`` for length and map, ``distance`` for the arithmetic.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from apex_pipeline.catalog.frames import Frame, FrameKind, as_frame
from apex_pipeline.catalog.lap_samples import LapKey, LapReader
from apex_pipeline.catalog.published_tables import PublishedTables
from apex_pipeline.catalog.telemetry_reader import TelemetryReader
from apex_pipeline.catalog.track_geometry import TrackGeometry
from apex_pipeline.distance import (
    Delta,
    DistanceLap,
    LapSamples,
    TrackLength,
    TrackLine,
    compare_laps,
    lap_on_distance,
    read_track_lengths,
)
from apex_pipeline.distance.arrays import Numbers
from apex_pipeline.errors import ConfigurationError, did_you_mean
from apex_pipeline.settings import Settings
from apex_pipeline.tables.session_key import SessionKey


@dataclass(frozen=True)
class LapComparison:
    """How far lap ``b`` is behind lap ``a`` along the track; made by :meth:`Lap.compare`.

    Attributes:
        a: Names the first lap.
        b: Names the second lap.
        delta: The delta, and both laps on its distances.
    """

    a: str
    b: str
    delta: Delta

    def __repr__(self) -> str:
        return f"<LapComparison of {self.b} with {self.a}: {self.delta.delta_s[-1]:+.3f} s at the line, {self.method}>"

    @property
    def distance_m(self) -> Numbers:
        """Distances from the line, metres; the last one is the length of the track."""
        return self.delta.distance_m

    @property
    def delta_s(self) -> Numbers:
        """Time of ``b`` minus time of ``a`` at each distance, seconds: positive where ``b`` is behind."""
        return self.delta.delta_s

    @property
    def error_s(self) -> Numbers:
        """How far ``delta_s`` may be off at each distance, nine times in ten, seconds."""
        return self.delta.error_s

    @property
    def holes(self) -> tuple[tuple[float, float], ...]:
        """Stretches without delta, as (from, to) in metres."""
        return self.delta.holes

    @property
    def method(self) -> str:
        """How the distance was found; ``none`` where there is no delta."""
        return self.delta.method

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know, in sentences."""
        return self.delta.notes

    def frame(self, channels: Sequence[str] | None = None, *, frame: FrameKind = "pandas") -> Frame:
        """Return ``distance_m``, the channels of both laps as ``a_…`` and ``b_…``, ``delta_s`` and ``error_s``.

        Args:
            channels: By default all that were compared; a channel that one lap does not have is null there.
            frame: ``pandas`` or ``arrow``.

        Raises:
            ConfigurationError: Neither lap has the channel.
        """
        known = {**self.delta.a.channels, **self.delta.b.channels}
        columns = {"distance_m": self.distance_m}
        for name in known_channels(channels, known):
            for side, lap in (("a", self.delta.a), ("b", self.delta.b)):
                columns[f"{side}_{name}"] = lap.channels.get(name, np.full(len(self.distance_m), np.nan))
        return as_frame(_table(columns | {"delta_s": self.delta_s, "error_s": self.error_s}), frame)


class LapDistances:
    """Answers for the laps of one catalog; safe to share between threads.

    Attributes:
        geometry: Lengths and maps of its tracks.

    Args:
        tables: The tables of the sessions.
        telemetry: Their telemetry.
        settings: Returns the settings, which name the user's own track lengths.
        sessions_of: Returns the sessions of a track.
    """

    def __init__(
        self,
        tables: PublishedTables,
        telemetry: TelemetryReader,
        settings: Callable[[], Settings],
        sessions_of: Callable[[str], list[SessionKey]],
    ) -> None:
        @cache
        def lengths() -> Mapping[str, TrackLength]:
            return read_track_lengths(settings().track_lengths_file)

        self._laps = LapReader(tables, telemetry, lambda key: self.geometry.length(key).length_m)
        self.geometry = TrackGeometry(tables, telemetry, self._laps, lengths, sessions_of)

    def samples(self, lap: LapKey) -> LapSamples:
        """Return one lap as it was sampled.

        Raises:
            ConfigurationError: There is no such lap, or its begin or end is not known.
            NotPublishedError: The length of the track is not known.
        """
        return self._laps.samples(lap)

    def on_distance(self, lap: LapKey, step_m: float, channels: Sequence[str] | None) -> DistanceLap:
        """Return a lap at equal steps of distance; errors as for :meth:`samples`."""
        samples = self.samples(lap)
        wanted = known_channels(channels, samples.channels)
        return lap_on_distance(samples, step_m, line=lambda: self._line(lap[0]), channels=wanted)

    def compare(self, lap: LapKey, other: LapSamples, step_m: float, channels: Sequence[str] | None) -> LapComparison:
        """Return how far another lap is behind a lap of this catalog; errors as for :meth:`samples`.

        Raises:
            ConfigurationError: The laps are of different layouts, neither has a channel, or the other is no lap.
        """
        if not isinstance(other, LapSamples):  # pyright: ignore[reportUnnecessaryIsInstance]  -- often from a notebook
            raise ConfigurationError(f"{other!r} is not a lap.", "Take one from `lap` or `best_lap` of a session.")
        own = self.samples(lap)
        known_channels(channels, {**own.channels, **other.channels})
        delta = compare_laps(own, other, step_m, lambda: self._line(lap[0]), channels)
        return LapComparison(own.label, other.label, delta)

    def _line(self, key: SessionKey) -> TrackLine | None:
        return self.geometry.map(key).line


def known_channels(channels: Sequence[str] | None, known: Mapping[str, object]) -> tuple[str, ...]:
    """Return the channels that were asked for, each once; all by default.

    Raises:
        ConfigurationError: There is no such channel, or ``channels`` is a text instead of a list.
    """
    if channels is None:
        return tuple(known)
    if isinstance(channels, str):
        raise ConfigurationError(f"channels is the text {channels!r}.", f"Write a list: [{channels!r}].")
    missing = [str(name) for name in channels if name not in known]
    if missing:
        raise ConfigurationError(
            f"There is no channel {', '.join(missing)}.",
            f"{did_you_mean(missing[0], known)}There are: {', '.join(known) or 'none'}.",
        )
    return tuple(dict.fromkeys(channels))


def distance_table(lap: DistanceLap) -> pa.Table:
    """Return a lap as ``distance_m``, ``time_s``, ``error_s`` and its channels; the schema says method and notes."""
    table = _table({"distance_m": lap.distance_m, "time_s": lap.time_s, "error_s": lap.error_s, **lap.channels})
    said = {"method": lap.method, "notes": "\n".join(lap.notes)}
    return table.replace_schema_metadata({key: value.encode() for key, value in said.items()})


def _table(columns: Mapping[str, Numbers]) -> pa.Table:
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})
