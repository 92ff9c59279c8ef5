"""When a reading was taken: the car's own clock is days off and sometimes stands still; the receive time is true.

A car's clock runs evenly while the car is on, so the median of receive time minus car time brings it to UTC, about a
second late (the way of the message). A clock that hardly moves while messages arrive is frozen; for such a car the
receive time is all there is.

All figures come from counts of equal times, which DuckDB can spill; its own median holds every reading in memory.
"""

import duckdb

from apex_pipeline.sources.gr_cup.telemetry.loading import rows_of
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock

# A running clock shows a new time about every 20 ms and a message arrives about every 300 ms. A clock that shows fewer
# than one time in ten messages stands still, whatever single stray time is among them (two real cars: one time in
# 45 minutes).
_MESSAGES_PER_TIME = 10
# In less than this nothing can be said about standing still: one message holds up to a second of readings.
_SHORTEST_SPAN_MS = 10_000

_FRAMES = """
CREATE OR REPLACE TEMP TABLE frame AS
SELECT vehicle_id, car_ms, received_ms, count(*) AS readings FROM reading WHERE problem IS NULL GROUP BY ALL
"""

_QUERY = """
WITH late AS (
    SELECT vehicle_id, received_ms - car_ms AS late_ms, sum(readings) AS readings FROM frame GROUP BY ALL),
ranked AS (
    SELECT vehicle_id, late_ms, sum(readings) OVER (PARTITION BY vehicle_id ORDER BY late_ms) AS so_far,
           sum(readings) OVER (PARTITION BY vehicle_id) AS total FROM late),
clock AS (
    SELECT vehicle_id,
           round((min(late_ms) FILTER (2 * so_far >= total) + min(late_ms) FILTER (2 * so_far > total)) / 2) AS median,
           min(late_ms) FILTER (so_far >= 0.95 * total) - min(late_ms) FILTER (so_far >= 0.05 * total) AS spread
    FROM ranked GROUP BY vehicle_id),
car AS (SELECT vehicle_id, count(DISTINCT car_ms) AS times FROM frame GROUP BY vehicle_id),
received AS (
    SELECT vehicle_id, count(DISTINCT received_ms) AS times, max(received_ms) - min(received_ms) AS span
    FROM frame GROUP BY vehicle_id)
SELECT vehicle_id, clock.median, clock.spread, car.times, received.times, received.span
FROM clock JOIN car USING (vehicle_id) JOIN received USING (vehicle_id) ORDER BY vehicle_id
"""


def measure_clocks(connection: duckdb.DuckDBPyConnection) -> list[CarClock]:
    """Return how far off each car's clock is, sorted by car."""
    connection.execute(_FRAMES)
    return [
        CarClock(
            vehicle_id=car,
            offset_s=offset_ms / 1000,
            spread_s=spread_ms / 1000,
            is_frozen=span_ms > _SHORTEST_SPAN_MS and car_times <= max(messages / _MESSAGES_PER_TIME, 1),
        )
        for car, offset_ms, spread_ms, car_times, messages, span_ms in rows_of(connection, _QUERY)
    ]


__all__ = ["measure_clocks"]
