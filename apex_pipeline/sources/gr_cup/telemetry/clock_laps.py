"""Compares a car's clock with the lap files: when the device counts a new lap, the car crosses the line.

The trigger of that crossing is stamped in true UTC, so crossing time minus car time of the lap change is the offset of
the clock, without the delivery of a message in it. See ``clocks.py`` for the offset that is used.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from apex_pipeline.sources.gr_cup.telemetry.clock_pieces import Cells, ClockPiece

Ints = npt.NDArray[np.int64]

# Start and end of a lap are the car's own stamps if they are apart as its triggers are, to the rounding of both. A time
# that was repaired or taken from official timing says nothing about the car's clock.
_SAME_S = 0.0015
# Between two samples this close, the lap change is known to half of it: a quarter of a second.
_MAX_BRACKET_MS = 500
# No reading is received before it was sampled, so the offset is not above the lower edge, except for the rounding of
# both and the stray messages below the edge. The shortest delay of a message is 0.05 to 0.25 s in 13 real files; five
# seconds is what a radio link may need, and far less than a lap, so no crossing is taken for that of another lap.
_MAX_ABOVE_EDGE_MS, _MAX_BELOW_EDGE_MS = 100, 5_000
# Where the samples of one of the two laps are missing, the other one may have been cut anywhere: it must be this close.
_MAX_ONE_SIDED_MS = 500
# Lap changes are looked for this close to where the lower edge expects them.
_AROUND_MS = _MAX_BELOW_EDGE_MS + 1_000


@dataclass(frozen=True)
class LapCrossings:
    """The crossings of one car by the device's lap counter: times of the start and the end of laps of that number."""

    starts: Mapping[int, tuple[int, ...]]
    ends: Mapping[int, tuple[int, ...]]


def lap_crossings(laps: pa.Table | None) -> dict[str, LapCrossings]:
    """Return the crossings in the table ``laps`` that are fit to measure clocks, by car."""
    if laps is None or not laps.num_rows:
        return {}
    starts_ms, ends_ms = (laps[name].cast(pa.int64()).to_pylist() for name in ("lap_start_utc", "lap_end_utc"))
    own = (laps[name].to_pylist() for name in ("vehicle_id", "unit_lap", "trigger_lap_time_s"))
    starts: defaultdict[str, defaultdict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    ends: defaultdict[str, defaultdict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for start_ms, end_ms, car, lap, trigger_s in zip(starts_ms, ends_ms, *own, strict=True):
        if None in (start_ms, end_ms, lap, trigger_s) or abs((end_ms - start_ms) / 1000 - trigger_s) > _SAME_S:
            continue
        starts[car][lap].add(start_ms)
        ends[car][lap].add(end_ms)
    return {car: LapCrossings(_sorted(starts[car]), _sorted(ends[car])) for car in starts}


def _sorted(times: Mapping[int, set[int]]) -> dict[int, tuple[int, ...]]:
    return {lap: tuple(sorted(at)) for lap, at in times.items()}


def compare_with_laps(pieces: Iterable[ClockPiece], cells: Cells, crossings: LapCrossings | None) -> list[ClockPiece]:
    """Return the pieces with the offset that the device's lap changes give, where there are any."""
    if crossings is None:
        return list(pieces)
    order = np.lexsort((cells.first_car_ms, cells.unit_lap))
    by_lap = Cells(*(column[order] for column in cells))
    return [_compared(piece, list(_offsets(piece, by_lap, crossings))) for piece in pieces]


def _compared(piece: ClockPiece, offsets_ms: list[float]) -> ClockPiece:
    if not offsets_ms:
        return piece
    middle = float(np.median(offsets_ms))
    residual = float(np.median(np.abs(np.array(offsets_ms) - middle)))
    return replace(piece, lap_offset_ms=round(middle), lap_changes=len(offsets_ms), lap_residual_ms=round(residual))


def _offsets(piece: ClockPiece, by_lap: Cells, crossings: LapCrossings) -> Iterator[float]:
    """Yield the offset from every lap change of a piece."""
    for at_ms, before, after in _changes(crossings):
        expected_ms = at_ms - piece.edge_offset_ms
        if not piece.first_car_ms - _MAX_BELOW_EDGE_MS < expected_ms < piece.last_car_ms + _MAX_BELOW_EDGE_MS:
            continue
        last_ms = _edge_of_lap(by_lap, before, expected_ms, is_last=True)
        first_ms = _edge_of_lap(by_lap, after, expected_ms, is_last=False)
        if last_ms is not None and first_ms is not None and 0 <= first_ms - last_ms <= _MAX_BRACKET_MS:
            offset, below_ms = at_ms - (first_ms + last_ms) / 2, _MAX_BELOW_EDGE_MS
        else:
            sides = [at_ms - side for side in (first_ms, last_ms) if side is not None]
            offset = min(sides, key=lambda side: abs(side - piece.edge_offset_ms), default=float("nan"))
            below_ms = _MAX_ONE_SIDED_MS
        if -below_ms <= offset - piece.edge_offset_ms <= _MAX_ABOVE_EDGE_MS:
            yield offset


def _changes(crossings: LapCrossings) -> Iterator[tuple[int, int | None, int | None]]:
    """Yield every crossing with the device's lap before and after it."""
    before = {at: lap for lap, times in crossings.ends.items() for at in times}
    after = {at: lap for lap, times in crossings.starts.items() for at in times}
    for at_ms in sorted(before.keys() | after.keys()):
        ended, started = before.get(at_ms), after.get(at_ms)
        # The device counts on, also where the lap files lack the other lap.
        yield (
            at_ms,
            ended if ended is not None else None if started is None else started - 1,
            started if started is not None else None if ended is None else ended + 1,
        )


def _edge_of_lap(by_lap: Cells, lap: int | None, expected_ms: int, *, is_last: bool) -> int | None:
    """Return the last or the first car time of a lap around the expected change; ``None`` without samples there."""
    if lap is None:
        return None
    own = slice(*np.searchsorted(by_lap.unit_lap, [lap, lap + 1]))
    first_ms, last_ms = by_lap.first_car_ms[own], by_lap.last_car_ms[own]
    is_near = (first_ms < expected_ms + _AROUND_MS) & (last_ms > expected_ms - _AROUND_MS)
    if not is_near.any():
        return None
    return int(last_ms[is_near].max() if is_last else first_ms[is_near].min())
