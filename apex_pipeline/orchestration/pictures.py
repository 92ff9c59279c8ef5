"""Draws the pictures that the pages of tables show; see ``reports`` for the drawings themselves.

They are made by the step that writes the table, once its blocking checks have passed, and stored with its
materialization.
"""

from collections.abc import Callable, Mapping

import dagster as dg

from apex_pipeline.orchestration.checks import SessionTables
from apex_pipeline.reports.lap_times import draw_lap_times
from apex_pipeline.reports.quality import draw_quality
from apex_pipeline.reports.svg import MAX_BYTES, fits
from apex_pipeline.reports.telemetry import draw_speed_trace, draw_track_map, fastest_lap_samples
from apex_pipeline.tables import LAPS, QUALITY, TELEMETRY
from apex_pipeline.tables.model import Table

_Pictures = dict[str, str | None]


def pictures_of(table: Table, tables: SessionTables) -> dict[str, dg.MetadataValue[str]]:
    """Return the pictures of a table by their name, or why one is left out; none if there is nothing to draw.

    Args:
        table: The table.
        tables: The tables of the session.
    """
    draw = _DRAWN.get(table.name)
    if draw is None:
        return {}
    return {name: _metadata(picture) for name, picture in draw(tables).items() if picture}


def _metadata(picture: str) -> dg.MetadataValue[str]:
    if fits(picture):
        return dg.MetadataValue.md(picture)
    size = f"{len(picture.encode()):,} bytes, and at most {MAX_BYTES:,} are stored"
    return dg.MetadataValue.text(f"The picture is left out: it has {size}.")


def _of_laps(tables: SessionTables) -> _Pictures:
    return {"lap_times": draw_lap_times(tables.read(LAPS))}


def _of_telemetry(tables: SessionTables) -> _Pictures:
    if not tables.has(LAPS):
        return {}
    with tables.open(TELEMETRY) as path:
        samples = fastest_lap_samples(path, tables.read(LAPS))
    if samples is None:
        return {}
    return {"speed_trace": draw_speed_trace(samples), "track_map": draw_track_map(samples)}


def _of_quality(tables: SessionTables) -> _Pictures:
    return {"scores": draw_quality(tables.read(QUALITY))}


_DRAWN: Mapping[str, Callable[[SessionTables], _Pictures]] = {
    LAPS.name: _of_laps,
    TELEMETRY.name: _of_telemetry,
    QUALITY.name: _of_quality,
}
