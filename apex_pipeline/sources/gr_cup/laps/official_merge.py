"""Own laps and official ones put together: every official lap of a car once, with what its own crossings say.

Here belongs the joining for one car whose number is known, and the marking of cars whose number is not. Official timing
decides which crossings are laps: it lists a lap whose crossing was never sent, and does not list the one a stray
trigger makes. The cars' own time stays beside the official one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, pairwise

import numpy as np

from apex_pipeline.sources.gr_cup.laps.crossings import Crossing
from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap, lap_between
from apex_pipeline.sources.gr_cup.laps.official_cars import OfficialCar, OfficialLap
from apex_pipeline.sources.gr_cup.laps.official_clock import OfficialClock

# The car's own first crossing of the line follows the green flag within a minute: the field starts rolling.
_START_REACH_MS = 60_000
# Official and own time differ by 0.1 s mostly; where the official clock moved by more, both cannot be right.
_CLOCK_JUMP_MS = 500
_AGREES_S = 1.0
_SAME_S = 0.3
# What the laps alone make suspicious and official timing clears.
_SUSPICIONS = frozenset({Flag.IMPLAUSIBLY_SHORT, Flag.MISSING_CROSSING, Flag.EXTRA_CROSSING})
_ROLLING = frozenset({Flag.FORMATION_LAP, Flag.POST_RACE_LAP})


@dataclass(frozen=True)
class RaceTimes:
    """When the race was and what the export covers, UTC milliseconds since 1970.

    Attributes:
        green_ms: Green flag: begin of the first official laps.
        flag_ms: First official crossing under the chequered flag.
        export_begin_ms: First trigger of the session.
        export_end_ms: Last one.
    """

    green_ms: int
    flag_ms: int
    export_begin_ms: int
    export_end_ms: int


def merge_official(
    own: Sequence[Lap],
    crossings: Sequence[Crossing],
    car: OfficialCar,
    pairs: Sequence[Crossing | None],
    clock: OfficialClock,
    race: RaceTimes,
) -> list[Lap]:
    """Return all laps of a car: before the race, every official lap, after the race.

    Args:
        own: Its laps as its own crossings tell them, in order.
        crossings: Its crossings in time; at least one.
        car: The official car it is.
        pairs: For every official lap the crossing that ends it.
        clock: The official clock.
        race: When the race was.
    """
    begins = [_start_crossing(crossings, car, pairs, clock), *pairs[:-1]]
    by_ends = {(id(lap.start), id(lap.end)): lap for lap in own}
    unit = crossings[0].vehicle_id
    raced = [
        _raced_lap(unit, official, start, end, by_ends)
        for official, start, end in zip(car.laps, begins, pairs, strict=True)
    ]
    _set_times(raced, clock, race)
    for lap in raced:
        _compare(lap, clock)
        _note_extra(lap, crossings)
    return [*_laps_before(own, raced[0]), *raced, *_laps_after(own, raced[-1], race)]


def _start_crossing(
    crossings: Sequence[Crossing], car: OfficialCar, pairs: Sequence[Crossing | None], clock: OfficialClock
) -> Crossing | None:
    """Return the car's own crossing of the line at the green flag."""
    began_ms = _official_begin_ms(car.laps[0], clock)
    first = next((pair for pair in pairs if pair is not None), None)
    if began_ms is None:
        return None
    before = [crossing for crossing in crossings if first is None or crossing.utc_ms < first.utc_ms]
    nearest = min(before, key=lambda crossing: abs(crossing.utc_ms - began_ms), default=None)
    if nearest is None or abs(nearest.utc_ms - began_ms) > min(_START_REACH_MS, 500 * car.laps[0].time_s):
        return None
    return nearest


def _official_end_ms(official: OfficialLap, clock: OfficialClock) -> int | None:
    if official.local_ms is None:
        return None
    return round(float(clock.utc_ms(np.array([official.local_ms], dtype=np.float64))[0]))


def _official_begin_ms(official: OfficialLap, clock: OfficialClock) -> int | None:
    end_ms = _official_end_ms(official, clock)
    return None if end_ms is None else end_ms - round(official.time_s * 1000)


def _raced_lap(
    unit: str,
    official: OfficialLap,
    start: Crossing | None,
    end: Crossing | None,
    by_ends: dict[tuple[int, int], Lap],
) -> Lap:
    """Return the lap between two crossings, told by the car itself if it saw both."""
    if start is None or end is None:
        lap = Lap(unit, start, end, None, None)
    elif (id(start), id(end)) in by_ends:
        lap = by_ends[id(start), id(end)]
    else:
        lap = lap_between(start, end)
    lap.official, lap.number = official, official.number
    return lap


