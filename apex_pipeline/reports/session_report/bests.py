"""Writes best laps and best sectors, and the lap that the best sectors would make."""

from collections.abc import Sequence

from apex_pipeline.reports.markup import Column, element, missing, name, paragraph, section, table
from apex_pipeline.reports.session_report.cars import CarNames
from apex_pipeline.reports.session_report.facts import SessionFacts
from apex_pipeline.reports.session_report.numbers import count, decimals, known, lap
from apex_pipeline.tables.model import Row

_SECTORS = ("best_s1_s", "best_s2_s", "best_s3_s")
_COLUMNS = (
    Column("Car", is_text=True),
    Column("Best lap"),
    Column("in lap"),
    Column("Gap, s"),
    Column("S1, s"),
    Column("S2, s"),
    Column("S3, s"),
    Column("Best sectors"),
    Column("to win, s"),
)
_ABOUT = (
    "Bold: the best of all. Best sectors: the lap that a car's best sectors would make; to win: its best lap minus "
    "that. Laps that end in the pits do not count."
)


def bests_section(facts: SessionFacts, names: CarNames) -> str:
    """Return the section, or the reason why there is none."""
    title = "Best laps and sectors"
    if not facts.sectors:
        return section("bests", title, missing("No car has a lap that counts."))
    best = {column: _least(facts.sectors, column) for column in ("best_lap_time_s", *_SECTORS)}
    rows = [_cells(row, best, names) for row in facts.sectors]
    said = paragraph(_ABOUT, "m") + paragraph(_sectors_note(facts.sectors, names), "m")
    return section("bests", title, table("Best laps and sectors of each car", _COLUMNS, rows), said)


def _least(rows: Sequence[Row], column: str) -> float | None:
    return min((row[column] for row in rows if row[column] is not None), default=None)


def _cells(row: Row, best: dict[str, float | None], names: CarNames) -> list[str]:
    best_lap_s, theoretical_s = row["best_lap_time_s"], row["theoretical_best_s"]
    least_s = best["best_lap_time_s"]
    to_win_s = None if best_lap_s is None or theoretical_s is None else best_lap_s - theoretical_s
    return [
        name(names.of(row)),
        _bold(lap(best_lap_s), is_best=best_lap_s is not None and best_lap_s == least_s),
        known(row["best_lap_number"]),
        decimals(None if best_lap_s is None or least_s is None else best_lap_s - least_s, 3),
        *(
            _bold(decimals(row[name], 3), is_best=row[name] is not None and row[name] == best[name])
            for name in _SECTORS
        ),
        lap(theoretical_s),
        decimals(to_win_s, 3).replace("-", "\u2212"),
    ]


def _bold(cell: str, *, is_best: bool) -> str:
    return element("b", cell) if is_best else cell


def _sectors_note(rows: Sequence[Row], names: CarNames) -> str:
    laps, with_sectors = sum(row["laps"] for row in rows), sum(row["laps_with_sectors"] for row in rows)
    if not with_sectors:
        return "No lap has sector times."
    if with_sectors == laps:
        return ""
    slower = [names.of(row) for row in rows if _is_slower(row)]
    note = f"{count(laps - with_sectors, 'lap')} of {laps:,} {'lacks' if laps - with_sectors == 1 else 'lack'} sectors"
    for_whom = ", ".join(slower) or "no car"
    return f"{note}: the best sectors may be slower than a best lap that has none. So it is for {for_whom}."


def _is_slower(row: Row) -> bool:
    return None not in {row["theoretical_best_s"], row["best_lap_time_s"]} and (
        row["theoretical_best_s"] > row["best_lap_time_s"]
    )
