"""Writes official timing as the text of a sections file (``23_``), and reads it as the pipeline does."""

import io
from collections.abc import Sequence
from datetime import time

import pyarrow as pa

from apex_pipeline.errors import ApexError
from apex_pipeline.sources.base import FileIdentity, FileStatus
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.official_timing import official_laps_table, read_sections
from apex_pipeline.tables.model import Row

Cells = dict[str, str]
_SECTIONS_PATH = "spa/23_AnalysisEnduranceWithSections_Race 1.CSV"
_MINUTE_S = 60
_METRES = 4_000


def minutes(seconds: float) -> str:
    """Return a time as ``m:ss.fff``; minutes run past 59."""
    whole, rest = divmod(round(1000 * seconds), 1000 * _MINUTE_S)
    return f"{whole}:{rest // 1000:02d}.{rest % 1000:03d}"


def cells_of(rows: Sequence[Row]) -> list[Cells]:
    """Return the rows of official timing as the cells of a sections file, columns in their usual order."""
    return [_cells(row) for row in rows]


def _cells(row: Row) -> Cells:
    hour: time = row["crossing_local_time"]
    sectors = [row[f"s{sector}_s"] for sector in (1, 2, 3)]
    return {
        "NUMBER": row["car_number"],
        "DRIVER_NUMBER": "1",
        "LAP_NUMBER": str(row["lap_number"]),
        "LAP_TIME": minutes(row["lap_time_s"]),
        "LAP_IMPROVEMENT": "0",
        "CROSSING_FINISH_LINE_IN_PIT": "B" if row["is_finish_in_pit"] else "",
        **{f"S{sector}": f"{value:.3f}" for sector, value in enumerate(sectors, start=1)},
        "KPH": f"{3.6 * _METRES / max(row['lap_time_s'], 1):.1f}",
        "ELAPSED": minutes(row["elapsed_s"]),
        "HOUR": f"{hour:%H:%M:%S}.{hour.microsecond // 1000:03d}",
        **{f"S{sector}_LARGE": minutes(value) for sector, value in enumerate(sectors, start=1)},
        "TOP_SPEED": "200.0",
        "PIT_TIME": "",
        "CLASS": "Am",
        "GROUP": "",
        "MANUFACTURER": "Toyota",
        "FLAG_AT_FL": row["flag_at_finish"],
        **{f"S{sector}_SECONDS": f"{value:.3f}" for sector, value in enumerate(sectors, start=1)},
    }


def text_of(cells: Sequence[Cells]) -> str:
    """Return the text of a sections file."""
    names = list(cells[0]) if cells else ["NUMBER", "LAP_NUMBER", "LAP_TIME"]
    lines = [";".join(names), *(";".join(row.get(name, "") for name in names) for row in cells)]
    return "\n".join(lines) + "\n"


def read_cells(cells: Sequence[Cells]) -> pa.Table | None:
    """Return the table ``official_laps`` of a sections file with these cells; ``None`` if it is refused."""
    identity = FileIdentity(
        path=_SECTIONS_PATH,
        size=1,
        kind=FileKind.SECTIONS,
        track="spa",
        track_name="Spa",
        session="R1",
        season=None,
        event_code=None,
        version=None,
        rule="test",
        evidence=(),
        confidence=1.0,
        status=FileStatus.READY,
        reason=None,
    )
    try:
        parsed = read_sections(io.BytesIO(text_of(cells).encode()), identity)
    except ApexError:
        return None
    return official_laps_table("spa", "R1", [parsed])[0]
