"""Counts readings, gaps and channels per car, for the table ``telemetry_cars``.

The counts are taken while the pivoted rows of a car are in memory. See ``clocks`` for the clock correction and
``quality/scores.py`` for the scores derived from the counts.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from apex_pipeline.sources.gr_cup.parsing import split_vehicle_id
from apex_pipeline.sources.gr_cup.telemetry.pivot import PivotedRows
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock, CarStats, TelemetryReport
from apex_pipeline.tables import TELEMETRY_CARS

# The slow channels come every 216 ms and a real message covers a quarter of a second, so a gap of this length means
# that ten slow samples are missing.
_GAP_MS = 2_000
# In real files messages are up to 52 s later than the median; a larger backward step is not a late delivery.
_LATEST_DELIVERY_MS = 60_000


class CarStatsBuilder:
    """Collects the stats of one car from its pivoted rows, part by part.

    Args:
        clock: The car's clock correction.
        channels: Channel columns of the session.
    """

    def __init__(self, clock: CarClock, channels: Sequence[str]) -> None:
        self._clock = clock
        self._channels = channels
        self._sent: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._longest_ms = 0
        self._first_ms: int | None = None
        # Sample and receive time of the last row, for the step to the next part. Shape (1,) each.
        self._last = (np.empty(0, np.int64), np.empty(0, np.int64))

    def add(self, part: PivotedRows) -> None:
        """Add a part; parts come in chronological order."""
        sample_ms = np.append(self._last[0], _milliseconds(part.rows, "sample_time_utc"))
        received_ms = np.append(self._last[1], _milliseconds(part.rows, "received_time_utc"))
        self._last = (sample_ms[-1:], received_ms[-1:])
        self._first_ms = int(sample_ms[0]) if self._first_ms is None else self._first_ms
        steps_ms = np.diff(sample_ms)
        gaps_ms = steps_ms[steps_ms > _GAP_MS]
        self._longest_ms = int(gaps_ms.max(initial=self._longest_ms))
        self._counts.update(
            readings=part.readings,
            exact_duplicates=part.readings - part.distinct,
            repeat_rows=int(np.count_nonzero(part.rows["repeat"].to_numpy())),
            backward_steps=int((np.diff(received_ms) < -_LATEST_DELIVERY_MS).sum()),
            gaps=len(gaps_ms),
        )
        self._sent.update(name for name in self._channels if part.rows[name].null_count < part.rows.num_rows)

    def stats(self) -> CarStats:
        """Return the stats; at least one row must have been added."""
        counts = self._counts
        return CarStats(
            clock=self._clock,
            readings=counts["readings"],
            exact_duplicates=counts["exact_duplicates"],
            repeat_rows=counts["repeat_rows"],
            backward_steps=None if self._clock.is_frozen else counts["backward_steps"],
            gaps=counts["gaps"],
            longest_gap_s=self._longest_ms / 1000 if counts["gaps"] else None,
            first_sample_ms=self._first_ms or 0,
            last_sample_ms=int(self._last[0][0]),
            channels=tuple(name for name in self._channels if name in self._sent),
        )


def _milliseconds(rows: pa.Table, name: str) -> np.ndarray:
    return rows[name].cast(pa.int64()).to_numpy()


def telemetry_cars_table(track: str, session: str, report: TelemetryReport) -> pa.Table:
    """Return the table ``telemetry_cars`` of a session: clock corrections and counts, one row per car."""
    sent_by_any = {channel for car in report.cars for channel in car.channels}
    return TELEMETRY_CARS.from_rows(
        [
            {"track": track, "session": session}
            | _row(car, sorted(sent_by_any.difference(car.channels)))
            | {"spellings": list(report.spellings.of(car.clock.vehicle_id))}
            for car in report.cars
        ]
    )


def _row(car: CarStats, missing: list[str]) -> dict[str, object]:
    chassis, _ = split_vehicle_id(car.clock.vehicle_id)
    return {
        "vehicle_id": car.clock.vehicle_id,
        "chassis": chassis,
        "clock_offset_s": car.clock.offset_s,
        "clock_spread_s": car.clock.spread_s,
        "clock_method": car.clock.method,
        "is_clock_frozen": car.clock.is_frozen,
        "readings": car.readings,
        "exact_duplicates": car.exact_duplicates,
        "repeat_rows": car.repeat_rows,
        "backward_steps": car.backward_steps,
        "gaps": car.gaps,
        "longest_gap_s": car.longest_gap_s,
        "first_sample_utc": car.first_sample_ms,
        "last_sample_utc": car.last_sample_ms,
        "channels": list(car.channels),
        "missing_channels": missing,
    }
