"""Restores the order of datagrams by packet number, drops duplicates, and notices when the counter restarts."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.ams2.framing import Frames
from apex_pipeline.sources.ams2.layouts import NUMBER_AT, TYPE_AT

Integers = npt.NDArray[np.int64]

# Datagrams within which order is restored: four seconds at 60 Hz, while networks swap neighbours.
_WINDOW = 512
# A counter that stays lower for so many datagrams at the end of a recording has restarted; fewer were late.
_SURE_RESTART = 64
# So many numbers that are used again for other packets, out of four times as many (the first ones of two sessions are
# often alike), tell a restart however short what came before is.
_USED_AGAIN = 16
# One number so far from both neighbours, which continue each other, is damaged.
_FAR = 1 << 16
# Distance between the numbers of two stretches; no counter runs so far.
_STRETCH = 1 << 40
# Restarts of the game in one recording. With more, the numbers mean nothing and the recorded order is kept.
_MOST_RESTARTS = 100


@dataclass(frozen=True)
class Batch:
    """Datagrams in order; arrays have shape (datagrams,).

    Attributes:
        data: The bytes that hold them; shape (bytes,).
        starts: Where each begins in ``data``.
        sizes: Bytes of each.
        types: Packet type of each.
        numbers: Packet number of each, increasing across its wrap at 2^32 and restarts of the counter.
        ordinals: 0, 1, 2 … over the whole recording.
        stretches: 0, 1 … counting restarts of the packet counter.
    """

    data: npt.NDArray[np.uint8]
    starts: Integers
    sizes: Integers
    types: npt.NDArray[np.uint8]
    numbers: Integers
    ordinals: Integers
    stretches: Integers

    def rows(self, where: Integers, layout: np.dtype[np.void]) -> npt.NDArray[np.void]:
        """Return the packets at some places, all of one size, as rows of their layout."""
        size = layout.itemsize
        window = np.ndarray((max(0, len(self.data) - size + 1),), f"V{size}", self.data, strides=(1,))
        return window[self.starts[where]].view(layout)


class Sequencer:
    """Puts datagrams in order, keeping the last few until the next ones are known.

    Attributes:
        dropped: Number of datagrams dropped, by reason: ``duplicates`` and ``late``.
    """

    def __init__(self) -> None:
        self._held = Frames(b"", np.empty(0, np.int64), np.empty(0, np.int64))
        self._first_held_number = 0
        self._last_number: int | None = None
        self._ordinal = 0
        self._stretch = 0
        self.dropped: Counter[str] = Counter()

    def push(self, frames: Frames, *, is_last: bool) -> Batch:
        """Take the next datagrams and return those whose place is now certain.

        Args:
            frames: Datagrams in the order of the recording.
            is_last: No more will follow, so all are returned.
        """
        frames = _joined(self._held, frames)
        data = np.frombuffer(frames.data, np.uint8)
        numbers = self._numbers(_field(data, frames.starts, NUMBER_AT, "<u4"))
        stretches = self._stretches(frames, numbers, is_last=is_last)
        order = np.lexsort((numbers, stretches)) if _is_unsorted(numbers) else np.arange(len(numbers))
        order = order[self._are_wanted(frames, data, numbers[order], stretches[order], order)]
        count = len(order) if is_last else max(0, len(order) - _WINDOW)
        self._hold(frames, numbers, np.sort(order[count:]))
        order = order[:count]
        batch = Batch(
            data,
            frames.starts[order],
            frames.sizes[order],
            data[frames.starts[order] + TYPE_AT],
            numbers[order] + (self._stretch + stretches[order]) * _STRETCH,
            self._ordinal + np.arange(count),
            self._stretch + stretches[order],
        )
        if count:
            self._ordinal += count
            self._last_number = int(numbers[order[-1]])
            self._stretch = int(batch.stretches[-1])
        return batch

    def _numbers(self, raw: npt.NDArray[np.uint32]) -> Integers:
        """Return the packet numbers continued beyond 2^32, with single damaged ones set to their neighbour's."""
        if not len(raw):
            return np.empty(0, np.int64)
        if self._stretch >= _MOST_RESTARTS:
            return (self._last_number or 0) + 1 + np.arange(len(raw))
        first = self._first_held_number if len(self._held.starts) else int(raw[0])
        numbers = first + np.concatenate([[0], np.cumsum(np.diff(raw).view(np.int32), dtype=np.int64)])
        before, here, after = numbers[:-2], numbers[1:-1], numbers[2:]
        is_damaged = (np.abs(here - before) > _FAR) & (np.abs(after - before) < _FAR)
        here[is_damaged] = before[is_damaged]
        return numbers

    def _stretches(self, frames: Frames, numbers: Integers, *, is_last: bool) -> Integers:
        """Return how often the counter has restarted before each datagram, since the last one returned."""
        stretches = np.zeros(len(numbers), np.int64)
        if not _is_unsorted(numbers) and (self._last_number is None or not (numbers < self._last_number).any()):
            return stretches
        reuse = _Reuse(frames, numbers)
        start, top = 0, self._last_number
        while self._stretch + int(stretches[-1:].sum()) < _MOST_RESTARTS:
            restart = _next_restart(reuse, start, top, is_last=is_last)
            if restart is None:
                break
            start = restart
            stretches[start:] += 1
            top = None
        return stretches

    def _are_wanted(
        self, frames: Frames, data: npt.NDArray[np.uint8], numbers: Integers, stretches: Integers, order: Integers
    ) -> npt.NDArray[np.bool_]:
        """Return which of the sorted datagrams are neither duplicates nor too late."""
        is_wanted = np.ones(len(order), np.bool_)
        if self._last_number is not None:
            is_wanted = (stretches > 0) | (numbers >= self._last_number)
            self.dropped["late"] += int(len(order) - is_wanted.sum())
        sizes = frames.sizes[order]
        is_like_last = (numbers[1:] == numbers[:-1]) & (stretches[1:] == stretches[:-1]) & (sizes[1:] == sizes[:-1])
        for place in np.flatnonzero(is_like_last) + 1:
            size = int(sizes[place])
            here, last = int(frames.starts[order[place]]), int(frames.starts[order[place - 1]])
            if is_wanted[place] and np.array_equal(data[here : here + size], data[last : last + size]):
                is_wanted[place] = False
                self.dropped["duplicates"] += 1
        return is_wanted

    def _hold(self, frames: Frames, numbers: Integers, held: Integers) -> None:
        starts, sizes = frames.starts[held], frames.sizes[held]
        pieces = [
            frames.data[start : start + size] for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)
        ]
        self._held = Frames(b"".join(pieces), np.cumsum(sizes) - sizes, sizes)
        self._first_held_number = int(numbers[held[0]]) if len(held) else 0


