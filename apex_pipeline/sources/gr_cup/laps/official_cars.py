"""Official laps by car: the table ``official_laps`` read into cars, cars that are printed alike told apart.

Here belongs what official timing says and nothing of the cars' own data.
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
        local_ms: Crossing that ends it, milliseconds since local midnight of the first lap's day; ``None`` if not told.
        row: The whole row of ``official_laps``.
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
        entry: 1, 2 … where several cars are printed alike.
        number: The number it truly has: 03 where anonymising made 3 of it.
        laps: Its laps by number.
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
    """Return the cars of the table ``official_laps``, by number and entry; none without a table."""
    rows: defaultdict[tuple[str, int], list[dict[str, object]]] = defaultdict(list)
    for row in official_laps.to_pylist() if official_laps is not None else []:
        rows[row["car_number"], row["entry"]].append(row)
    first_rows = {key: min(int(str(row["source_row"])) for row in of_car) for key, of_car in rows.items()}
    numbers = _true_numbers(sorted(rows, key=lambda key: first_rows[key]))
    return [OfficialCar(*key, number=numbers[key], laps=_laps(rows[key])) for key in sorted(rows)]


def _laps(rows: Sequence[Mapping[str, object]]) -> tuple[OfficialLap, ...]:
    ordered = sorted(rows, key=lambda row: int(str(row["lap_number"])))
    local_ms = _past_midnight([_milliseconds(row["crossing_local_time"]) for row in ordered])
    return tuple(
        OfficialLap(int(str(row["lap_number"])), float(str(row["lap_time_s"])), crossing_ms, row)
        for row, crossing_ms in zip(ordered, local_ms, strict=True)
    )


def _milliseconds(value: object) -> int | None:
    if not isinstance(value, time):
        return None
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1000 + value.microsecond // 1000


def _past_midnight(times_ms: Sequence[int | None]) -> list[int | None]:
    """Add a day to the crossings after midnight, where the time of day falls back by more than half a day."""
    told = [value for value in times_ms if value is not None]
    days = accumulate([0, *(int(before - after > _HALF_DAY_MS) for before, after in pairwise(told))])
    shifted = iter([value + day * _DAY_MS for value, day in zip(told, days, strict=False)])
    return [None if value is None else next(shifted) for value in times_ms]


def _true_numbers(in_file_order: Sequence[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Tell the cars printed alike apart by where they stand.

    The file is sorted by the number as text, as it was before anonymising turned 03 into 3: the car at the place of 03
    is 03. So of two entries of one number the first has one zero more. If that does not put the whole file in order,
    nothing can be told and every car keeps its printed number.
    """
    entries = {
        printed: max(entry for other, entry in in_file_order if other == printed) for printed, _ in in_file_order
    }
    guessed = {
        (printed, entry): printed.rjust(len(printed) + entries[printed] - entry, "0")
        for printed, entry in in_file_order
    }
    is_in_order = all(guessed[before] <= guessed[after] for before, after in pairwise(in_file_order))
    return guessed if is_in_order else {key: key[0] for key in in_file_order}
