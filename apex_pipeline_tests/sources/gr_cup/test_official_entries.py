"""Rows written twice are found in one pass, however many laps a race has."""

from datetime import time
from typing import Any

from apex_pipeline.sources.gr_cup.official_entries import without_copies
from apex_pipeline.sources.gr_cup.official_rows import ParsedFile
from apex_pipeline.tables.model import Row


class _CountedRow(Row):
    """A row that counts how often its cells are read."""

    reads = 0

    def __getitem__(self, name: str) -> Any:
        type(self).reads += 1
        return super().__getitem__(name)


def _row(lap: int, crossing: int) -> Row:
    at = time(crossing // 3600 % 24, crossing // 60 % 60, crossing % 60)
    cells = {"car_number": "7", "entry": 1, "lap_number": lap, "lap_time_s": float(crossing)}
    sectors = dict.fromkeys(("s1_s", "s2_s", "s3_s"))
    times = {"elapsed_s": float(crossing), "crossing_local_time": at}
    return _CountedRow({**cells, **sectors, **times, "source_file": "spa/23.CSV", "source_row": lap + 1})


def _reads(laps: int) -> int:
    """Return how many cells are read of a car that has every lap twice, under another number."""
    rows = [_row(lap, lap) for lap in range(1, laps + 1)]
    rows += [_row(laps + lap, lap) for lap in range(1, laps + 1)]
    _CountedRow.reads = 0
    found = without_copies(ParsedFile(rows, []))
    assert (len(found.rows), len(found.rejects)) == (laps, laps)
    return _CountedRow.reads


def test_copies_in_twice_as_many_laps_cost_twice_as_much() -> None:
    assert _reads(400) < 2.1 * _reads(200)


def test_many_laps_with_one_crossing_cost_as_much_as_others() -> None:
    rows = [_row(lap, 60) for lap in range(1, 401)]
    for lap, row in enumerate(rows, start=1):
        row["lap_time_s"] = float(lap)
    _CountedRow.reads = 0
    assert len(without_copies(ParsedFile(rows, [])).rows) == 400
    assert _CountedRow.reads < 20 * 400
