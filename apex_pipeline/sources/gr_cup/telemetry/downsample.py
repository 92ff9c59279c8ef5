"""Downsamples a raw telemetry file: keeps every Nth sample of every car and copies its lines byte for byte.

Downsampling is by sample and never by row: a long file has one row per channel, and every Nth row would separate the
channels of a sample. A sample is one time of a car's clock, or one message if that clock is frozen. Any format with a
car and a time on each line is supported: one reading, a list of readings, or a column per channel.

Selects the lines; see ``line_parser`` for their meaning and ``export/downsample.py`` for folders.
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
from apex_pipeline.sources.limits import DEFAULT_LIMITS
from apex_pipeline.sources.parsing import parse_utc_ms

_LONGEST_LINE, _LONGEST_CELL = DEFAULT_LIMITS.line_bytes, DEFAULT_LIMITS.cell_characters

_CAR, _TIME, _RECEIVED = "vehicle_id", "timestamp", "meta_time"

# As in ``clocks``: a clock that shows fewer than one time per ten messages is frozen.
_MESSAGES_PER_TIME = 10
# Times buffered before they are merged into the distinct ones: 0.4 MB per car, and at least as many as the
# distinct times so far, which keeps the merging linear.
_MAX_BUFFERED = 10_000


class _SampleKey(NamedTuple):
    """Car and time of a line; milliseconds since 1970."""

    car: bytes
    time_ms: int
    received_ms: int | None


@dataclass(frozen=True)
class _HeaderColumns:
    """Column positions of the car and the times."""

    delimiter: bytes
    width: int
    car: int
    time: int
    received: int | None


class _TimeList:
    """Collects distinct times; its memory grows with the number of distinct times only."""

    def __init__(self) -> None:
        self._buffered: list[int] = []
        self._distinct: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def add(self, time_ms: int) -> None:
        # The channels of a sample are mostly on consecutive lines.
        if not self._buffered or self._buffered[-1] != time_ms:
            self._buffered.append(time_ms)
            if len(self._buffered) > _MAX_BUFFERED + len(self._distinct):
                self.ascending()

    def ascending(self) -> npt.NDArray[np.int64]:
        """Return the distinct times in ascending order."""
        self._distinct = np.union1d(self._distinct, np.array(self._buffered, np.int64))
        self._buffered.clear()
        return self._distinct


@dataclass(frozen=True)
class _Selected:
    """Samples to keep of one car."""

    is_by_message: bool
    times_ms: frozenset[int]
    samples: int

    def includes(self, key: _SampleKey) -> bool:
        return (key.received_ms if self.is_by_message else key.time_ms) in self.times_ms


def downsample(
    open_text: Callable[[], AbstractContextManager[BinaryIO]],
    path: str,
    every: int,
    write: Callable[[bytes], object],
) -> DownsampleStats:
    """Copy every Nth sample of every car, in the file's own order.

    The file is read twice: the rows of a car may be in any order, so its samples are first numbered by time. Memory
    holds the distinct times, temporarily up to 50 bytes each (100 MB for the largest race).

    Args:
        open_text: Opens the uncompressed file at its start; called twice. If the file changes in between, the result is
            wrong; the caller must check for that.
        path: Path used in messages.
        every: N; the first sample of a car and each Nth after it are kept.
        write: Called with each kept line.

    Raises:
        MalformedFileError: The file is empty, binary, or its header lacks the car or the time.
        LimitExceededError: It exceeds a limit; the defaults apply.
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
    for _, key in _sample_keys(stream, path):
        if isinstance(key, _SampleKey):
            shown[key.car].add(key.time_ms)
            DEFAULT_LIMITS.check_cars(path, len(shown))
            if key.received_ms is not None:
                received[key.car].add(key.received_ms)
    return {car: _selected(times.ascending(), received[car].ascending(), every) for car, times in shown.items()}


def _selected(shown: npt.NDArray[np.int64], received: npt.NDArray[np.int64], every: int) -> _Selected:
    is_by_message = len(shown) * _MESSAGES_PER_TIME < len(received)
    times = received if is_by_message else shown
    return _Selected(is_by_message, frozenset(times[::every].tolist()), len(times))


