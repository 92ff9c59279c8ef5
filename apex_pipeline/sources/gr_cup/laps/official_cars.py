"""Reads the cars from the table ``official_laps``, and separates cars that are printed with the same number.

The cars' own data is not used here; see ``identity.py`` for matching devices to these cars.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import time
from itertools import accumulate, pairwise

import pyarrow as pa

_DAY_MS = 86_400_000
_HALF_DAY_MS = _DAY_MS // 2


@dataclass(frozen=True)
class OfficialLap:
    """One lap of official timing.

    Attributes:
        number: Lap number.
        time_s: Lap time, seconds.
        local_ms: Crossing that ends it, milliseconds since local midnight of the first lap's day; ``None`` if official
            timing does not have it.
        row: Its row of ``official_laps``.
    """

    number: int
    time_s: float
    local_ms: int | None
    row: Mapping[str, object] = field(compare=False, repr=False)


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
    """Return the cars of the table ``official_laps``, sorted by number and entry; empty without a table."""
    rows: defaultdict[tuple[str, int], list[dict[str, object]]] = defaultdict(list)
    for row in official_laps.to_pylist() if official_laps is not None else []:
        rows[row["car_number"], row["entry"]].append(row)
    first_rows = {key: min(int(str(row["source_row"])) for row in of_car) for key, of_car in rows.items()}
    numbers = _real_numbers(sorted(rows, key=lambda key: first_rows[key]))
    return [OfficialCar(*key, number=numbers[key], laps=_laps(rows[key])) for key in sorted(rows)]


def _laps(rows: Sequence[Mapping[str, object]]) -> tuple[OfficialLap, ...]:
    ordered = sorted(rows, key=lambda row: int(str(row["lap_number"])))
    local_ms = _unwrap_midnight([_milliseconds(row["crossing_local_time"]) for row in ordered])
    return tuple(
        OfficialLap(int(str(row["lap_number"])), float(str(row["lap_time_s"])), crossing_ms, row)
        for row, crossing_ms in zip(ordered, local_ms, strict=True)
    )


def _milliseconds(value: object) -> int | None:
    if not isinstance(value, time):
        return None
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1000 + value.microsecond // 1000


def _unwrap_midnight(times_ms: Sequence[int | None]) -> list[int | None]:
    """Return the times with a day added after midnight, detected as a decrease of more than half a day."""
    known = [value for value in times_ms if value is not None]
    days = accumulate([0, *(int(before - after > _HALF_DAY_MS) for before, after in pairwise(known))])
    shifted = iter([value + day * _DAY_MS for value, day in zip(known, days, strict=False)])
    return [None if value is None else next(shifted) for value in times_ms]


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
