"""Makes laps of the changes of all cars: the rows of ``race_timing``."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from apex_pipeline.sources.ams2.clock import time_at_line
from apex_pipeline.sources.ams2.driver import Rows
from apex_pipeline.sources.ams2.driving import CLOCK_JITTER_S, Driving
from apex_pipeline.sources.ams2.game import GameLog
from apex_pipeline.sources.ams2.layouts import (
    IS_HUMAN,
    LAP_INVALID_BIT_3,
    LAP_INVALID_BIT_7,
    LOW_3_BITS,
    NO_INDEX,
    RACE_POSITION_BITS,
    VEHICLE_BITS,
)
from apex_pipeline.sources.ams2.official import Expected, official_time
from apex_pipeline.tables import RACE_TIMING
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.races import without_race_id

_TABLE = without_race_id(RACE_TIMING)
_LONGEST_CLOCK_S = 86_400.0


@dataclass(frozen=True)
class _CarRun:
    """A run of one car's clock: rows ``first`` to ``last`` of the changes, the last being the one that ends it."""

    first: int
    last: int
    starts_at_line: bool


def timing_table(changes: Rows, driving: Driving, game: GameLog, interval_s: float) -> pa.Table:
    """Return the laps of all cars in driven time.

    Args:
        changes: The changes of :class:`~apex_pipeline.sources.ams2.rivals.RivalLog`.
        driving: The driven rows of the driver, whose sessions are those of all cars.
        game: Names, classes and official times.
        interval_s: Time between two samples.
    """
    rows: list[Row] = []
    runs: dict[tuple[int, int], int] = {}
    for run in _runs(changes, interval_s):
        row = _driven_row(driving, int(changes["ordinal"][run.first]), int(changes["last_ordinal"][run.last]))
        if row is None:
            continue
        session, slot = int(driving.sessions[row]), int(changes["slot"][run.first])
        index = runs.get((session, slot), 0)
        runs[session, slot] = index + 1
        rows.append(
            {"session_index": session, "participant_index": slot, "run_index": index}
            | {"is_driver": slot == int(driving.rows["slot"][row])}
            | _identity(changes[run.last], game)
            | _lap(changes, run, game, interval_s)
        )
    rows.sort(key=lambda row: [row[name] for name in _TABLE.sort_by])
    return _TABLE.from_rows(rows)


def _runs(changes: Rows, interval_s: float) -> Iterator[_CarRun]:
    """Yield the runs of every car's clock, each with a running clock."""
    first: int | None = None
    starts_at_line = False
    for place in range(len(changes)):
        change = changes[place]
        is_other_car = place == 0 or changes["slot"][place - 1] != change["slot"]
        if is_other_car:
            first, starts_at_line = place, False
            continue
        if not _ends_run(change):
            continue
        if first is not None and _has_run(changes[first]["entry"], change["last"]):
            yield _CarRun(first, place, starts_at_line)
        first, starts_at_line = place, 0 <= float(change["entry"]["clock"]) <= 2 * interval_s


def _ends_run(change: np.void) -> bool:
    last, entry = change["last"], change["entry"]
    is_last = change["ordinal"] == np.iinfo(np.int64).max
    is_reset = float(entry["clock"]) < float(last["clock"]) - CLOCK_JITTER_S or (entry["clock"] < 0) != (
        last["clock"] < 0
    )
    is_other = entry["car_index"] != last["car_index"] or entry["mp_index"] != last["mp_index"]
    return bool(is_last or is_reset or is_other)


def _has_run(start: np.void, end: np.void) -> bool:
    return 0 <= float(start["clock"]) < float(end["clock"]) < _LONGEST_CLOCK_S


def _driven_row(driving: Driving, first: int, last: int) -> int | None:
    """Return the driver's row in the middle of a run of any car; ``None`` if it lies outside the driven time.

    It tells the session, and which car is the driver's, as the laps have it: a single packet may not name him, and what
    ends a run is often the next session, in which he has another place.
    """
    start, stop = np.searchsorted(driving.ordinals, [first, last + 1]).tolist()
    return (start + stop) // 2 if start < stop else None


def _identity(change: np.void, game: GameLog) -> Row:
    """Return who a car is, as far as the game says; the driver's own entry does not name his car."""
    slot, ordinal = int(change["slot"]), int(change["last_ordinal"])
    index = int(change["last"]["car_index"])
    is_named = index != NO_INDEX
    vehicle = game.vehicles.at(index & VEHICLE_BITS, ordinal) if is_named else None
    return {
        "is_human": bool(index & IS_HUMAN) if is_named else None,
        "participant_name": game.people.at(slot, ordinal) or None,
        "car_name": vehicle[0] if vehicle else None,
        "car_class": game.classes.at(vehicle[1], ordinal) if vehicle else None,
    }


def _lap(changes: Rows, run: _CarRun, game: GameLog, interval_s: float) -> Row:
    end = changes[run.last]
    last, following = end["last"], end["entry"]
    inside = changes[run.first : run.last]["entry"]
    is_complete = _is_next_lap(last, following) and 0 <= float(following["clock"]) <= 2 * interval_s
    lap_time, method = _lap_time(changes, run, game, interval_s) if is_complete and run.starts_at_line else (None, None)
    invalid = LAP_INVALID_BIT_3 | LAP_INVALID_BIT_7
    return {
        "lap_number": int(last["lap"]),
        "is_complete": is_complete,
        "is_invalidated": bool(last["race_state"] & invalid),
        "lap_time_s": lap_time,
        "lap_time_method": method,
        "race_position": int(last["race_position"] & RACE_POSITION_BITS) or None,
        "sector": int(last["sector"] & LOW_3_BITS),
        "was_in_pits": bool((inside["pit_mode"] & LOW_3_BITS).any()),
    }


def _is_next_lap(last: np.void, following: np.void) -> bool:
    return (int(following["lap"]) - int(last["lap"])) % 256 == 1


def _lap_time(changes: Rows, run: _CarRun, game: GameLog, interval_s: float) -> tuple[float, str]:
    end = changes[run.last]
    clock_s = time_at_line(float(end["last"]["clock"]), float(end["entry"]["clock"]), interval_s)
    until = run.last + 1
    next_end = changes["last_ordinal"][until] if until < len(changes) else end["last_ordinal"]
    expected = Expected(
        slot=int(end["slot"]),
        after=int(end["last_ordinal"]),
        until=int(next_end),
        lowest_s=clock_s - interval_s,
        highest_s=clock_s + interval_s,
        clock_s=clock_s,
    )
    official = official_time(game.last_laps, expected)
    return (clock_s, "clock") if official is None else (official, "official")
