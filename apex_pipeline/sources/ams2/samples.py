"""Joins physics and timings packets to samples of the driver's car: the rows of ``race_samples``."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from apex_pipeline.sources.ams2.clock import unwrapped_steps
from apex_pipeline.sources.ams2.driver import Rows
from apex_pipeline.sources.ams2.driving import Driving, Flags
from apex_pipeline.sources.ams2.layouts import GEAR_BITS, REVERSE
from apex_pipeline.sources.ams2.ordering import Integers
from apex_pipeline.sources.ams2.runs import Run
from apex_pipeline.tables import RACE_SAMPLES
from apex_pipeline.tables.races import without_race_id

Floats = npt.NDArray[np.float64]

_TABLE = without_race_id(RACE_SAMPLES)

# Packets of one moment are next to each other; a few other packets and lost ones may lie between.
_REACH = 3
# Ticks are used if so many of the packets find one of the same tick.
_TICK_SHARE = 0.5
_BYTE, _STEERING = 255.0, 127.0
_ALMOST_A_METRE = 0.999
_BOUNDS = {column.name: column for column in _TABLE.columns}


def join_physics(timings: Rows, physics: Rows) -> Integers:
    """Return the physics packet of the same moment for each row of timings; -1 where there is none.

    The two have the same tick; where either has none, they follow each other by packet number.
    """
    if not len(physics) or not len(timings):
        return np.full(len(timings), -1, np.int64)
    by_tick, has_both = _joined_by_tick(timings, physics)
    if (by_tick >= 0).sum() < _TICK_SHARE * has_both.sum():
        has_both[:] = False
    return _once(np.where(has_both, by_tick, _joined_by_number(timings, physics)))


def _joined_by_tick(timings: Rows, physics: Rows) -> tuple[Integers, Flags]:
    """Return the nearest physics packet with the same tick, or -1; and whether there were two ticks to compare."""
    found = np.full(len(timings), -1, np.int64)
    has_both = np.zeros(len(timings), np.bool_)
    before = np.searchsorted(physics["ordinal"], timings["ordinal"]) - 1
    for reach in range(_REACH):
        for place in (before - reach, before + 1 + reach):
            ticks = physics["tick"][place.clip(0, len(physics) - 1)]
            is_there = (place >= 0) & (place < len(physics)) & (ticks >= 0) & (timings["tick"] >= 0)
            has_both |= is_there
            is_same = is_there & (ticks == timings["tick"]) & (found < 0)
            found[is_same] = place[is_same]
    return found, has_both


def _joined_by_number(timings: Rows, physics: Rows) -> Integers:
    """Return the physics packet next to each timings packet where the two are nearest to each other."""
    is_counting = np.count_nonzero(np.diff(timings["number"])) >= len(timings) / 2
    name = "number" if is_counting else "ordinal"  # a recorder that made up its packets may not count them
    to_physics = _nearest(timings[name], physics[name], prefer_later=False)
    to_timings = _nearest(physics[name], timings[name], prefer_later=True)
    is_mutual = to_timings[to_physics] == np.arange(len(timings))
    gaps = np.abs(physics[name][to_physics] - timings[name])
    usual = np.median(gaps[is_mutual]) if is_mutual.any() else 0
    return np.where(is_mutual & (gaps <= 2 * usual), to_physics, -1)


def _nearest(numbers: Integers, others: Integers, *, prefer_later: bool) -> Integers:
    """Return the index of the nearest of the others for each number."""
    after = np.searchsorted(others, numbers).clip(0, len(others) - 1)
    before = (after - 1).clip(0)
    to_before, to_after = np.abs(numbers - others[before]), np.abs(others[after] - numbers)
    is_after = to_after <= to_before if prefer_later else to_after < to_before
    return np.where(is_after, after, before)


def _once(found: Integers) -> Integers:
    """Return the indices with repeated ones set to -1, so that a packet is used once."""
    places = np.arange(len(found))
    first = np.zeros(int(found.max(initial=-1)) + 2, np.int64)  # -1 uses the last one
    first[found[::-1]] = places[::-1]  # of several, the last one assigned stays: the first in order
    return np.where((found < 0) | (first[found] == places), found, -1)


def sample_table(timings: Rows, physics: Rows, driving: Driving, runs: Sequence[Run], counts: Counter[str]) -> pa.Table:
    """Return the samples of all runs.

    Args:
        timings: All rows of the driver's timings.
        physics: All rows of physics packets.
        driving: Which of the former are driven.
        runs: The runs; their index is the lap index.
        counts: Receives how many rows are in no run, how many values out of bounds, and so on.
    """
    lap_of_row = np.full(len(timings), -1, np.int64)
    for index, run in enumerate(runs):
        lap_of_row[driving.places[run.start : run.stop]] = index
    frames = _frames(timings, physics, join_physics(timings, physics), lap_of_row)
    counts["timings_standing"] = len(driving.rows) - int((lap_of_row >= 0).sum())
    counts["samples_without_timings"] = int((frames.timings < 0).sum())
    firsts = np.searchsorted(frames.laps, frames.laps)
    samples = _Samples(_taken(timings, frames.timings), _taken(physics, frames.physics), frames)
    columns: dict[str, object] = {
        "lap_index": frames.laps,
        "sample_index": np.arange(len(firsts)) - firsts,
        "tick": samples.ticks(),
        **samples.columns(np.array([run.has_clock for run in runs], np.bool_), counts),
    }
    return _TABLE.from_columns(columns)


@dataclass(frozen=True)
class _Frames:
    """The packets of each sample; arrays have shape (samples,), and -1 stands for a packet that is missing."""

    laps: Integers
    timings: Integers
    physics: Integers


def _frames(timings: Rows, physics: Rows, joined: Integers, lap_of_row: Integers) -> _Frames:
    """Return the samples in order: every row of timings in a lap, and physics whose timings packet was lost."""
    rows = np.flatnonzero(lap_of_row >= 0)
    is_joined = np.zeros(len(physics), np.bool_)
    is_joined[joined[joined >= 0]] = True
    alone = np.flatnonzero(~is_joined)
    before = np.searchsorted(timings["ordinal"], physics["ordinal"][alone]) - 1
    is_inside = (before >= 0) & (before + 1 < len(timings))
    alone, before = alone[is_inside], before[is_inside]
    # Between two rows of one lap, so it is neither of a pause nor of a replay.
    is_lost = (lap_of_row[before] >= 0) & (lap_of_row[before] == lap_of_row[before + 1])
    is_lost &= physics["viewed"][alone] == timings["slot"][before]
    alone, before = alone[is_lost], before[is_lost]
    laps = np.concatenate([lap_of_row[rows], lap_of_row[before]])
    ordinals = np.concatenate([timings["ordinal"][rows], physics["ordinal"][alone]])
    order = np.lexsort((ordinals, laps))
    none = np.full(len(alone), -1, np.int64)
    return _Frames(
        laps[order],
        np.concatenate([rows, none])[order],
        np.concatenate([joined[rows], alone])[order],
    )


class _Samples:
    """The packets of all samples, of which columns are made one after the other to save memory.

    Args:
        timing: Row of timings of each sample; any row where it has none.
        physics: Row of physics of each sample; any row where it has none.
        frames: Which of them it has.
    """

    def __init__(self, timing: Rows, physics: Rows, frames: _Frames) -> None:
        self._timing, self._physics, self._laps = timing, physics, frames.laps
        self._has_timing, self._has_physics = frames.timings >= 0, frames.physics >= 0
        # A packet whose timings were lost has been compared with those around it.
        self._is_own = self._has_physics & (~self._has_timing | (physics["viewed"] == timing["slot"]))

    def columns(self, has_clock: Flags, counts: Counter[str]) -> dict[str, pa.Array]:
        """Return the columns with the 14 fields.

        Args:
            has_clock: Whether the clock runs in each lap; shape (laps,).
            counts: As in :func:`sample_table`.
        """
        counts["physics_of_other_cars"] += int((self._has_physics & ~self._is_own).sum())

        def made(name: str, values: Floats) -> pa.Array:
            return _arrow(name, _bounded(name, values, counts))

        clock = np.where(self._has_timing & has_clock[self._laps], self._timing["clock"], np.nan)
        level = _bounded("fuel_level", self._sent("fuel_level"), Counter())
        gear = self._sent("gear") % (GEAR_BITS + 1)
        return {
            "lap_distance_m": made("lap_distance_m", self._distance(clock)),
            "current_time_s": made("current_time_s", clock),
            "pos_x_m": made("pos_x_m", self._position("x")),
            "pos_z_m": made("pos_z_m", self._position("z")),
            "speed_mps": made("speed_mps", self._sent("speed")),
            "engine_rpm": made("engine_rpm", self._sent("rpm")),
            "throttle": made("throttle", self._sent("throttle") / _BYTE),
            "brake": made("brake", self._sent("brake") / _BYTE),
            "steering": made("steering", (self._sent("steering") / _STEERING).clip(-1)),
            "yaw_rad": made("yaw_rad", self._sent("yaw")),
            "fuel_capacity_l": made("fuel_capacity_l", self._sent("fuel_capacity")),
            "fuel_level": made("fuel_level", self._sent("fuel_level")),
            "fuel_l": made("fuel_l", level * self._sent("fuel_capacity")),
            "gear": made("gear", np.where(gear == REVERSE, -1, gear)),
        }

    def ticks(self) -> pa.Array:
        """Return the tick counts without their wrap at 2^32."""
        ticks = np.where(self._has_timing, self._timing["tick"], -1)
        ticks = np.where((ticks < 0) & self._has_physics, self._physics["tick"], ticks)
        is_known = ticks >= 0
        known = ticks[is_known]
        if len(known):
            ticks[is_known] = known[0] + np.concatenate([[0], np.cumsum(unwrapped_steps(known))])
        # A count that runs backwards further than to its beginning is not a count.
        return pa.array(ticks, mask=~is_known | (ticks < 0))

    def _sent(self, name: str) -> Floats:
        """Return a field of physics of the driver's own car; NaN stands for null."""
        with np.errstate(invalid="ignore"):  # a signalling NaN
            return np.where(self._is_own, self._physics[name].astype(np.float64), np.nan)

    def _position(self, name: str) -> Floats:
        """Return the exact position, or that of the timings, which have quarters of a metre."""
        exact = self._sent(name)
        return np.where(np.isnan(exact) & self._has_timing, self._timing[name], exact)

    def _distance(self, clock: Floats) -> Floats:
        """Return the distance within the metre reported: speed times time, held between it and the next one."""
        laps, reported = self._laps, self._timing["distance"].astype(np.float64)
        distance = np.full(len(laps), np.nan)
        # On some out-laps the distance does not count.
        counts = np.zeros(int(laps.max(initial=-1)) + 1, np.bool_)
        counts[laps[(reported > 0) & self._has_timing]] = True
        known = np.flatnonzero(self._has_timing & counts[laps])
        steps = np.diff(clock[known], prepend=np.nan) * self._sent("speed")[known]
        steps[(np.diff(laps[known], prepend=-1) != 0) | ~np.isfinite(steps)] = 0.0
        distance[known] = _held_within(reported[known].tolist(), steps.tolist())
        return distance


