"""Checks the cells of official laps against each other: each lap time is written in several of them.

LAP_TIME, the sum of the sectors, differences of ELAPSED and of HOUR, and FL_TIME of the classification are one
measurement, typed or exported separately: in nine real races they are equal to the millisecond in all 4,188 laps. So a
cell that differs from two equal ones is wrong. See ``official_verdict.py`` for adding the car's own witnesses.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import time

# Cells are written to the millisecond; a difference or a sum of three of them may be off by two.
_SAME_S = 0.0025
# Summer time moves clocks by an hour, and by half an hour on Lord Howe Island.
_CLOCK_CHANGE_MS = 1_800_000
_DAY_MS = 86_400_000
# HOUR minus ELAPSED is when the session started: one moment for all cars, to the millisecond in real files. Rounded
# cells (tenths of a second) differ by up to 50 ms each.
_SAME_START_MS = 110
_SHARE_OF_ROWS = 0.5
# Cells that give a lap time as a difference from the lap before; the others state it themselves.
_DIFFERENCES = frozenset({"ELAPSED", "HOUR"})


@dataclass(frozen=True)
class TimeGroup:
    """Cells that state the same lap time.

    Attributes:
        time_s: The lap time, seconds; not above zero if its cells say that the lap ended before it began.
        cells: Names of the cells.
    """

    time_s: float
    cells: frozenset[str]

    @property
    def is_possible(self) -> bool:
        """Whether a lap can take this long. Other groups are evidence against the lap, and never its time."""
        return self.time_s > 0


@dataclass(frozen=True)
class CellTimes:
    """The lap times that the official cells of one lap state, the best supported first and impossible ones last.

    The first one is always possible: LAP_TIME is among them, and a row without one above zero is not a lap.
    """

    groups: tuple[TimeGroup, ...]

    @property
    def best_s(self) -> float:
        """The lap time most cells state; LAP_TIME itself in a draw."""
        return self.groups[0].time_s


def clock_ms(value: object) -> int | None:
    """Return the milliseconds since midnight of a time of day."""
    if not isinstance(value, time):
        return None
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1000 + value.microsecond // 1000


def elapsed_ms(row: Mapping[str, object]) -> int | None:
    """Return ELAPSED of a row in milliseconds."""
    value = row.get("elapsed_s")
    return round(value * 1000) if isinstance(value, (int, float)) else None


def session_start_ms(rows: Sequence[Mapping[str, object]]) -> int | None:
    """Return the official time of day at which ELAPSED is zero, in milliseconds since midnight.

    Args:
        rows: The official laps of all cars.

    Returns:
        The start; ``None`` if HOUR and ELAPSED are missing or contradict each other in most rows.
    """
    starts = [start for row in rows if (start := _start_ms(row)) is not None]
    if not starts:
        return None
    common = Counter(start % _CLOCK_CHANGE_MS for start in starts).most_common(1)[0][0]
    agreeing = [start for start in starts if abs(_apart_ms(start, common)) <= _SAME_START_MS]
    if len(agreeing) < _SHARE_OF_ROWS * len(starts):
        return None
    # A clock change or midnight moves the start of later laps, so the earliest lap states it.
    first = min(
        (
            row
            for row in rows
            if (start := _start_ms(row)) is not None and abs(_apart_ms(start, common)) <= _SAME_START_MS
        ),
        key=lambda row: elapsed_ms(row) or 0,
    )
    return _start_ms(first)


def _start_ms(row: Mapping[str, object]) -> int | None:
    hour, elapsed = clock_ms(row.get("crossing_local_time")), elapsed_ms(row)
    return None if hour is None or elapsed is None else (hour - elapsed) % _DAY_MS


def _apart_ms(first_ms: float, second_ms: float) -> float:
    """Return the difference of two clock times, ignoring changes of the clock and midnight."""
    return (first_ms - second_ms + _CLOCK_CHANGE_MS / 2) % _CLOCK_CHANGE_MS - _CLOCK_CHANGE_MS / 2


def has_lap_time(row: Mapping[str, object]) -> bool:
    """Return whether LAP_TIME of a row is above zero, without which it is not evidence of a lap."""
    return (_number(row.get("lap_time_s")) or 0.0) > 0


def check_cells(rows: Sequence[Mapping[str, object]], start_ms: int | None) -> list[CellTimes]:
    """Return the lap times that the cells of a car's laps state.

    Args:
        rows: Rows of one car with :func:`has_lap_time`, sorted by lap number.
        start_ms: Result of :func:`session_start_ms`.
    """
    before: list[Mapping[str, object] | None] = [None, *rows[:-1]]
    return [
        CellTimes(_groups(_stated(row, previous, start_ms), row)) for row, previous in zip(rows, before, strict=True)
    ]


def _stated(row: Mapping[str, object], previous: Mapping[str, object] | None, start_ms: int | None) -> dict[str, float]:
    """Return the lap time in seconds by the cells that state it."""
    stated = {"LAP_TIME": _number(row["lap_time_s"]), "FL_TIME": _number(row.get("classified_lap_time_s"))}
    sectors = [_number(row.get(name)) for name in ("s1_s", "s2_s", "s3_s")]
    # No sector takes no time: a zero stands for one that was not measured.
    whole = [part for part in sectors if part]
    stated["sectors"] = sum(whole) if len(whole) == len(sectors) else None
    is_next = previous is not None and _lap(previous) == _lap(row) - 1
    end_ms, hour_ms = elapsed_ms(row), clock_ms(row.get("crossing_local_time"))
    begin_ms = 0 if _lap(row) == 1 else elapsed_ms(previous) if previous and is_next else None
    begin_hour_ms = (
        start_ms if _lap(row) == 1 else clock_ms(previous.get("crossing_local_time")) if previous and is_next else None
    )
    if end_ms is not None and begin_ms is not None:
        stated["ELAPSED"] = (end_ms - begin_ms) / 1000
    if hour_ms is not None and begin_hour_ms is not None:
        stated["HOUR"] = _hours_apart_s(hour_ms, begin_hour_ms, [value for value in stated.values() if value])
    return {name: value for name, value in stated.items() if value is not None and (value > 0 or name in _DIFFERENCES)}


def _hours_apart_s(end_ms: int, begin_ms: int, others_s: Sequence[float]) -> float:
    """Return the seconds between two times of day; a change of the clock is left out if another cell confirms it.

    More than half a day forwards is less than half a day backwards: no car takes twelve hours for a lap.
    """
    apart_s = ((end_ms - begin_ms + _DAY_MS / 2) % _DAY_MS - _DAY_MS / 2) / 1000
    same = [other for other in others_s if abs(_apart_ms(apart_s * 1000, other * 1000)) <= _SAME_S * 1000]
    return same[0] if len(same) > 1 else apart_s


def _groups(stated: Mapping[str, float], row: Mapping[str, object]) -> tuple[TimeGroup, ...]:
    same_s = max(_SAME_S, _number(row.get("lap_time_resolution_s")) or 0.0)
    groups: list[TimeGroup] = []
    for name, value in stated.items():
        index = next((at for at, group in enumerate(groups) if abs(group.time_s - value) <= same_s), None)
        if index is None:
            groups.append(TimeGroup(round(value, 3), frozenset({name})))
        else:
            groups[index] = TimeGroup(groups[index].time_s, groups[index].cells | {name})
    return tuple(
        sorted(groups, key=lambda group: (not group.is_possible, -len(group.cells), "LAP_TIME" not in group.cells))
    )


def _lap(row: Mapping[str, object]) -> int:
    return int(str(row["lap_number"]))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
