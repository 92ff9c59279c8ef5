"""Follows every car through the timings packets, keeping only the moments at which something changes.

An hour of timings has 7 million entries, of which a few thousand end a lap, enter the pits or the like; see
``timing.py`` for the laps made of them.
"""

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.ams2.driver import Rows, Timings
from apex_pipeline.sources.ams2.layouts import CARS, ENTRY, LOW_3_BITS
from apex_pipeline.sources.ams2.limits import RecordingLimits

# A change: the entry before it and the entry after it, with the places of their packets.
CHANGE = np.dtype(
    [
        ("slot", "i2"),
        ("last_ordinal", "i8"),
        ("ordinal", "i8"),
        ("last", ENTRY),
        ("entry", ENTRY),
    ]
)

_WATCHED = ("lap", "race_state", "car_index", "mp_index")


class RivalLog:
    """Collects the changes of all cars, batch after batch.

    Args:
        limits: How many changes are kept.

    Attributes:
        is_full: Further changes were dropped.
    """

    def __init__(self, limits: RecordingLimits) -> None:
        self._left = limits.changes
        self._changes: list[Rows] = []
        self._entries = np.zeros(CARS, ENTRY)
        self._ordinal = -1
        self._cars = 0
        self.is_full = False

    def add(self, timings: Timings) -> None:
        """Add the timings packets of a batch."""
        if not len(timings.ordinals):
            return
        cars = max(self._cars, int(timings.cars.max()))
        where, slots = np.nonzero(self._is_changed(timings, cars))
        self.is_full = self.is_full or len(where) > self._left
        where, slots = where[: self._left], slots[: self._left]
        self._left -= len(where)
        changes = np.zeros(len(where), CHANGE)
        changes["slot"] = slots
        changes["ordinal"] = timings.ordinals[where]
        changes["last_ordinal"] = np.where(where > 0, timings.ordinals[where - 1], self._ordinal)
        changes["entry"] = timings.entries[where, slots]
        changes["last"] = np.where(where > 0, timings.entries[where - 1, slots], self._entries[slots])
        self._changes.append(changes)
        self._entries, self._ordinal = timings.entries[-1].copy(), int(timings.ordinals[-1])
        self._cars = cars

    def changes(self) -> Rows:
        """Return the changes by car and time, the last state of each car as its last change."""
        ends = np.zeros(self._cars, CHANGE)
        ends["slot"] = np.arange(self._cars)
        ends["last_ordinal"], ends["ordinal"] = self._ordinal, np.iinfo(np.int64).max
        ends["last"] = ends["entry"] = self._entries[: self._cars]
        changes = np.concatenate([np.empty(0, CHANGE), *self._changes, ends])
        return changes[np.lexsort((changes["ordinal"], changes["slot"]))]

    def _is_changed(self, timings: Timings, cars: int) -> npt.NDArray[np.bool_]:
        """Return where an entry differs from the one before in what matters; shape (packets, cars)."""
        entries, first = timings.entries[:, :cars], self._entries[:cars]
        is_changed = np.zeros(entries.shape, np.bool_)
        for name in _WATCHED:
            is_changed |= _differs(entries[name], first[name])
        is_changed |= _differs(entries["pit_mode"] & LOW_3_BITS, first["pit_mode"] & LOW_3_BITS)
        clock = np.concatenate([first["clock"][None], entries["clock"]])
        with np.errstate(invalid="ignore"):
            is_changed |= (clock[1:] < clock[:-1]) | ((clock[1:] < 0) != (clock[:-1] < 0))
        return is_changed


def _differs(values: npt.NDArray[np.generic], first: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Return where values differ from those in the row before; ``first`` is the row before the first."""
    differs = np.empty(values.shape, np.bool_)
    differs[1:] = values[1:] != values[:-1]
    differs[0] = values[0] != first
    return differs
