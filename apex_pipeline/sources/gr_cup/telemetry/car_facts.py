"""What each car's readings are like: one row per car of the table ``telemetry_cars``.

Here belongs what can be counted on the wide rows of one car while they are in memory anyway, and the table made of it.
Not here: the clock's repair (``clocks``) and what the counts are worth (the scores of ``quality``).
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from apex_pipeline.schemas import TELEMETRY_CARS
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock, CarFacts, TelemetryReport
from apex_pipeline.sources.gr_cup.telemetry.widening import WideCar
from apex_pipeline.sources.gr_cup.vehicle_id import split_vehicle_id

# The slow channels come every 216 ms and real messages carry a quarter of a second, so ten slow samples are missing.
_HOLE_MS = 2_000
# Messages of the real cars come up to 52 s later than the median; a step back beyond that is no late delivery.
_LATEST_DELIVERY_MS = 60_000


def facts_of(clock: CarClock, car: WideCar, channels: Sequence[str]) -> CarFacts:
    """Count what one car's wide rows tell.

    Args:
        clock: The car and its clock.
        car: Its wide rows, in published order; at least one.
        channels: Channel columns of the session.
    """
    sample_ms = _milliseconds(car.rows, "sample_time_utc")
    received_ms = _milliseconds(car.rows, "received_time_utc")
    steps_ms = np.diff(sample_ms)
    holes_ms = steps_ms[steps_ms > _HOLE_MS]
    sent = [name for name in channels if car.rows[name].null_count < car.rows.num_rows]
    return CarFacts(
        clock=clock,
        readings=car.readings,
        exact_duplicates=car.readings - car.distinct,
        repeat_rows=int(np.count_nonzero(car.rows["repeat"].to_numpy())),
        backward_steps=None if clock.is_frozen else int((np.diff(received_ms) < -_LATEST_DELIVERY_MS).sum()),
        gaps=len(holes_ms),
        longest_gap_s=float(holes_ms.max()) / 1000 if len(holes_ms) else None,
        first_sample_ms=int(sample_ms[0]),
        last_sample_ms=int(sample_ms[-1]),
        channels=tuple(sent),
    )


def _milliseconds(rows: pa.Table, name: str) -> np.ndarray:
    return rows[name].cast(pa.int64()).to_numpy()


def telemetry_cars_table(track: str, session: str, report: TelemetryReport) -> pa.Table:
    """Return the table ``telemetry_cars`` of a session: clock corrections and counts, one row per car."""
    sent_by_any = {channel for car in report.cars for channel in car.channels}
    return TELEMETRY_CARS.from_rows(
        [
            {"track": track, "session": session} | _row(car, sorted(sent_by_any.difference(car.channels)))
            for car in report.cars
        ]
    )


def _row(car: CarFacts, missing: list[str]) -> dict[str, object]:
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


__all__ = ["facts_of", "telemetry_cars_table"]