def _joined(first: Frames, second: Frames) -> Frames:
    if not len(first.starts):
        return second
    return Frames(
        first.data + second.data,
        np.concatenate([first.starts, second.starts + len(first.data)]),
        np.concatenate([first.sizes, second.sizes]),
    )


def _field(data: npt.NDArray[np.uint8], starts: Integers, offset: int, kind: str) -> npt.NDArray[np.uint32]:
    dtype = np.dtype(kind)
    window = np.ndarray((max(0, len(data) - offset - dtype.itemsize + 1),), dtype, data, offset, (1,))
    return window[starts]


def _is_unsorted(numbers: Integers) -> bool:
    return bool((np.diff(numbers) < 0).any())


class _Reuse:
    """Tells whether packet numbers are used again for other packets.

    Args:
        frames: The datagrams as recorded.
        numbers: Packet number of each.
    """

    def __init__(self, frames: Frames, numbers: Integers) -> None:
        self.numbers = numbers
        self._frames = frames
        self._order = np.argsort(numbers, kind="stable")
        self._sorted = numbers[self._order]

    def starts_at(self, place: int, first: int) -> bool:
        """Return whether the numbers from a place on are those of other datagrams between ``first`` and it."""
        numbers = self.numbers[place : place + 4 * _USED_AGAIN]
        earliest = self._order[np.searchsorted(self._sorted, numbers)].tolist()
        others = [
            first <= earlier < place and self._bytes(earlier) != self._bytes(later)
            for later, earlier in enumerate(earliest, place)
        ]
        return sum(others) >= _USED_AGAIN

    def _bytes(self, place: int) -> bytes:
        start = int(self._frames.starts[place])
        return self._frames.data[start : start + int(self._frames.sizes[place])]


def _next_restart(reuse: _Reuse, start: int, top: int | None, *, is_last: bool) -> int | None:
    """Return where the counter restarts.

    It falls, and none of the next 512 datagrams reaches its old value, or the next ones use their numbers again.

    Args:
        reuse: Packet numbers as recorded.
        start: Where the search begins.
        top: Number before that place, if any.
        is_last: Nothing follows them.
    """
    numbers = reuse.numbers[start:]
    before = np.maximum.accumulate(np.concatenate([numbers[:1] if top is None else [top], numbers]))[:-1]
    for place in np.flatnonzero(numbers < before).tolist():
        following = numbers[place : place + _WINDOW]
        is_sure = not is_last or len(following) >= _SURE_RESTART
        if is_sure and following.max() < before[place]:
            return start + place
        if before[place] - numbers[place] >= _USED_AGAIN and reuse.starts_at(start + place, start):
            return start + place
    return None
