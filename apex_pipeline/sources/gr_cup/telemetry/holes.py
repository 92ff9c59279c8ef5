"""Lists the holes in a car's telemetry one by one, for the table ``telemetry_holes``.

The holes are found while the pivoted rows of a car are in memory; ``car_stats.py`` counts them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from apex_pipeline.tables import TELEMETRY_HOLES

Ints = npt.NDArray[np.int64]

# No channel of a real car is slower than 0.25 s; at 200 km/h half a second hides 28 m of track.
HOLE_MS = 500
# Holes listed per car; all are counted. A logger that sends once a second has one after every sample.
_MOST_HOLES = 10_000
# After a hole the unit sends what it kept, stamped within milliseconds of each other: less than a quarter of the usual
# step apart, for up to a second. The usual step is that of the samples before the hole: 43 to 130 ms in real files.
_BUNCHED_SHARE = 0.25
_BUNCHED_MS = 1_000
_USUAL_STEPS = 40


@dataclass
class Hole:
    """A time without any sample of a car.

    Attributes:
        start_ms: Last sample before it, milliseconds UTC.
        end_ms: First sample after it, milliseconds UTC.
        lap: ``lap_number`` of the last sample before it; ``None`` outside laps.
        bunched: Samples after it that are bunched; ``None`` if the car's clock stood still.
    """

    start_ms: int
    end_ms: int
    lap: int | None
    bunched: int | None


@dataclass
class HoleFinder:
    """Finds the holes of one car in its rows, which may come in parts.

    Args:
        is_frozen: Whether its clock stood still: its samples are as far apart as the messages.

    Attributes:
        holes: The first ten thousand holes.
    """

    is_frozen: bool
    holes: list[Hole] = field(default_factory=list[Hole])
    _sample_ms: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    _last_lap: int | None = None
    _closest_ms: float = 0.0

    def add(self, sample_ms: Ints, laps: pa.ChunkedArray) -> None:
        """Add rows in chronological order.

        Args:
            sample_ms: Their sample times, milliseconds UTC. Shape (rows,).
            laps: Their ``lap_number``.
        """
        known = len(self._sample_ms)
        times_ms = np.append(self._sample_ms, sample_ms)
        steps_ms = np.diff(times_ms)
        # Without an earlier row the first step is that of the second row.
        new = max(known - 1, 0)
        self._count_bunched(times_ms, steps_ms, new)
        for index in (new + np.flatnonzero(steps_ms[new:] > HOLE_MS)).tolist():
            if len(self.holes) == _MOST_HOLES:
                break
            lap = self._last_lap if index < known else laps[index - known].as_py()
            self.holes.append(Hole(int(times_ms[index]), int(times_ms[index + 1]), lap, None if self.is_frozen else 0))
            before_ms = steps_ms[max(0, index - _USUAL_STEPS) : index]
            usual_ms = before_ms[(before_ms > 0) & (before_ms <= HOLE_MS)]
            self._closest_ms = _BUNCHED_SHARE * float(np.median(usual_ms)) if len(usual_ms) else 0.0
            self._count_bunched(times_ms, steps_ms, index + 1)
        self._sample_ms = times_ms[-_USUAL_STEPS - 1 :]
        self._last_lap = laps[-1].as_py() if len(laps) else self._last_lap

    def _count_bunched(self, times_ms: Ints, steps_ms: Ints, first: int) -> None:
        """Count the steps from this one on that are too short, for a second after the last hole or to the next."""
        if not self.holes or self.is_frozen:
            return
        hole = self.holes[-1]
        last = int(np.searchsorted(times_ms, hole.end_ms + _BUNCHED_MS, side="right")) - 1
        after_ms = steps_ms[first:last]
        next_holes = np.flatnonzero(after_ms > HOLE_MS)
        after_ms = after_ms[: next_holes[0]] if len(next_holes) else after_ms
        hole.bunched = (hole.bunched or 0) + int(np.count_nonzero(after_ms < self._closest_ms))


def telemetry_holes_table(track: str, session: str, cars: Iterable[tuple[str, Iterable[Hole]]]) -> pa.Table:
    """Return the table ``telemetry_holes`` of a session.

    Args:
        track: Track slug.
        session: Session name.
        cars: Vehicle id and holes of each car.
    """
    return TELEMETRY_HOLES.from_rows(
        [
            {
                "track": track,
                "session": session,
                "vehicle_id": vehicle_id,
                "lap_number": hole.lap,
                "hole_start_utc": hole.start_ms,
                "hole_end_utc": hole.end_ms,
                "hole_s": (hole.end_ms - hole.start_ms) / 1000,
                "bunched_samples": hole.bunched,
            }
            for vehicle_id, holes in sorted(cars)
            for hole in holes
        ]
    )
