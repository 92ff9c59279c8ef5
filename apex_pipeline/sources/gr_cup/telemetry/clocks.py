"""When a reading was taken: the car's own clock is days off and sometimes stands still; the receive time is true.

A car's clock runs evenly while the car is on, so the median of receive time minus car time brings it to UTC, about a
second late (the way of the message). A clock that hardly moves while messages arrive is frozen; for such a car the
receive time is all there is.
"""

import duckdb

from apex_pipeline.sources.gr_cup.telemetry.loading import rows_of
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock

# A clock that moved less than a tenth of the time in which messages arrived stands still (two real cars: 0 ms in
# 45 minutes).
_FROZEN_SHARE = 0.1
# In less than this nothing can be said about standing still: one message holds up to a second of readings.
_SHORTEST_SPAN_MS = 10_000

_QUERY = """
SELECT vehicle_id,
       round(median(received_ms - car_ms)) AS offset_ms,
       quantile_cont(received_ms - car_ms, 0.95) - quantile_cont(received_ms - car_ms, 0.05) AS spread_ms,
       max(car_ms) - min(car_ms) AS car_span_ms,
       max(received_ms) - min(received_ms) AS received_span_ms
FROM reading WHERE problem IS NULL GROUP BY vehicle_id ORDER BY vehicle_id
"""


def measure_clocks(connection: duckdb.DuckDBPyConnection) -> list[CarClock]:
    """Return how far off each car's clock is, sorted by car."""
    return [
        CarClock(
            vehicle_id=car,
            offset_s=offset_ms / 1000,
            spread_s=spread_ms / 1000,
            is_frozen=received_span > _SHORTEST_SPAN_MS and car_span < _FROZEN_SHARE * received_span,
        )
        for car, offset_ms, spread_ms, car_span, received_span in rows_of(connection, _QUERY)
    ]


__all__ = ["measure_clocks"]
