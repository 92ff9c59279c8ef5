"""Writes the official timing of a synthetic race as CSV text whose cells can be damaged, and derives laps from it."""

import io
from collections.abc import Callable, Sequence

import pandas as pd

from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.official_rows import ParsedFile
from apex_pipeline.sources.gr_cup.official_timing import official_laps_table, read_sections
from apex_pipeline_tests.sources.gr_cup.lap_builder import identity
from apex_pipeline_tests.sources.gr_cup.laps.race_builder import RaceCar, derive, triggers_of

Cells = list[dict[str, str]]


def as_minutes(seconds: float) -> str:
    """Return ``m:ss.fff``."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 60_000}:{milliseconds % 60_000 / 1000:06.3f}"


def as_clock(seconds: float) -> str:
    """Return ``HH:MM:SS.fff``."""
    hours, rest = divmod(seconds % 86_400, 3600)
    return f"{int(hours):02}:{int(rest // 60):02}:{rest % 60:06.3f}"


def cells_of(cars: Sequence[RaceCar], *, green_s: float = 13.7 * 3600) -> Cells:
    """Return the rows of all cars; ``green_s`` is the official time of day of the green flag."""
    rows: Cells = []
    for car in sorted(cars, key=lambda car: car.number):
        before = 0.0
        for lap, end in enumerate(car.crossings_s[1:], start=1):
            time_s = round(end - before, 3)
            first, second = round(time_s * 0.3, 3), round(time_s * 0.33, 3)
            rows.append(
                {
                    "NUMBER": car.number,
                    "LAP_NUMBER": str(lap),
                    "LAP_TIME": as_minutes(time_s),
                    "ELAPSED": as_minutes(end),
                    "HOUR": as_clock(green_s + end),
                    "S1_SECONDS": f"{first:.3f}",
                    "S2_SECONDS": f"{second:.3f}",
                    "S3_SECONDS": f"{time_s - first - second:.3f}",
                }
            )
            before = end
    return rows


def parse(cells: Cells) -> ParsedFile:
    """Return the rows as read from a file."""
    lines = [";".join(cells[0]), *(";".join(row.values()) for row in cells)]
    return read_sections(io.BytesIO("\n".join(lines).encode()), identity(FileKind.SECTIONS))


def laps_with(cars: Sequence[RaceCar], cells: Cells, zone: str | None = "America/Chicago") -> pd.DataFrame:
    """Return the laps of the race with this official timing."""
    table, _ = official_laps_table("spa", "R1", [parse(cells)])
    return derive(triggers_of(cars), table, zone).laps.to_pandas()


def change(cells: Cells, index: int, column: str, rewrite: Callable[[str], str]) -> Cells:
    """Return the rows with one cell rewritten."""
    return [{**row, column: rewrite(row[column])} if at == index else dict(row) for at, row in enumerate(cells)]


def change_column(cells: Cells, column: str, rewrite: Callable[[str], str]) -> Cells:
    """Return the rows with every cell of a column rewritten."""
    return [{**row, column: rewrite(row[column])} for row in cells]


def true_times(cars: Sequence[RaceCar]) -> dict[tuple[str, int], float]:
    """Return the true lap times by unit and lap; lap 1 counts from the green flag."""
    return {
        (car.unit, lap): round(end - (car.crossings_s[lap - 1] if lap > 1 else 0.0), 3)
        for car in cars
        for lap, end in enumerate(car.crossings_s)
        if lap
    }
