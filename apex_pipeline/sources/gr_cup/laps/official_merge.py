"""Merges the laps of a car with its official laps, and flags the laps of cars that are not matched to an official car.

Official timing decides which crossings bound a lap: it lists laps whose crossing was never sent, and does not list laps
that come from a stray trigger. The car's own time is kept next to the official one. See ``alignment.py`` for the
pairing of crossings and official laps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, pairwise

import numpy as np

from apex_pipeline.sources.gr_cup.laps.crossings import Crossing
from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap, lap_between
from apex_pipeline.sources.gr_cup.laps.official_cars import OfficialCar, OfficialLap
from apex_pipeline.sources.gr_cup.laps.official_clock import OfficialClock
from apex_pipeline.sources.gr_cup.laps.official_verdict import judge

# A car first crosses the line within a minute of the green flag, as the field has a rolling start.
_MAX_START_DELAY_MS = 60_000
# Official and own times mostly differ by 0.1 s; if the official clock moved by more than this, one of them is wrong.
_CLOCK_JUMP_MS = 500
_AGREES_S = 1.0
_SAME_S = 0.3
# Flags set from the cars' own laps that official timing can clear.
_CLEARABLE = frozenset({Flag.IMPLAUSIBLY_SHORT, Flag.MISSING_CROSSING, Flag.EXTRA_CROSSING})
_NOT_RACING = frozenset({Flag.FORMATION_LAP, Flag.POST_RACE_LAP, Flag.OUT_LAP, Flag.UNKNOWN_PACE})


@dataclass(frozen=True)
class RaceTimes:
    """The periods of the race and of the export, UTC milliseconds since 1970.

    Attributes:
        green_ms: Green flag: start of the first official laps.
        flag_ms: First official crossing under the chequered flag.
        export_start_ms: First crossing of the session.
        export_end_ms: Last crossing of the session.
    """

    green_ms: int
    flag_ms: int
    export_start_ms: int
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
        own: Its laps derived from its own crossings, in chronological order.
        crossings: Its crossings in chronological order; at least one.
        car: The official car it is matched to.
        pairs: The crossing that ends each official lap.
        clock: The official clock.
        race: The periods of the race and of the export.
    """
    starts = [_start_crossing(crossings, car, pairs, clock), *pairs[:-1]]
    by_crossings = {(id(lap.start), id(lap.end)): lap for lap in own}
    vehicle_id = crossings[0].vehicle_id
    raced = [
        _raced_lap(vehicle_id, official, start, end, by_crossings)
        for official, start, end in zip(car.laps, starts, pairs, strict=True)
    ]
    _set_times(raced, clock, race)
    for lap in raced:
        _judge(lap)
        _update_flags(lap, clock)
        _flag_extra_crossing(lap, crossings)
    return [*_laps_before(own, raced[0]), *raced, *_laps_after(own, raced[-1], race)]


def _start_crossing(
    crossings: Sequence[Crossing], car: OfficialCar, pairs: Sequence[Crossing | None], clock: OfficialClock
) -> Crossing | None:
    """Return the car's own crossing of the line at the green flag, ``None`` if there is none within reach."""
    start_ms = _official_start_ms(car.laps[0], clock)
    first = next((pair for pair in pairs if pair is not None), None)
    if start_ms is None:
        return None
    before = [crossing for crossing in crossings if first is None or crossing.utc_ms < first.utc_ms]
    nearest = min(before, key=lambda crossing: abs(crossing.utc_ms - start_ms), default=None)
    if nearest is None or abs(nearest.utc_ms - start_ms) > min(_MAX_START_DELAY_MS, 500 * car.laps[0].time_s):
        return None
    return nearest


def _official_end_ms(official: OfficialLap, clock: OfficialClock) -> int | None:
    if official.local_ms is None:
        return None
    return round(float(clock.utc_ms(np.array([official.local_ms], dtype=np.float64))[0]))


def _official_start_ms(official: OfficialLap, clock: OfficialClock) -> int | None:
    end_ms = _official_end_ms(official, clock)
    return None if end_ms is None else end_ms - round(official.time_s * 1000)


def _raced_lap(
    vehicle_id: str,
    official: OfficialLap,
    start: Crossing | None,
    end: Crossing | None,
    by_crossings: dict[tuple[int, int], Lap],
) -> Lap:
    """Return the car's own lap for an official lap, without times if one of its crossings is missing."""
    if start is None or end is None:
        lap = Lap(vehicle_id, start, end, None, None)
    elif (id(start), id(end)) in by_crossings:
        lap = by_crossings[id(start), id(end)]
    else:
        lap = lap_between(start, end)
    lap.official, lap.number = official, official.number
    return lap


