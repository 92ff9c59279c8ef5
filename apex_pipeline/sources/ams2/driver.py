"""Takes the driver's car out of the physics and timings packets: a row per packet, with only what is published."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.ams2.layouts import (
    CARS,
    ENTRY,
    IS_HUMAN,
    LAYOUTS,
    NO_INDEX,
    PHYSICS,
    RACE_POSITION_BITS,
    TIMINGS,
)
from apex_pipeline.sources.ams2.ordering import Batch, Integers

Rows = npt.NDArray[np.void]

# A row per physics packet. ``tick`` is -1 in packets without one.
PHYSICS_ROW = np.dtype(
    [
        ("ordinal", "i8"),
        ("number", "i8"),
        ("tick", "i8"),
        ("viewed", "i1"),
        ("fuel_capacity", "u1"),
        ("brake", "u1"),
        ("throttle", "u1"),
        ("fuel_level", "f4"),
        ("speed", "f4"),
        ("rpm", "u2"),
        ("steering", "i1"),
        ("gear", "u1"),
        ("yaw", "f4"),
        ("x", "f4"),
        ("z", "f4"),
    ]
)

# A row per timings packet, of the driver's entry. ``slot`` is his place among the entries, ``counted`` the packet
# number without the packets of other types that have arrived: it tells how many samples were lost. ``is_guessed``
# says that the packet does not name the driver, so that the car which the camera shows was taken.
TIMING_ROW = np.dtype(
    [
        ("ordinal", "i8"),
        ("number", "i8"),
        ("counted", "i8"),
        ("stretch", "i4"),
        ("tick", "i8"),
        ("slot", "i2"),
        ("is_guessed", "?"),
        ("changed", "u4"),
        ("clock", "f4"),
        ("sector_clock", "f4"),
        ("distance", "u2"),
        ("lap", "u1"),
        ("sector", "u1"),
        ("pit_mode", "u1"),
        ("race_state", "u1"),
        ("race_position", "u1"),
        ("x", "f4"),
        ("z", "f4"),
    ]
)


@dataclass(frozen=True)
class Timings:
    """The timings packets of a batch, in order and in one layout; arrays have shape (packets,) or (packets, 32).

    Attributes:
        ordinals: Place of each in the recording.
        cars: How many entries of each are in use, at most 32.
        entries: The entries.
        rows: The driver's rows, of the packets with a known place.
    """

    ordinals: Integers
    cars: Integers
    entries: Rows
    rows: Rows


class DriverRows:
    """Collects the driver's rows, batch after batch.

    Attributes:
        counts: Packets that gave no row, by reason, and ``most_cars``, the largest number of cars reported.
    """

    def __init__(self) -> None:
        self._physics: list[Rows] = []
        self._timings: list[Rows] = []
        self._viewed = -1
        self._others = 0
        self.counts: Counter[str] = Counter()

    def add(self, batch: Batch) -> Timings:
        """Add the rows of a batch and return its timings packets, for the other cars."""
        physics = _in_order([_physics_rows(batch, *found) for found in _packets(batch, PHYSICS)], PHYSICS_ROW)
        self._physics.append(physics)
        parts = [self._timings_of(batch, physics, *found) for found in _packets(batch, TIMINGS)]
        timings = _merged(parts)
        others = self._others + np.cumsum((batch.types != PHYSICS) & (batch.types != TIMINGS), dtype=np.int64)
        if len(others):
            self._others = int(others[-1])
            timings.rows["counted"] = timings.rows["number"] - others[timings.rows["ordinal"] - batch.ordinals[0]]
        self._timings.append(timings.rows)
        if len(physics):
            self._viewed = int(physics["viewed"][-1])
        return timings

    def physics(self) -> Rows:
        """Return all rows of physics packets, in order; they are given once."""
        return _taken_out(self._physics, PHYSICS_ROW)

    def timings(self) -> Rows:
        """Return all rows of timings packets, in order; they are given once.

        Where the packets do not name the driver, only the car that the camera shows most is his: the others are
        rivals that it was turned to, and no lap may come of their clocks.
        """
        rows = _taken_out(self._timings, TIMING_ROW)
        guessed = rows["slot"][rows["is_guessed"]]
        if not len(guessed):
            return rows
        named = rows["slot"][~rows["is_guessed"]]
        own = int(np.bincount(named if len(named) else guessed).argmax())
        is_own = ~rows["is_guessed"] | (rows["slot"] == own)
        self.counts["timings_without_driver"] += int(len(rows) - is_own.sum())
        self.counts["driver_by_camera"] += int((is_own & rows["is_guessed"]).sum())
        return rows[is_own]

    def _timings_of(self, batch: Batch, physics: Rows, where: Integers, packets: Rows) -> Timings:
        reported = packets["num"].astype(np.int64)
        self.counts["most_cars"] = max(self.counts["most_cars"], int(reported.max(initial=0)))
        cars = reported.clip(0, CARS)
        ordinals = batch.ordinals[where]
        entries = _entries(packets)
        slots, is_guessed = self._slots(packets, entries, cars, physics, ordinals)
        is_known = slots >= 0
        self.counts["timings_without_driver"] += int(len(slots) - is_known.sum())
        rows = np.zeros(int(is_known.sum()), TIMING_ROW)
        own = entries[np.flatnonzero(is_known), slots[is_known]]
        rows["ordinal"], rows["number"] = ordinals[is_known], batch.numbers[where][is_known]
        rows["stretch"], rows["slot"] = batch.stretches[where][is_known], slots[is_known]
        rows["is_guessed"] = is_guessed[is_known]
        rows["changed"], rows["tick"] = packets["changed"][is_known], _ticks(packets)[is_known]
        _fill_entry(rows, own)
        return Timings(ordinals, cars, entries, rows)

    def _slots(
        self, packets: Rows, entries: Rows, cars: Integers, physics: Rows, ordinals: Integers
    ) -> "tuple[Integers, npt.NDArray[np.bool_]]":
        """Return the driver's place in each packet, -1 where it is not known, and whether it is a guess.

        His own index, where the packet has one; else the one entry whose car is not given, as the game does for the
        player only. Else the car that the camera shows is a guess, unless a person drives another car and not this one.
        """
        has_index = "local" in (packets.dtype.names or ())
        local = packets["local"].astype(np.int64) if has_index else np.full(len(packets), NO_INDEX)
        slots = np.where(local < cars, local, -1)
        is_guessed = np.zeros(len(slots), np.bool_)
        open_rows = np.flatnonzero(slots < 0)
        if len(open_rows):
            is_unnamed = entries["car_index"][open_rows] == NO_INDEX
            is_unnamed &= np.arange(CARS) < cars[open_rows, None]
            viewed = self._viewed_at(physics, ordinals[open_rows])
            is_human = (entries["car_index"][open_rows] & IS_HUMAN > 0) & (np.arange(CARS) < cars[open_rows, None])
            is_possible = (viewed >= 0) & (viewed < cars[open_rows])
            shown = is_human[np.arange(len(viewed)), viewed.clip(0, CARS - 1)]
            viewed = np.where(is_possible & (shown | ~is_human.any(axis=1)), viewed, -1)
            is_marked = is_unnamed.sum(axis=1) == 1
            slots[open_rows] = np.where(is_marked, is_unnamed.argmax(axis=1), viewed)
            is_guessed[open_rows] = ~is_marked
        return slots, is_guessed

    def _viewed_at(self, physics: Rows, ordinals: Integers) -> Integers:
        """Return the place of the car that the camera shows at some places of the recording."""
        before = np.searchsorted(physics["ordinal"], ordinals) - 1
        viewed = np.append(physics["viewed"], self._viewed)[before]
        if self._viewed < 0 and len(physics):
            viewed[before < 0] = physics["viewed"][0]
        return viewed.astype(np.int64)


def _taken_out(parts: "list[Rows]", dtype: np.dtype[np.void]) -> Rows:
    """Return the parts as one and forget them: they would double the memory of an hour."""
    rows = np.concatenate([np.empty(0, dtype), *parts])
    parts.clear()
    return rows


def _packets(batch: Batch, kind: int) -> "list[tuple[Integers, Rows]]":
    """Return the places and rows of the packets of a type, for each size of it that occurs."""
    found: list[tuple[Integers, Rows]] = []
    for (layout_kind, size), layout in LAYOUTS.items():
        if layout_kind == kind:
            where = np.flatnonzero((batch.types == kind) & (batch.sizes == size))
            if len(where):
                found.append((where, batch.rows(where, layout)))
    return found


def _ticks(packets: Rows) -> Integers:
    if "tick" in (packets.dtype.names or ()):
        return packets["tick"].astype(np.int64)
    return np.full(len(packets), -1, np.int64)


def _physics_rows(batch: Batch, where: Integers, packets: Rows) -> Rows:
    rows = np.zeros(len(where), PHYSICS_ROW)
    rows["ordinal"], rows["number"], rows["tick"] = batch.ordinals[where], batch.numbers[where], _ticks(packets)
    rows["x"] = rows["z"] = np.nan  # packets before patch 5 have no exact position
    for name in set(packets.dtype.names or ()) - {"tick"}:
        rows[name] = packets[name]
    return rows


def _entries(packets: Rows) -> Rows:
    entries = packets["entries"]
    if entries.dtype == ENTRY:
        return entries
    wider = np.zeros(entries.shape, ENTRY)
    for name in entries.dtype.names or ():
        wider[name] = entries[name]
    wider["mp_index"] = NO_INDEX
    return wider


def _fill_entry(rows: Rows, own: Rows) -> None:
    """Fill the columns that come from the driver's entry."""
    for name in ("clock", "sector_clock", "lap", "sector", "pit_mode", "race_state"):
        rows[name] = own[name]
    rows["distance"] = own["lap_distance"]
    rows["race_position"] = own["race_position"] & RACE_POSITION_BITS
    # Positions are whole metres; two bits each of the sector byte add quarters.
    rows["x"] = own["position"][:, 0] + (own["sector"] >> 6 & 3) / 4
    rows["z"] = own["position"][:, 2] + (own["sector"] >> 4 & 3) / 4


def _in_order(parts: "list[Rows]", dtype: np.dtype[np.void]) -> Rows:
    rows = np.concatenate([np.empty(0, dtype), *parts])
    return rows[np.argsort(rows["ordinal"], kind="stable")] if len(parts) > 1 else rows


def _merged(parts: "list[Timings]") -> Timings:
    """Return timings packets of several sizes as one, in order."""
    if len(parts) == 1:
        return parts[0]
    none = np.empty(0, np.int64)
    ordinals = np.concatenate([none, *(part.ordinals for part in parts)])
    order = np.argsort(ordinals, kind="stable")
    return Timings(
        ordinals[order],
        np.concatenate([none, *(part.cars for part in parts)])[order],
        np.concatenate([np.empty((0, CARS), ENTRY), *(part.entries for part in parts)])[order],
        _in_order([part.rows for part in parts], TIMING_ROW),
    )
