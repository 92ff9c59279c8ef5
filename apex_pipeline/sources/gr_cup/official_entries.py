"""Assigns official laps to cars: several may carry one printed number, and a row may be written twice.

See ``official_timing.py`` for reading the rows.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.official_rows import ParsedFile, reject_row
from apex_pipeline.tables.model import Row


def number_entries(rows: list[Row]) -> None:
    """Set ``entry`` to 1, 2 … for the cars that share a printed number (03 and 3 are anonymised to the same number).

    Their laps are in consecutive blocks: a new car starts where the lap number falls back to the first of the block. A
    row written twice under one number has the same ELAPSED, and is the same car's.
    """
    laps = Counter((row["car_number"], row["lap_number"]) for row in rows)
    shared = {number for (number, _), rows_of_lap in laps.items() if rows_of_lap > 1}
    first: dict[str, Row] = {}
    last_lap: dict[str, int] = {}
    entry: Counter[str] = Counter()
    for row in rows:
        number, lap = row["car_number"], row["lap_number"]
        block = first.get(number)
        is_restart = block is not None and lap <= min(block["lap_number"], last_lap[number]) and number in shared
        is_copy = block is not None and row["elapsed_s"] is not None and row["elapsed_s"] == block["elapsed_s"]
        if block is None or (is_restart and not is_copy):
            entry[number] += 1
            first[number] = row
        last_lap[number] = lap
        row["entry"] = entry[number]


def without_copies(parsed: ParsedFile) -> ParsedFile:
    """Reject rows that repeat a lap of their car under another lap number: ELAPSED, HOUR and its time are the same."""
    by_car: defaultdict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in parsed.rows:
        by_car[row["car_number"], row["entry"]].append(row)
    copies = {id(row) for of_car in by_car.values() for row in _copies(of_car)}
    rejected = [
        reject_row(row, FileKind.SECTIONS, "repeated_crossing", "ELAPSED, HOUR and lap time of another lap of this car")
        for row in parsed.rows
        if id(row) in copies
    ]
    rows = [row for row in parsed.rows if id(row) not in copies]
    return replace(parsed, rows=rows, rejects=[*parsed.rejects, *rejected])


def _copies(of_car: Sequence[Row]) -> list[Row]:
    """Return the copies among the rows of a car."""
    groups: defaultdict[tuple[object, object], list[Row]] = defaultdict(list)
    for row in of_car:
        if row["elapsed_s"] is not None and row["crossing_local_time"] is not None:
            groups[row["elapsed_s"], row["crossing_local_time"]].append(row)
    # The same lap twice is no copy; merging handles it.
    repeated = [group for group in groups.values() if len({row["lap_number"] for row in group}) > 1]
    if not repeated:
        return []
    elapsed = sorted({row["elapsed_s"] for row in of_car if row["elapsed_s"] is not None})
    first = min(row["lap_number"] for row in of_car)
    # A race of 24 hours has thousands of rows, so a lap's place is looked up and not searched for.
    lap_at = {value: first + place for place, value in enumerate(elapsed)}
    return [row for group in repeated for row in _copies_of_lap(group, lap_at[group[0]["elapsed_s"]])]


def _copies_of_lap(group: Sequence[Row], lap: int) -> list[Row]:
    """Return the rows with one crossing that have the time of another one, whose number is nearer to its lap.

    Rows with different times are different laps; a crossing was typed into the wrong one, which the cars' own tell.

    Args:
        group: Rows with the same ELAPSED and HOUR.
        lap: The lap that the order of ELAPSED says this crossing ends.
    """
    copies: list[Row] = []
    seen = set[tuple[float, ...]]()
    for row in sorted(group, key=lambda row: abs(row["lap_number"] - lap)):
        times = _times_of(row)
        if not seen.isdisjoint(times):
            copies.append(row)
        seen |= times
    return copies


def _times_of(row: Row) -> set[tuple[float, ...]]:
    """Return the lap time and the sectors of a row, which a copy shares even if one cell of it was changed."""
    sectors = (row["s1_s"], row["s2_s"], row["s3_s"])
    return {(row["lap_time_s"],)} if None in sectors else {(row["lap_time_s"],), sectors}


def add_classified_times(laps: Sequence[ParsedFile], results: Sequence[ParsedFile]) -> None:
    """Note FL_TIME of the classification at the laps that are a car's fastest there.

    Cars that share a printed number are left out: the classification does not distinguish them.

    Args:
        laps: The files of official laps; changed in place.
        results: The classifications.
    """
    order = {"official": 2, "unstated": 1, "provisional": 0}
    rows = sorted((row for part in results for row in part.rows), key=lambda row: order.get(row["version"], 0))
    of_version = Counter((row["source_file"], row["car_number"]) for row in rows)
    shared = {number for (_, number), count in of_version.items() if count > 1}
    best = {(row["car_number"], row["best_lap_number"]): row["best_lap_time_s"] for row in rows}
    numbers = {row["car_number"]: row["best_lap_number"] for row in rows}
    for row in (row for part in laps for row in part.rows):
        number, lap = row["car_number"], row["lap_number"]
        if number not in shared and row["entry"] == 1 and numbers.get(number) == lap:
            row["classified_lap_time_s"] = best[number, lap]
