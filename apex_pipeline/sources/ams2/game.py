"""Collects what the game says now and then: its state, the track, names of cars and, if wanted, of people.

These packets come less often than the samples, so a change lies somewhere between two of them; see ``driving.py`` for
how its place is found.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from apex_pipeline.sources.ams2.driver import Rows
from apex_pipeline.sources.ams2.layouts import (
    CARS,
    GAME_STATE,
    LAYOUTS,
    LOW_3_BITS,
    NAMES,
    PARTIAL_INDEX_AT,
    PARTICIPANTS,
    RACE,
    TIME_STATS,
)
from apex_pipeline.sources.ams2.limits import RecordingLimits
from apex_pipeline.sources.ams2.ordering import Batch, Integers

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Change(Generic[Value]):
    """A value that is new.

    Attributes:
        after: Place of the last packet with the old value; -1 if there was none.
        seen: Place of the first packet with the new one.
        value: The value.
    """

    after: int
    seen: int
    value: Value


@dataclass(frozen=True)
class Track:
    """The track of a session as the game names it.

    Attributes:
        location: Track.
        variation: Layout.
        length_m: Its length; ``None`` where the game does not say.
    """

    location: str | None
    variation: str | None
    length_m: float | None


@dataclass(frozen=True)
class GameState:
    """State of the game.

    Attributes:
        state: 2 playing, 3 paused, 6 replay …
        session: 1 practice, 3 qualifying, 5 race …
    """

    state: int
    session: int


class History(Generic[Key, Value]):
    """Values by key as they changed over the recording.

    Args:
        limit: Largest number of changes kept; further ones are dropped, which :attr:`is_full` says.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._values: defaultdict[Key, tuple[list[int], list[Value]]] = defaultdict(lambda: ([], []))

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached."""
        return self._left <= 0

    def put(self, key: Key, ordinal: int, value: Value) -> None:
        """Note the value of a key from a place in the recording on; places come in order."""
        places, values = self._values[key]
        if self._left > 0 and (not values or values[-1] != value):
            self._left -= 1
            places.append(ordinal)
            values.append(value)

    def at(self, key: Key, ordinal: int) -> Value | None:
        """Return the value at a place; before the first one known, that one."""
        places, values = self._values.get(key, ([], []))
        return values[max(0, bisect_right(places, ordinal) - 1)] if values else None

    def between(self, key: Key, first: int, last: int) -> list[Value]:
        """Return the values that were new after ``first`` and up to ``last``."""
        places, values = self._values.get(key, ([], []))
        return values[bisect_right(places, first) : bisect_right(places, last)]


class GameLog:
    """Collects the occasional packets, batch after batch.

    Args:
        limits: How many changes are kept.
        keep_names: Keep names of people, which are personal.

    Attributes:
        states: Changes of the game's state.
        tracks: Changes of the track.
        last_laps: Last lap time in seconds, by place of the car among the entries.
        last_sectors: Last sector time in seconds, likewise.
        people: Name, by place of the car; empty unless names are kept.
        vehicles: Name and class number of a car, by its index.
        classes: Name of a class, by its number.
    """

    def __init__(self, limits: RecordingLimits, *, keep_names: bool) -> None:
        self._limit = limits.changes
        self._keep_names = keep_names
        self.states: list[Change[GameState]] = []
        self.tracks: list[Change[Track]] = []
        self.last_laps: History[int, float] = History(limits.changes)
        self.last_sectors: History[int, float] = History(limits.changes)
        self.people: History[int, str] = History(limits.changes)
        self.vehicles: History[int, tuple[str, int]] = History(limits.changes)
        self.classes: History[int, str] = History(limits.changes)
        self._last: dict[int, int] = {}
        self._last_stats = {name: np.zeros(CARS, np.uint32) for name in ("last_lap", "last_sector")}
        self._last_bytes: dict[tuple[int, int], bytes] = {}  # by size and partial index

    def add(self, batch: Batch) -> None:
        """Add the packets of a batch."""
        self._add_states(batch)
        self._add_stats(batch)
        readers: dict[int, Callable[[np.void, int, int], None]] = {RACE: self._add_track, NAMES: self._add_names}
        if self._keep_names:
            readers[PARTICIPANTS] = self._add_people
        rare = np.flatnonzero(np.isin(batch.types, list(readers)))
        for place in rare.tolist():
            kind, size = int(batch.types[place]), int(batch.sizes[place])
            layout = LAYOUTS.get((kind, size))
            if layout is None:
                continue
            start = int(batch.starts[place])
            content = batch.data[start + PARTIAL_INDEX_AT : start + size].tobytes()
            ordinal = int(batch.ordinals[place])
            # The same packets are sent again and again.
            if self._last_bytes.get((size, content[0])) != content:
                self._last_bytes[size, content[0]] = content
                packet = batch.rows(np.array([place]), layout)[0]
                readers[kind](packet, content[0], ordinal)
            self._last[kind] = ordinal

    def _add_states(self, batch: Batch) -> None:
        where = _places(batch, GAME_STATE, 24)
        if not len(where):
            return
        values = batch.rows(where, LAYOUTS[GAME_STATE, 24])["state"]
        ordinals = batch.ordinals[where]
        last = -1 if not self.states else self.states[-1].value.state | self.states[-1].value.session << 4
        values = values & 0x77
        before = np.concatenate([[last], values[:-1]])
        places = np.concatenate([[self._last.get(GAME_STATE, -1)], ordinals[:-1]])
        for change in np.flatnonzero(values != before)[: self._limit - len(self.states)].tolist():
            value = int(values[change])
            state = GameState(value & LOW_3_BITS, value >> 4)
            self.states.append(Change(int(places[change]), int(ordinals[change]), state))
        self._last[GAME_STATE] = int(ordinals[-1])

    def _add_stats(self, batch: Batch) -> None:
        for kind, size in LAYOUTS:
            where = _places(batch, kind, size) if kind == TIME_STATS else np.empty(0, np.int64)
            if not len(where):
                continue
            cars = batch.rows(where, LAYOUTS[kind, size])["cars"]
            self._add_times("last_lap", self.last_laps, cars, batch.ordinals[where])
            self._add_times("last_sector", self.last_sectors, cars, batch.ordinals[where])

    def _add_times(self, name: str, history: History[int, float], cars: Rows, ordinals: Integers) -> None:
        """Add the new times of all cars; ``cars`` has shape (packets, 32)."""
        times = np.ascontiguousarray(cars[name])
        bits = times.view(np.uint32)  # a value that is not a number differs from itself
        is_new = bits != np.concatenate([self._last_stats[name][None], bits[:-1]])
        for row, car in np.argwhere(is_new).tolist():
            if history.is_full:
                break
            history.put(car, int(ordinals[row]), float(times[row, car]))
        self._last_stats[name] = bits[-1].copy()

    def _add_track(self, packet: np.void, _partial_index: int, ordinal: int) -> None:
        length = float(packet["length"])
        track = Track(
            _text(packet["location"]), _text(packet["variation"]), length if 0 < length < _LONGEST_TRACK_M else None
        )
        if (not self.tracks or self.tracks[-1].value != track) and len(self.tracks) < self._limit:
            self.tracks.append(Change(self._last.get(RACE, -1), ordinal, track))

    def _add_names(self, packet: np.void, _partial_index: int, ordinal: int) -> None:
        names = packet.dtype.names or ()
        for item in packet["vehicles"] if "vehicles" in names else ():
            if name := _text(item["name"]):
                self.vehicles.put(int(item["index"]), ordinal, (name, int(item["class"])))
        for item in packet["classes"] if "classes" in names else ():
            if name := _text(item["name"]):
                self.classes.put(int(item["index"]), ordinal, name)

    def _add_people(self, packet: np.void, partial_index: int, ordinal: int) -> None:
        for place, name in enumerate(packet["name"]):
            self.people.put((max(1, partial_index) - 1) * len(packet["name"]) + place, ordinal, _text(name) or "")


_LONGEST_TRACK_M = 100_000


def _places(batch: Batch, kind: int, size: int) -> Integers:
    return np.flatnonzero((batch.types == kind) & (batch.sizes == size))


def _text(raw: bytes) -> str | None:
    """Return the text of a field that ends at its first zero byte; not every name is valid UTF-8."""
    text = raw.split(b"\0", 1)[0].decode("utf-8", "replace").strip()
    return text or None


def count_packets(batch: Batch, counts: Counter[tuple[int, int]]) -> None:
    """Add the number of packets of each type and size."""
    kinds = batch.types.astype(np.int64) << 16 | batch.sizes
    for kind, count in zip(*np.unique(kinds, return_counts=True), strict=True):
        counts[int(kind) >> 16, int(kind) & 0xFFFF] += int(count)
