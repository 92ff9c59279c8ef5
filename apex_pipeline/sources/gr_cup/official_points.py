"""Reads the intermediate points of official laps: times between the sectors, in pairs of columns of a ``23_`` file.

See ``official_timing.py`` for the laps they belong to.
"""

import re
from collections.abc import Mapping, Sequence

import pyarrow as pa

from apex_pipeline.sources.parsing import parse_duration_s
from apex_pipeline.tables import OFFICIAL_POINTS
from apex_pipeline.tables.model import Row

# IM1a_time and IM1a_elapsed, INT-1_time …; PIT_TIME and LAP_TIME have no elapsed time and are not points.
_POINT = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,19})_elapsed", re.IGNORECASE | re.ASCII)

# Name of the point, time since the point before it, time since the start of the lap; seconds.
Point = tuple[str, float | None, float | None]


def point_columns(header: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the columns of time and elapsed time of each point, in the order they are driven."""
    by_name = {name.lower(): name for name in header}
    found = [match for match in map(_POINT.fullmatch, header) if match]
    return {match[1]: (by_name.get(f"{match[1]}_time".lower(), ""), match[0]) for match in found}


def points_of(values: Mapping[str, str], columns: Mapping[str, tuple[str, str]]) -> list[Point]:
    """Return the points of a row that have a time; a cell that cannot be parsed is null and costs only itself."""
    points = [
        (point, parse_duration_s(values.get(time, "")), parse_duration_s(values.get(elapsed, "")))
        for point, (time, elapsed) in columns.items()
    ]
    return [point for point in points if point[1:] != (None, None)]


def official_points_table(track: str, session: str, laps: Sequence[Row], order: Sequence[str]) -> pa.Table:
    """Return the table ``official_points`` of a session.

    Args:
        track: Track slug.
        session: Session name.
        laps: Rows of its official laps, with their ``points``.
        order: Names of the points in the order they are driven.
    """
    position = {point: number for number, point in enumerate(order, start=1)}
    lap_columns = ("car_number", "entry", "lap_number", "source_file", "source_row")
    rows: list[Row] = [
        {
            "track": track,
            "session": session,
            **{name: lap[name] for name in lap_columns},
            "point": point,
            "point_order": position[point],
            "time_s": time_s,
            "elapsed_s": elapsed_s,
        }
        for lap in laps
        for point, time_s, elapsed_s in lap.get("points", ())
    ]
    return OFFICIAL_POINTS.from_rows(sorted(rows, key=lambda row: [row[name] for name in OFFICIAL_POINTS.sort_by]))