def _taken(rows: Rows, places: Integers) -> Rows:
    """Return the rows at some places; any row where the place is -1."""
    return rows[places] if len(rows) else np.zeros(len(places), rows.dtype)


def _bounded(name: str, values: Floats, counts: Counter[str]) -> Floats:
    """Return the values with those that no car and no track can have set to null."""
    column = _BOUNDS[name]
    lowest, highest = column.minimum or 0.0, np.inf if column.maximum is None else column.maximum
    with np.errstate(invalid="ignore"):
        is_outside = (values < lowest) | (values > highest) | np.isinf(values)
    counts["values_out_of_bounds"] += int(is_outside.sum())
    return np.where(is_outside, np.nan, values)


def _held_within(metres: list[float], steps: list[float]) -> list[float]:
    """Return distances that grow by the steps and stay within the metre reported."""
    distances: list[float] = []
    distance = 0.0
    for metre, step in zip(metres, steps, strict=True):
        distance += step
        if not metre <= distance:
            distance = metre
        elif distance >= metre + 1:
            distance = metre + _ALMOST_A_METRE
        distances.append(distance)
    return distances


def _arrow(name: str, values: Floats) -> pa.Array:
    is_null = np.isnan(values)
    if name == "gear":
        return pa.array(np.where(is_null, 0, values).astype(np.int64), mask=is_null)
    return pa.array(values, mask=is_null)
