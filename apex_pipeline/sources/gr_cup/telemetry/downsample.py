"""A raw telemetry file made smaller: every Nth sample of every car, its lines copied byte for byte.

Thinned is by sample and never by row: a long file has one row per channel, and every Nth row of it would tear the
channels of a moment apart. A sample is one time of a car's clock; of a car whose clock stands still, one message. Any
layout will do that has a car and a time on each line: one reading, a list of readings, or a column per channel.

Here belongs which lines stay. Not here: what their readings mean (``careful``), and folders (``export/downsample.py``).
"""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.base import DownsampleStats
from apex_pipeline.sources.csv_reader import detect_dialect
from apex_pipeline.sources.gr_cup.telemetry.chunks import LONGEST_LINE_BYTES
from apex_pipeline.sources.parsing import parse_utc_ms

_CAR, _TIME, _RECEIVED = "vehicle_id", "timestamp", "meta_time"

# As in ``clocks``: a clock that shows fewer than one time in ten messages stands still.
_MESSAGES_PER_TIME = 10
# Times held back before they are merged with those known: 0.4 MB per car, and at least as many as are known, which
# keeps the merging linear.
_WAITING = 10_000


class _SampleKey(NamedTuple):
    """Car and time of a line; milliseconds since 1970."""

    car: bytes
    time_ms: int
    received_ms: int | None


@dataclass(frozen=True)
class _HeaderColumns:
    """Where car and times stand in a line."""

    delimiter: bytes
    width: int
    car: int
    time: int
    received: int | None


class _TimeList:
    """The different ones of many times; what is kept grows with their number only."""

    def __init__(self) -> None:
        self._waiting: list[int] = []
        self._known: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def add(self, time_ms: int) -> None:
        # The channels of a sample mostly follow each other.
        if not self._waiting or self._waiting[-1] != time_ms:
            self._waiting.append(time_ms)
            if len(self._waiting) > _WAITING + len(self._known):
                self.ascending()

    def ascending(self) -> npt.NDArray[np.int64]:
        """Return each time once."""
        self._known = np.union1d(self._known, np.array(self._waiting, np.int64))
        self._waiting.clear()
        return self._known


@dataclass(frozen=True)
class _Selected:
    """Which samples of a car stay."""

    is_by_message: bool
    times_ms: frozenset[int]
    samples: int

    def holds(self, place: _SampleKey) -> bool:
        return (place.received_ms if self.is_by_message else place.time_ms) in self.times_ms


def downsample(
    open_text: Callable[[], AbstractContextManager[BinaryIO]],
    path: str,
    every: int,
    write: Callable[[bytes], object],
) -> DownsampleStats:
    """Copy every Nth sample of every car, in the file's own order.

    The file is read twice: rows of a car may stand in any order, so its samples are numbered by time first. Memory
    holds the different times, for a while up to 50 bytes each (100 MB for the largest race).

    Args:
        open_text: Gives the uncompressed file from its beginning; called twice. If it changes in between, the result
            is wrong: the caller has to look.
        path: For messages.
        every: N; the first sample of a car, and each Nth after it, stay.
        write: Takes the lines that stay.

    Raises:
        MalformedFileError: The file is empty, binary, or its header names no car or no time.
    """
    with open_text() as stream:
        kept = _choose(stream, path, every)
    with open_text() as stream:
        rows_in, rows_out, unreadable = _copy(stream, path, kept, write)
    return DownsampleStats(
        rows_in=rows_in,
        rows_out=rows_out,
        unreadable_rows=unreadable,
        samples_in=sum(car.samples for car in kept.values()),
        samples_out=sum(len(car.times_ms) for car in kept.values()),
    )


def _choose(stream: BinaryIO, path: str, every: int) -> dict[bytes, _Selected]:
    shown: defaultdict[bytes, _TimeList] = defaultdict(_TimeList)
    received: defaultdict[bytes, _TimeList] = defaultdict(_TimeList)
    for _, place in _sample_keys(stream, path):
        if isinstance(place, _SampleKey):
            shown[place.car].add(place.time_ms)
            if place.received_ms is not None:
                received[place.car].add(place.received_ms)
    return {car: _selected(times.ascending(), received[car].ascending(), every) for car, times in shown.items()}


