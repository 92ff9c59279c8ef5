"""Reads the cars from the table ``official_laps``, and separates cars that are printed with the same number.

The cars' own data is not used here; see ``identity.py`` for matching devices to these cars.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pyarrow as pa

from apex_pipeline.sources.gr_cup.laps.official_check import (
    CellTimes,
    check_cells,
    has_lap_time,
    session_start_ms,
)
from apex_pipeline.sources.gr_cup.laps.official_frame import place_crossings


@dataclass(frozen=True)
class OfficialLap:
    """One lap of official timing.

    Attributes:
        number: Lap number.
        time_s: Lap time that most of its cells state, seconds.
        local_ms: Crossing that ends it, milliseconds since local midnight of the session's first day; ``None`` if
            official timing does not have it.
        row: Its row of ``official_laps``.
        times: All lap times that its cells state.
    """

    number: int
    time_s: float
    local_ms: int | None
    row: Mapping[str, object] = field(compare=False, repr=False)
    times: CellTimes = field(compare=False, repr=False)

    @property
    def printed_s(self) -> float:
        """LAP_TIME as official timing states it, seconds."""
        return float(str(self.row["lap_time_s"]))


@dataclass(frozen=True)
class OfficialCar:
    """A car of official timing.

    Attributes:
        printed: Number as printed.
        entry: 1, 2 … if several cars are printed with the same number.
        number: Its real number: 03 if anonymisation turned it into 3.
        laps: Its laps, sorted by number.
    """

    printed: str
    entry: int
    number: str
    laps: tuple[OfficialLap, ...]

    @property
    def timed(self) -> tuple[OfficialLap, ...]:
        """Laps whose crossing has a time of day."""
        return tuple(lap for lap in self.laps if lap.local_ms is not None)


def read_official_cars(official_laps: pa.Table | None) -> list[OfficialCar]:
    """Return the cars of the table ``official_laps``, sorted by number and entry; empty without a table.

    Rows without a lap time, which only tables of older releases have, are left out.
    """
    rows: defaultdict[tuple[str, int], list[dict[str, object]]] = defaultdict(list)
    for row in official_laps.to_pylist() if official_laps is not None else []:
        if has_lap_time(row):
            rows[row["car_number"], row["entry"]].append(row)
    start_ms = session_start_ms([row for of_car in rows.values() for row in of_car])
    first_rows = {key: min(int(str(row["source_row"])) for row in of_car) for key, of_car in rows.items()}
    numbers = _real_numbers(sorted(rows, key=lambda key: first_rows[key]))
    return [OfficialCar(*key, number=numbers[key], laps=_laps(rows[key], start_ms)) for key in sorted(rows)]


def _laps(rows: Sequence[Mapping[str, object]], start_ms: int | None) -> tuple[OfficialLap, ...]:
    ordered = sorted(rows, key=lambda row: int(str(row["lap_number"])))
    times = check_cells(ordered, start_ms)
    local_ms = place_crossings(ordered, times, start_ms)
    return tuple(
        OfficialLap(int(str(row["lap_number"])), of_lap.best_s, crossing_ms, row, of_lap)
        for row, of_lap, crossing_ms in zip(ordered, times, local_ms, strict=True)
    )


def _real_numbers(in_file_order: Sequence[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Return the real numbers of all entries, inferred from their order in the file.

    The file is sorted as text by the original number, before anonymisation turned 03 into 3. So of two entries with the
    same printed number, the first has an extra leading zero. If the numbers restored this way are not in order, every
    car keeps its printed number.
    """
    entries = {
        printed: max(entry for other, entry in in_file_order if other == printed) for printed, _ in in_file_order
    }
    restored = {
        (printed, entry): printed.rjust(len(printed) + entries[printed] - entry, "0")
        for printed, entry in in_file_order
    }
    is_in_order = all(restored[before] <= restored[after] for before, after in pairwise(in_file_order))
    return restored if is_in_order else {key: key[0] for key in in_file_order}