def _set_times(raced: Sequence[Lap], clock: OfficialClock, race: RaceTimes) -> None:
    """Give every lap begin and end: the car's own crossing, or the official one where that is missing or late."""
    first = raced[0]
    began_ms = first.start.utc_ms if first.start else _official_begin_ms(_official(first), clock)
    # A race may begin away from the line: lap 1 without a crossing at its begin misses none, unless the export does.
    if first.start is None and began_ms is not None and began_ms < race.export_begin_ms:
        first.flags.add(Flag.TRUNCATED_EXPORT)
    for lap in raced:
        official_ms = _official_end_ms(_official(lap), clock)
        ended_ms = lap.end_ms if lap.end_ms is not None else lap.end.utc_ms if lap.end else None
        _note_missing(lap, lap.end, official_ms, race)
        if official_ms is not None and (ended_ms is None or clock.is_late(ended_ms, _local_ms(lap))):
            lap.flags |= {Flag.LATE_TRIGGER} if lap.end else set()
            ended_ms = official_ms
        if began_ms is not None and ended_ms is not None:
            # Own stamps and the official clock differ by seconds at worst: a lap never ends before it begins.
            ended_ms = max(began_ms, ended_ms)
        lap.start_ms, lap.end_ms = began_ms, ended_ms
        began_ms = ended_ms
    for before, lap in pairwise(raced):
        # The crossing between two laps is late, or missing, for both.
        if before.end is None:
            lap.flags |= before.flags & {Flag.MISSING_CROSSING, Flag.TRUNCATED_EXPORT}
        lap.flags |= before.flags & {Flag.LATE_TRIGGER}


def _local_ms(lap: Lap) -> float:
    return float(_official(lap).local_ms or 0)


def _official(lap: Lap) -> OfficialLap:
    if lap.official is None:
        raise ValueError("a raced lap has its official counterpart")
    return lap.official


def _note_missing(lap: Lap, crossing: Crossing | None, official_ms: int | None, race: RaceTimes) -> None:
    if crossing is not None:
        return
    is_covered = official_ms is not None and race.export_begin_ms <= official_ms <= race.export_end_ms
    lap.flags.add(Flag.MISSING_CROSSING if is_covered else Flag.TRUNCATED_EXPORT)


def _compare(lap: Lap, clock: OfficialClock) -> None:
    """Clear what official timing clears, and say where the official clock itself moved."""
    official = _official(lap)
    lap.flags -= _ROLLING
    if lap.trigger_s is not None and lap.time_s is not None:
        if abs(lap.time_s - official.time_s) < _AGREES_S:
            lap.flags -= _SUSPICIONS
        if abs(lap.trigger_s - official.time_s) < _SAME_S:
            lap.flags.discard(Flag.LATE_TRIGGER_PAIR)
    if official.local_ms is not None:
        ends_ms = np.array([official.local_ms - 1000 * official.time_s, official.local_ms])
        began_ms, ended_ms = clock.utc_ms(ends_ms) - ends_ms
        if abs(ended_ms - began_ms) > _CLOCK_JUMP_MS:
            lap.flags.add(Flag.FIELD_WIDE_JUMP)


def _note_extra(lap: Lap, crossings: Sequence[Crossing]) -> None:
    """Flag a lap in the middle of which the car's unit reported the line."""
    first, last = lap.start, lap.end
    if first and last and any(first.utc_ms < crossing.utc_ms < last.utc_ms for crossing in crossings):
        lap.flags.add(Flag.EXTRA_CROSSING)


def _laps_before(own: Sequence[Lap], first: Lap) -> list[Lap]:
    """Return the laps before the green flag, numbered 0, -1 … backwards."""
    if first.start_ms is None:
        return []
    before = [lap for lap in own if lap.official is None and lap.start_ms is not None and lap.start_ms < first.start_ms]
    for lap, number in zip(reversed(before), count(0, -1), strict=False):
        lap.number = number
        lap.flags = (lap.flags - _SUSPICIONS - _ROLLING) | {Flag.FORMATION_LAP}
        if lap.end_ms is not None and lap.end_ms > first.start_ms:
            _clear_times(lap)
            lap.end, lap.end_ms = None, first.start_ms
    return before


def _laps_after(own: Sequence[Lap], last: Lap, race: RaceTimes) -> list[Lap]:
    """Return the laps after the car's last official one."""
    if last.end_ms is None:
        return []
    after = [lap for lap in own if lap.official is None and lap.end_ms is not None and lap.end_ms > last.end_ms]
    for lap, number in zip(after, count(last.number + 1), strict=False):
        lap.number = number
        is_home = last.end_ms >= race.flag_ms
        lap.flags = (lap.flags - _ROLLING) | {Flag.POST_RACE_LAP if is_home else Flag.UNOFFICIAL_LAP}
        if lap.start_ms is not None and lap.start_ms < last.end_ms:
            if lap.start is not last.end:
                _clear_times(lap)
                lap.start = None
            lap.start_ms = last.end_ms
    return after


def _clear_times(lap: Lap) -> None:
    """Take back the times of a lap that is cut where the race begins or ends: they are of the whole of it."""
    lap.trigger_s = lap.unit_s = lap.telemetry_s = lap.time_s = lap.method = None


def flag_unmatched(laps: Sequence[Lap], race: RaceTimes, *, is_undecided: bool) -> None:
    """Number and flag the laps of a car that official timing does not know, or not for sure.

    Args:
        laps: The car's laps in order; changed in place.
        race: When the race was.
        is_undecided: The car is one of several official ones.
    """
    before = [lap for lap in laps if lap.end_ms is not None and lap.end_ms <= race.green_ms + _START_REACH_MS]
    for lap, number in zip(reversed(before), count(0, -1), strict=False):
        lap.number = number
        lap.flags.add(Flag.FORMATION_LAP)
    for number, lap in enumerate(laps[len(before) :], start=1):
        lap.number = number
        is_home = lap.start_ms is not None and lap.start_ms >= race.flag_ms
        lap.flags -= _ROLLING
        lap.flags.add(Flag.POST_RACE_LAP if is_home else Flag.UNDECIDED_CAR if is_undecided else Flag.UNOFFICIAL_LAP)