def _selected(shown: npt.NDArray[np.int64], received: npt.NDArray[np.int64], every: int) -> _Selected:
    is_by_message = len(shown) * _MESSAGES_PER_TIME < len(received)
    times = received if is_by_message else shown
    return _Selected(is_by_message, frozenset(times[::every].tolist()), len(times))


def _copy(
    stream: BinaryIO, path: str, kept: dict[bytes, _Selected], write: Callable[[bytes], object]
) -> tuple[int, int, int]:
    """Write the lines that stay; return the number of rows, of those that stay, and of those nobody can read."""
    rows_in = rows_out = unreadable = 0
    for line, place in _sample_keys(stream, path):
        if isinstance(place, _SampleKey):
            rows_in += 1
            if place.car not in kept or not kept[place.car].holds(place):
                continue
            rows_out += 1
        elif place == "row":
            rows_in, rows_out, unreadable = rows_in + 1, rows_out + 1, unreadable + 1
        write(line)
    return rows_in, rows_out, unreadable


def _sample_keys(stream: BinaryIO, path: str) -> Iterator[tuple[bytes, _SampleKey | str]]:
    """Yield every line with its place, or what it is instead: ``header``, ``blank``, a ``row`` without place.

    A line too long for memory comes in parts: a ``row`` and then, belonging to it, ``blank`` ones.
    """
    first = stream.readline(LONGEST_LINE_BYTES)
    header = _first_header(first, path)
    yield first, "header"
    is_begun = not first.endswith(b"\n")
    while line := stream.readline(LONGEST_LINE_BYTES):
        is_rest, is_begun = is_begun, not line.endswith(b"\n") and len(line) >= LONGEST_LINE_BYTES
        if is_rest or not line.strip():
            yield line, "blank"
            continue
        cells = [] if is_begun else _cells_of(line, header.delimiter)
        place = _sample_key_of(cells, header)
        if place is None and (further := _header_of(cells, header.delimiter)):
            header = further
            yield line, "header"
        else:
            yield line, place or "row"


def _first_header(line: bytes, path: str) -> _HeaderColumns:
    dialect = detect_dialect(line, path)
    header = _header_of([name.encode() for name in dialect.columns], dialect.delimiter.encode())
    if header is None:
        raise MalformedFileError(
            f"{path} has no column {_CAR} or no column {_TIME}; it has {', '.join(dialect.columns)}.",
            "Check that it is a telemetry file.",
        )
    return header


def _header_of(cells: Sequence[bytes], delimiter: bytes) -> _HeaderColumns | None:
    """Return what a header says; ``None`` if these cells are none."""
    names = [cell.strip(b"\xef\xbb\xbf \t\r\n").decode("latin-1") for cell in cells]
    while names and not names[-1]:
        names.pop()
    if _CAR not in names or _TIME not in names:
        return None
    received = names.index(_RECEIVED) if _RECEIVED in names else None
    return _HeaderColumns(delimiter, len(names), names.index(_CAR), names.index(_TIME), received)


def _cells_of(line: bytes, delimiter: bytes) -> list[bytes]:
    """Return the cells; none if the quotes do not close."""
    if b'"' not in line:
        return line.split(delimiter)
    try:
        # Latin-1 gives every byte a character and back.
        text = line.rstrip(b"\r\n").decode("latin-1")
        cells = next(csv.reader([text], delimiter=delimiter.decode(), strict=True), [])
    except csv.Error:
        return []
    return [cell.encode("latin-1") for cell in cells]


def _sample_key_of(cells: Sequence[bytes], header: _HeaderColumns) -> _SampleKey | None:
    if len(cells) < header.width:
        return None
    car, time_ms = cells[header.car].strip(), _instant_ms(cells[header.time])
    received_ms = None if header.received is None else _instant_ms(cells[header.received])
    if not car or time_ms is None or (header.received is not None and received_ms is None):
        return None
    return _SampleKey(car, time_ms, received_ms)


# The channels of a sample share its times, and so do neighbouring samples the time of their message.
@lru_cache(maxsize=1024)
def _instant_ms(cell: bytes) -> int | None:
    return parse_utc_ms(cell.strip().decode("latin-1"))
