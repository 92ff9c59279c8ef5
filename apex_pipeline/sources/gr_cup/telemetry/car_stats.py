"""Counts readings, gaps and channels per car, for the table ``telemetry_cars``.

The counts are taken while the pivoted rows of a car are in memory. See ``clocks`` for the clock correction and
``quality/scores.py`` for the scores derived from the counts.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from apex_pipeline.sources.gr_cup.parsing import split_vehicle_id
from apex_pipeline.sources.gr_cup.telemetry.arrow_arrays import values_of
from apex_pipeline.sources.gr_cup.telemetry.clock_pieces import EXPLAINED_MS
from apex_pipeline.sources.gr_cup.telemetry.holes import HOLE_MS, HoleFinder, telemetry_holes_table
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
        most_holes: Holes listed one by one, the first ones.
    """

    def __init__(self, clock: CarClock, channels: Sequence[str], most_holes: int) -> None:
        self._clock = clock
        self._channels = channels
        self._sent: set[str] = set()
        self._holes = HoleFinder(is_frozen=clock.is_frozen, most=most_holes)
        self._residual_ms = [0] * len(clock.pieces)
        self._counts: Counter[str] = Counter()
        self._longest_ms = 0
        self._first_ms: int | None = None
        # Sample and receive time of the last row, for the step to the next part. Shape (1,) each.
        self._last = (np.empty(0, np.int64), np.empty(0, np.int64))

    def add(self, part: PivotedRows) -> None:
        """Add a part; parts come in chronological order."""
        self._holes.add(_milliseconds(part.rows, "sample_time_utc"), part.rows["lap_number"])
        sample_ms = np.append(self._last[0], _milliseconds(part.rows, "sample_time_utc"))
        received_ms = np.append(self._last[1], _milliseconds(part.rows, "received_time_utc"))
        self._last = (sample_ms[-1:], received_ms[-1:])
        self._first_ms = int(sample_ms[0]) if self._first_ms is None else self._first_ms
        unexplained = self._compare(part)
        steps_ms = np.diff(sample_ms)
        gaps_ms = steps_ms[steps_ms > _GAP_MS]
        self._longest_ms = int(gaps_ms.max(initial=self._longest_ms))
        self._counts.update(
            readings=part.readings,
            exact_duplicates=part.readings - part.distinct,
            repeat_rows=int(np.count_nonzero(values_of(part.rows["repeat"]))),
            backward_steps=int((np.diff(received_ms) < -_LATEST_DELIVERY_MS).sum()),
            unexplained_rows=unexplained,
            gaps=len(gaps_ms),
            short_gaps=int(np.count_nonzero((steps_ms > HOLE_MS) & (steps_ms <= _GAP_MS))),
        )
        self._sent.update(name for name in self._channels if part.rows[name].null_count < part.rows.num_rows)

    def _compare(self, part: PivotedRows) -> int:
        """Compare receive and sample times; return how many rows are not explained."""
        car_ms, received_ms = (_milliseconds(part.rows, name) for name in ("car_time", "received_time_utc"))
        index = self._clock.pieces_of(car_ms, received_ms)
        unexplained_ms = self._clock.unexplained_ms(index, car_ms, received_ms)
        for number, residual_ms in enumerate(self._residual_ms):
            self._residual_ms[number] = int(unexplained_ms[index == number].max(initial=residual_ms))
        return int(np.count_nonzero(unexplained_ms > EXPLAINED_MS))

    def stats(self) -> CarStats:
        """Return the stats; at least one row must have been added."""
        counts = self._counts
        return CarStats(
            clock=self._clock,
            readings=counts["readings"],
            exact_duplicates=counts["exact_duplicates"],
            repeat_rows=counts["repeat_rows"],
            backward_steps=None if self._clock.is_frozen else counts["backward_steps"],
            unexplained_rows=counts["unexplained_rows"],
            residual_ms=tuple(self._residual_ms),
            gaps=counts["gaps"],
            short_gaps=counts["short_gaps"],
            longest_gap_s=self._longest_ms / 1000 if counts["gaps"] else None,
            holes=self._holes.holes(),
            first_sample_ms=self._first_ms or 0,
            last_sample_ms=int(self._last[0][0]),
            channels=tuple(name for name in self._channels if name in self._sent),
        )


def _milliseconds(rows: pa.Table, name: str) -> np.ndarray:
    return values_of(rows[name].cast(pa.int64()))


def telemetry_cars_table(track: str, session: str, report: TelemetryReport) -> pa.Table:
    """Return the table ``telemetry_cars`` of a session: clocks and counts, one row per car and piece of its clock."""
    sent_by_any = {channel for car in report.cars for channel in car.channels}
    return TELEMETRY_CARS.from_rows(
        [
            {"track": track, "session": session}
            | _row(car, sorted(sent_by_any.difference(car.channels)))
            | {"spellings": list(report.spellings.of(car.clock.vehicle_id))}
            | piece
            for car in report.cars
            for piece in _pieces(car)
        ]
    )


def holes_table(track: str, session: str, report: TelemetryReport) -> pa.Table:
    """Return the table ``telemetry_holes`` of a session: one row per hole of more than half a second."""
    return telemetry_holes_table(track, session, [(car.clock.vehicle_id, car.holes) for car in report.cars])


def _pieces(car: CarStats) -> Iterator[dict[str, object]]:
    """Yield the columns about each piece of a car's clock."""
    for number, (piece, residual_ms) in enumerate(zip(car.clock.pieces, car.residual_ms, strict=True), start=1):
        has_laps = piece.lap_offset_ms is not None
        span = (piece.first_car_ms + piece.offset_ms, piece.last_car_ms + piece.offset_ms)
        start_ms, end_ms = (car.first_sample_ms, car.last_sample_ms) if car.clock.is_frozen else span
        yield {
            "clock_piece": number,
            "piece_start_utc": start_ms,
            "piece_end_utc": end_ms,
            "clock_offset_s": piece.offset_ms / 1000,
            "clock_spread_s": piece.spread_ms / 1000,
            "clock_method": "received" if car.clock.is_frozen else "lap_change" if has_laps else "lower_edge",
            "clock_edge_offset_s": None if car.clock.is_frozen else piece.edge_offset_ms / 1000,
            "clock_lap_offset_s": _seconds(piece.lap_offset_ms),
            "clock_offsets_differ_s": _seconds(piece.edge_offset_ms - (piece.lap_offset_ms or 0) if has_laps else None),
            "clock_lap_changes": piece.lap_changes,
            "clock_lap_residual_s": _seconds(piece.lap_residual_ms),
            "clock_residual_s": residual_ms / 1000,
        }


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _row(car: CarStats, missing: list[str]) -> dict[str, object]:
    chassis, _ = split_vehicle_id(car.clock.vehicle_id)
    return {
        "vehicle_id": car.clock.vehicle_id,
        "chassis": chassis,
        "is_clock_frozen": car.clock.is_frozen,
        "readings": car.readings,
        "exact_duplicates": car.exact_duplicates,
        "repeat_rows": car.repeat_rows,
        "backward_steps": car.backward_steps,
        "unexplained_rows": car.unexplained_rows,
        "gaps": car.gaps,
        "short_gaps": car.short_gaps,
        "longest_gap_s": car.longest_gap_s,
        "first_sample_utc": car.first_sample_ms,
        "last_sample_utc": car.last_sample_ms,
        "channels": list(car.channels),
        "missing_channels": missing,
    }
