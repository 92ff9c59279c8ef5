"""Lists the holes in a car's telemetry one by one, for the table ``telemetry_holes``.

The holes are found while the pivoted rows of a car are in memory; ``car_stats.py`` counts them.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from apex_pipeline.sources.gr_cup.telemetry.arrow_arrays import numbers, texts
from apex_pipeline.tables import TELEMETRY_HOLES

Ints = npt.NDArray[np.int64]

# No channel of a real car is slower than 0.25 s; at 200 km/h half a second hides 28 m of track.
HOLE_MS = 500
# Holes listed per car and per session; all are counted. A logger that sends once a second has one after every sample.
# In memory a hole takes 32 bytes, and 60 more while the table is made: 28 MB for a session.
_MOST_OF_CAR, _MOST_OF_SESSION = 10_000, 300_000
# After a hole the unit sends what it kept, stamped within milliseconds of each other: less than a quarter of the usual
# step apart, for up to a second. The usual step is that of the samples before the hole: 43 to 130 ms in real files.
_BUNCHED_SHARE = 0.25
_BUNCHED_MS = 1_000
_USUAL_STEPS = 40


# The columns of the table that are about a hole.
_HOLES = pa.schema(list(TELEMETRY_HOLES.schema)[3:])
# One hole: as in the table, while it is looked for.
_HOLE = np.dtype([("start_ms", np.int64), ("end_ms", np.int64), ("lap", np.int64), ("bunched", np.int64)])
# Laps before the green flag are 0 and less.
_NO_LAP = np.iinfo(np.int64).min


def most_holes_of_car(cars: int) -> int:
    """Return how many holes are listed of each car of a session: the same number of all."""
    return min(_MOST_OF_CAR, _MOST_OF_SESSION // max(cars, 1))


class HoleFinder:
    """Finds the holes of one car in its rows, which may come in parts.

    Args:
        is_frozen: Whether its clock stood still: its samples are as far apart as the messages.
        most: Holes listed, the first ones.
    """

    def __init__(self, *, is_frozen: bool, most: int) -> None:
        self._is_frozen = is_frozen
        self._holes = np.empty(most, _HOLE)
        self._count = 0
        self._sample_ms: Ints = np.empty(0, np.int64)
        self._last_lap: int | None = None
        self._closest_ms = 0.0

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
        room = len(self._holes) - self._count
        for index in (new + np.flatnonzero(steps_ms[new:] > HOLE_MS))[:room].tolist():
            lap = self._last_lap if index < known else laps[index - known].as_py()
            self._holes[self._count] = (times_ms[index], times_ms[index + 1], _NO_LAP if lap is None else lap, 0)
            self._count += 1
            before_ms = steps_ms[max(0, index - _USUAL_STEPS) : index]
            usual_ms = before_ms[(before_ms > 0) & (before_ms <= HOLE_MS)]
            self._closest_ms = _BUNCHED_SHARE * float(np.median(usual_ms)) if len(usual_ms) else 0.0
            self._count_bunched(times_ms, steps_ms, index + 1)
        self._sample_ms = times_ms[-_USUAL_STEPS - 1 :]
        self._last_lap = laps[-1].as_py() if len(laps) else self._last_lap

    def _count_bunched(self, times_ms: Ints, steps_ms: Ints, first: int) -> None:
        """Count the steps from this one on that are too short, for a second after the last hole or to the next."""
        if not self._count or self._is_frozen:
            return
        hole = self._holes[self._count - 1]
        last = int(np.searchsorted(times_ms, hole["end_ms"] + _BUNCHED_MS, side="right")) - 1
        after_ms = steps_ms[first:last]
        next_holes = np.flatnonzero(after_ms > HOLE_MS)
        after_ms = after_ms[: next_holes[0]] if len(next_holes) else after_ms
        hole["bunched"] += np.count_nonzero(after_ms < self._closest_ms)

    def holes(self) -> pa.Table:
        """Return the holes in chronological order, with the columns of ``telemetry_holes`` that are about a hole.

        ``bunched_samples`` is null if the car's clock stood still.
        """
        found = self._holes[: self._count]
        start_ms, end_ms, laps, bunched = (np.ascontiguousarray(found[name]) for name in _HOLE.names or ())
        return pa.Table.from_arrays(
            [
                numbers(laps, laps == _NO_LAP),
                numbers(start_ms).cast(_HOLES.field("hole_start_utc").type),
                numbers(end_ms).cast(_HOLES.field("hole_end_utc").type),
                numbers((end_ms - start_ms) / 1000),
                pa.nulls(self._count, pa.int64()) if self._is_frozen else numbers(bunched),
            ],
            schema=_HOLES,
        )


def telemetry_holes_table(track: str, session: str, cars: Sequence[tuple[str, pa.Table]]) -> pa.Table:
    """Return the table ``telemetry_holes`` of a session.

    Args:
        track: Track slug.
        session: Session name.
        cars: Vehicle id and holes of each car.
    """
    ordered = sorted(cars, key=lambda car: car[0])
    holes = pa.concat_tables([_HOLES.empty_table(), *(of_car for _, of_car in ordered)])
    counts = [of_car.num_rows for _, of_car in ordered]
    columns = [
        _repeated([track], [holes.num_rows]),
        _repeated([session], [holes.num_rows]),
        _repeated([vehicle_id for vehicle_id, _ in ordered], counts),
        *holes.columns,
    ]
    return pa.Table.from_arrays(columns, schema=TELEMETRY_HOLES.schema)


def _repeated(labels: Sequence[str], counts: Sequence[int]) -> pa.DictionaryArray:
    indices = np.repeat(np.arange(len(labels), dtype=np.int32), counts)
    return pa.DictionaryArray.from_arrays(numbers(indices), texts(labels))