def _set_times(raced: Sequence[Lap], clock: OfficialClock, race: RaceTimes) -> None:
    """Set start and end of every lap to own crossings, or to official ones where those are missing or late."""
    first = raced[0]
    start_ms = first.start.utc_ms if first.start else _official_start_ms(_official(first), clock)
    # A race may start away from the line, so lap 1 needs no crossing at its start. It is incomplete only if the export
    # starts later than the lap.
    if first.start is None and start_ms is not None and start_ms < race.export_start_ms:
        first.flags.add(Flag.TRUNCATED_EXPORT)
    for lap in raced:
        official_ms = _official_end_ms(_official(lap), clock)
        end_ms = lap.end_ms if lap.end_ms is not None else lap.end.utc_ms if lap.end else None
        _flag_missing_crossing(lap, lap.end, official_ms, race)
        if official_ms is not None and (end_ms is None or clock.is_late(end_ms, _local_ms(lap))):
            lap.flags |= {Flag.LATE_TRIGGER} if lap.end else set()
            end_ms = official_ms
        if start_ms is not None and end_ms is not None:
            # Own timestamps and the official clock can differ by seconds, but a lap must not end before it starts.
            end_ms = max(start_ms, end_ms)
        lap.start_ms, lap.end_ms = start_ms, end_ms
        start_ms = end_ms
    for before, lap in pairwise(raced):
        # If the crossing between two laps is late or missing, both laps are flagged.
        if before.end is None:
            lap.flags |= before.flags & {Flag.MISSING_CROSSING, Flag.TRUNCATED_EXPORT}
        lap.flags |= before.flags & {Flag.LATE_TRIGGER}


def _local_ms(lap: Lap) -> float:
    return float(_official(lap).local_ms or 0)


def _official(lap: Lap) -> OfficialLap:
    if lap.official is None:
        raise ValueError("a raced lap must have an official lap")
    return lap.official


def _flag_missing_crossing(lap: Lap, crossing: Crossing | None, official_ms: int | None, race: RaceTimes) -> None:
    if crossing is not None:
        return
    is_covered = official_ms is not None and race.export_start_ms <= official_ms <= race.export_end_ms
    lap.flags.add(Flag.MISSING_CROSSING if is_covered else Flag.TRUNCATED_EXPORT)


def _judge(lap: Lap) -> None:
    """Set the published time of an official lap, and flag it if that is not LAP_TIME or LAP_TIME is rounded."""
    official = _official(lap)
    # Lap 1 counts from the green flag officially, and from the line in the car's own data.
    is_first = official.number == 1
    is_rounded = (official.row.get("lap_time_resolution_s") or 0) != 0
    lap.verdict = judge(
        official.times,
        None if is_first else lap.trigger_s,
        None if is_first else lap.unit_s,
        is_rounded=is_rounded,
    )
    lap.flags |= {Flag.OFFICIAL_DISAGREES} if lap.verdict.disagrees else set()
    lap.flags |= {Flag.OFFICIAL_ROUNDED} if is_rounded else set()


def _update_flags(lap: Lap, clock: OfficialClock) -> None:
    """Clear the flags that official timing refutes, and flag the lap if the official clock jumped during it."""
    official = _official(lap)
    lap.flags -= _NOT_RACING
    if lap.trigger_s is not None and lap.time_s is not None:
        if abs(lap.time_s - official.time_s) < _AGREES_S:
            lap.flags -= _CLEARABLE
        if abs(lap.trigger_s - official.time_s) < _SAME_S:
            lap.flags.discard(Flag.LATE_TRIGGER_PAIR)
    if official.local_ms is not None:
        bounds_ms = np.array([official.local_ms - 1000 * official.time_s, official.local_ms])
        start_offset_ms, end_offset_ms = clock.utc_ms(bounds_ms) - bounds_ms
        if abs(end_offset_ms - start_offset_ms) > _CLOCK_JUMP_MS:
            lap.flags.add(Flag.FIELD_WIDE_JUMP)


def _flag_extra_crossing(lap: Lap, crossings: Sequence[Crossing]) -> None:
    """Flag a lap if the car's device reported another crossing during it."""
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
        lap.flags = (lap.flags - _CLEARABLE - _NOT_RACING) | {Flag.FORMATION_LAP}
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
        has_finished = last.end_ms >= race.flag_ms
        lap.flags = (lap.flags - _NOT_RACING) | {Flag.POST_RACE_LAP if has_finished else Flag.UNOFFICIAL_LAP}
        if lap.start_ms is not None and lap.start_ms < last.end_ms:
            if lap.start is not last.end:
                _clear_times(lap)
                lap.start = None
            lap.start_ms = last.end_ms
    return after


def _clear_times(lap: Lap) -> None:
    """Clear the times of a lap that is cut at the start or end of the race: they were measured over the full lap."""
    lap.trigger_s = lap.unit_s = lap.telemetry_s = lap.time_s = lap.method = None


def flag_unmatched(laps: Sequence[Lap], race: RaceTimes, *, is_undecided: bool) -> None:
    """Number and flag the laps of a car that is not matched to an official car.

    Args:
        laps: The car's laps in chronological order; changed in place.
        race: The periods of the race and of the export.
        is_undecided: Whether it may be one of several official cars.
    """
    before = [lap for lap in laps if lap.end_ms is not None and lap.end_ms <= race.green_ms + _MAX_START_DELAY_MS]
    for lap, number in zip(reversed(before), count(0, -1), strict=False):
        lap.number = number
        lap.flags.add(Flag.FORMATION_LAP)
    for number, lap in enumerate(laps[len(before) :], start=1):
        lap.number = number
        is_after_flag = lap.start_ms is not None and lap.start_ms >= race.flag_ms
        lap.flags -= _NOT_RACING
        lap.flags.add(
            Flag.POST_RACE_LAP if is_after_flag else Flag.UNDECIDED_CAR if is_undecided else Flag.UNOFFICIAL_LAP
        )