def _copy(
    stream: BinaryIO, path: str, kept: dict[bytes, _Selected], write: Callable[[bytes], object]
) -> tuple[int, int, int]:
    """Write the kept lines; return the numbers of all rows, kept rows and unreadable rows."""
    rows_in = rows_out = unreadable = 0
    for line, key in _sample_keys(stream, path):
        if isinstance(key, _SampleKey):
            rows_in += 1
            if key.car not in kept or not kept[key.car].includes(key):
                continue
            rows_out += 1
        elif key == "row":
            rows_in, rows_out, unreadable = rows_in + 1, rows_out + 1, unreadable + 1
        write(line)
    return rows_in, rows_out, unreadable


def _sample_keys(stream: BinaryIO, path: str) -> Iterator[tuple[bytes, _SampleKey | str]]:
    """Yield every line with its sample key, or else with its type: ``header``, ``blank``, or ``row`` if it has no key.

    A line too long for memory comes in parts: first a ``row``, then ``blank`` ones for the rest of the same line.
    """
    first = stream.readline(_LONGEST_LINE)
    header = _first_header(first, path)
    yield first, "header"
    is_open = not first.endswith(b"\n")
    while line := stream.readline(_LONGEST_LINE):
        is_rest, is_open = is_open, not line.endswith(b"\n") and len(line) >= _LONGEST_LINE
        if is_rest or not line.strip():
            yield line, "blank"
            continue
        cells = [] if is_open else _cells_of(line, header.delimiter)
        key = _sample_key_of(cells, header)
        if key is None and (further := _header_of(cells, header.delimiter)):
            header = further
            yield line, "header"
        else:
            yield line, key or "row"


def _first_header(line: bytes, path: str) -> _HeaderColumns:
    dialect = detect_dialect(line, path)
    header = _header_of([name.encode() for name in dialect.columns], dialect.delimiter.encode())
    if header is None:
        raise MalformedFileError(
            f"{path} has no column {_CAR} or {_TIME}; it has {', '.join(dialect.columns)}.",
            "Check that it is a telemetry file.",
        )
    return header


def _header_of(cells: Sequence[bytes], delimiter: bytes) -> _HeaderColumns | None:
    """Return the columns of a header; ``None`` if these cells are not a header."""
    names = [cell.strip(b"\xef\xbb\xbf \t\r\n").decode("latin-1") for cell in cells]
    while names and not names[-1]:
        names.pop()
    if _CAR not in names or _TIME not in names:
        return None
    received = names.index(_RECEIVED) if _RECEIVED in names else None
    return _HeaderColumns(delimiter, len(names), names.index(_CAR), names.index(_TIME), received)


def _cells_of(line: bytes, delimiter: bytes) -> list[bytes]:
    """Return the cells, or an empty list if a quote is not closed."""
    if b'"' not in line:
        return line.split(delimiter)
    try:
        # Latin-1 maps every byte to a character and back.
        text = line.rstrip(b"\r\n").decode("latin-1")
        cells = next(csv.reader([text], delimiter=delimiter.decode(), strict=True), [])
    except csv.Error:
        return []
    return [cell.encode("latin-1") for cell in cells]


def _sample_key_of(cells: Sequence[bytes], header: _HeaderColumns) -> _SampleKey | None:
    if len(cells) < header.width or max(len(cells[header.car]), len(cells[header.time])) > _LONGEST_CELL:
        return None
    car, time_ms = cells[header.car].strip(), _instant_ms(cells[header.time])
    received_ms = None if header.received is None else _instant_ms(cells[header.received][:_LONGEST_CELL])
    if not car or time_ms is None or (header.received is not None and received_ms is None):
        return None
    return _SampleKey(car, time_ms, received_ms)


# The channels of a sample share its times, and consecutive samples share the time of their message.
@lru_cache(maxsize=1024)
def _instant_ms(cell: bytes) -> int | None:
    return parse_utc_ms(cell.strip().decode("latin-1"))
