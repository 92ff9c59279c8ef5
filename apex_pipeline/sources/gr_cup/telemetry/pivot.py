"""Pivots one car's readings from long to wide: one row per sample time, one column per channel.

Exact duplicates are dropped and counted. Separate readings of a channel with the same car time (messages sent in a
burst) are numbered by ``repeat``: 0, 1 … in the order they were received. The result does not depend on the order of
the rows in the file, so a shuffled file gives the same table.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from apex_pipeline.sources.gr_cup.parsing import split_vehicle_id
from apex_pipeline.sources.gr_cup.telemetry.arrow_arrays import numbers, repeated, texts, values_of
from apex_pipeline.sources.gr_cup.telemetry.bounds import OutOfRange, blank_outside
from apex_pipeline.sources.gr_cup.telemetry.channels import columns_of
from apex_pipeline.sources.gr_cup.telemetry.clock_pieces import EXPLAINED_MS
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock
from apex_pipeline.sources.gr_cup.telemetry.spill import Frames, ReadingSpill, join
from apex_pipeline.tables import TELEMETRY

Ints = npt.NDArray[np.int64]
_Number = TypeVar("_Number", np.int64, np.float64)


def unique(values: npt.NDArray[_Number]) -> tuple[npt.NDArray[_Number], Ints]:
    """Return the distinct values, ascending, and the index of each element among them. Shapes (distinct,), (n,)."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    is_new = np.ones(len(values), dtype=bool)
    np.not_equal(ascending[1:], ascending[:-1], out=is_new[1:])
    index = np.empty(len(values), np.int64)
    index[order] = np.cumsum(is_new) - 1
    return ascending[is_new], index


SmallInts = npt.NDArray[np.int32]

_UTC_MS = pa.timestamp("ms", tz="UTC")
_LATEST_MS = np.iinfo(np.int64).max
_LOWEST_LAP = np.iinfo(np.int64).min
# Measured memory of a car: per reading (its 10 bytes twice, read and joined, and its row), per frame (its 32 bytes
# likewise), and per cell; there are hardly more rows than frames.
_BYTES_PER_READING, _BYTES_PER_FRAME, _BYTES_PER_CELL = 50, 110, 20
# Time ranges hold about the same number of frames each. 20 % more ranges than needed are used, because bursts are
# uneven.
_RANGE_FACTOR = 1.2
# Frames sampled to find these ranges.
_SAMPLED_FRAMES = 100_000
# All this is an estimate: times may be uneven, and a time with many repeats takes a row for each. A range that turns
# out larger than the limit by this factor is split again.
_TOLERANCE = 1.5
# Measured memory of a reading that shares its cell with another one.
_BYTES_PER_CONFLICT = 100


class SampleTooLargeError(Exception):
    """Raised if the readings of one sample time do not fit in memory; ``convert`` names the files."""

    def __init__(self, vehicle_id: str) -> None:
        super().__init__(vehicle_id)
        self.vehicle_id = vehicle_id


class _RangeTooLarge(Exception):  # noqa: N818  -- not an error: the range is split
    """Raised for a time range that does not fit in memory, with the time to split it at."""

    def __init__(self, cut_ms: int) -> None:
        super().__init__(cut_ms)
        self.cut_ms = cut_ms


@dataclass(frozen=True)
class PivotedRows:
    """Rows of one car and their number of readings; a car with many readings is split into time ranges."""

    rows: pa.Table
    readings: int
    distinct: int
    out_of_range: Mapping[str, OutOfRange] = field(default_factory=dict[str, OutOfRange])


class Pivoter:
    """Pivots the readings of a session, car by car.

    Args:
        readings: All readings of the session.
        schema: Schema of the published table, including unknown channels.
        laps: The session's table ``laps``, for the lap of each sample.
        max_bytes: Memory limit of one car; a car that needs more is split into time ranges.
    """

    def __init__(self, readings: ReadingSpill, schema: pa.Schema, laps: pa.Table | None, max_bytes: int) -> None:
        self._readings = readings
        self._schema = schema
        self._laps = laps
        self._max_bytes = max_bytes
        by_channel = columns_of(readings.channels)
        self._columns = sorted(set(by_channel.values()))
        self._column_of = np.array([self._columns.index(by_channel[name]) for name in readings.channels], np.uint16)

    def pivot(self, clock: CarClock) -> Iterator[PivotedRows]:
        """Yield a car's rows, sorted by sample time and repeat; track and session are filled in later.

        Raises:
            SampleTooLargeError: The readings of one sample time do not fit in memory.
        """
        ranges = list(self._ranges(clock))[::-1]
        while ranges:
            start_ms, end_ms = ranges.pop()
            try:
                frames, duplicates = self._collect(clock, start_ms, end_ms)
                rows = self._rows(clock, frames)
            except _RangeTooLarge as large:
                ranges += [(large.cut_ms, end_ms), (start_ms, large.cut_ms)]
            else:
                yield replace(rows, readings=rows.readings + duplicates)

    def _collect(self, clock: CarClock, start_ms: int | None, end_ms: int | None) -> tuple[Frames, int]:
        """Return the frames of a time range, and how many exact duplicates were dropped to make them fit."""
        parts: list[Frames] = []
        size, duplicates, is_reduced = 0, 0, False
        for block in self._readings.blocks_of(clock.vehicle_id):
            is_all = start_ms is None and end_ms is None
            frames = block if is_all else block.filter(_is_within(_row_times(block, clock), start_ms, end_ms))
            found, frames = frames, frames.without_duplicates() if is_reduced else frames
            duplicates += len(found.value) - len(frames.value)
            parts.append(frames)
            size += _size_of(frames)
            if size <= self._max_bytes * _TOLERANCE:
                continue
            _split(np.unique(np.concatenate([_row_times(part, clock) for part in parts])))
            if is_reduced:
                raise SampleTooLargeError(clock.vehicle_id)
            # One time cannot be split, but so many readings of it are mostly copies of each other.
            reduced = [part.without_duplicates() for part in parts]
            duplicates += sum(len(part.value) for part in parts) - sum(len(part.value) for part in reduced)
            parts, size, is_reduced = reduced, sum(map(_size_of, reduced)), True
        return join(parts), duplicates

    def _ranges(self, clock: CarClock) -> Iterator[tuple[int | None, int | None]]:
        """Yield time ranges, in sample time, each with as many readings as fit in memory."""
        size = self._readings.size_of(clock.vehicle_id)
        needed = size.readings * _BYTES_PER_READING + size.frames * (
            _BYTES_PER_FRAME + len(self._columns) * _BYTES_PER_CELL
        )
        count = math.ceil(needed * _RANGE_FACTOR / self._max_bytes) if needed > self._max_bytes else 1
        cuts: list[int | None] = []
        if count > 1:
            step = max(size.frames // _SAMPLED_FRAMES, 1)
            blocks = self._readings.blocks_of(clock.vehicle_id)
            # Copied, because a part of a block would keep all of it in memory.
            sampled = np.concatenate([_row_times(frames, clock)[::step].copy() for frames in blocks])
            shares = np.linspace(0, 1, count + 1)[1:-1]
            # A cut at the very first time would leave an empty range before it.
            cuts = [int(cut) for cut in np.unique(np.quantile(sampled, shares, method="lower")) if cut > sampled.min()]
        yield from zip([None, *cuts], [*cuts, None], strict=True)

    def _rows(self, clock: CarClock, frames: Frames) -> PivotedRows:
        from apex_pipeline.sources.gr_cup.telemetry.kernels import pivot as kernel  # noqa: PLC0415 -- see ``kernels``

        sample_ms, index = unique(_row_times(frames, clock))
        row = index.astype(np.int32)
        of_frame = (frames.car_ms, frames.received_ms, frames.unit_lap)
        of_reading = (self._column_of, frames.channel, frames.value)
        grid = np.zeros((len(sample_ms), len(self._columns)), np.int32)
        frame_of, repeat = np.empty((2, len(frames.value)), np.int32)
        conflicts = kernel.assign_cells(row, frames.readings, *of_frame, *of_reading, grid, frame_of, repeat)
        self._require_fitting(conflicts * _BYTES_PER_CONFLICT, sample_ms, clock)
        max_repeat = (
            self._assign_repeats(frames, row, frame_of, repeat, len(sample_ms))
            if conflicts
            else np.zeros_like(sample_ms)
        )
        first_row = np.arange(len(sample_ms)) + np.cumsum(max_repeat) - max_repeat
        rows = len(sample_ms) + int(max_repeat.sum())
        self._require_fitting(rows * len(self._columns) * _BYTES_PER_CELL, sample_ms, clock)
        values, is_filled = np.empty((len(self._columns), rows)), np.zeros((len(self._columns), rows), np.uint8)
        car_ms, received_ms = np.full((2, rows), _LATEST_MS)
        laps = np.full(rows, _LOWEST_LAP)
        of_row = (values, is_filled, car_ms, received_ms, laps)
        kernel.fill_cells(first_row.astype(np.int32), row, *of_frame, *of_reading, frame_of, repeat, *of_row)
        outside = blank_outside(self._columns, values, is_filled)
        columns: dict[str, object] = {
            name: _cells(values[column], is_filled[column]) for column, name in enumerate(self._columns)
        }
        columns |= {
            "repeat": numbers(np.arange(rows) - np.repeat(first_row, max_repeat + 1)),
            "car_time": numbers(car_ms).cast(_UTC_MS),
            "received_time_utc": numbers(received_ms).cast(_UTC_MS),
            "unit_lap": numbers(laps, laps < 0),
        }
        columns["time_flag"] = _time_flags(clock, car_ms, received_ms)
        table = self._table(clock, np.repeat(sample_ms, max_repeat + 1), columns)
        return PivotedRows(table, len(repeat), int(np.count_nonzero(repeat != kernel.DUPLICATE)), outside)

    def _require_fitting(self, size: int, sample_ms: Ints, clock: CarClock) -> None:
        """Check the memory that a range needs, now that it is known.

        Raises:
            _RangeTooLarge: It does not fit and is to be split.
            SampleTooLargeError: It does not fit and has only one sample time.
        """
        if size > self._max_bytes * _TOLERANCE:
            _split(sample_ms)
            raise SampleTooLargeError(clock.vehicle_id)

    def _assign_repeats(
        self, frames: Frames, row: SmallInts, frame_of: SmallInts, repeat: SmallInts, rows: int
    ) -> Ints:
        """Number the readings that fall into the same cell; return the highest number of each sample time."""
        from apex_pipeline.sources.gr_cup.telemetry.kernels import pivot as kernel  # noqa: PLC0415 -- see ``kernels``

        at = np.flatnonzero(repeat == kernel.CONFLICT)
        frame = frame_of[at]
        cell = row[frame].astype(np.int64) * len(self._columns) + self._column_of[frames.channel[at]]
        keys = (frames.unit_lap[frame], frames.value[at], frames.car_ms[frame], frames.received_ms[frame], cell)
        order = np.lexsort(keys)
        in_order = [key[order] for key in keys]
        is_new_cell = np.append(True, np.diff(in_order[-1]) != 0)
        is_new = np.append(True, np.any([key[1:] != key[:-1] for key in in_order], axis=0))
        number = np.cumsum(is_new) - 1
        # Numbers restart at the first reading of each cell.
        number -= np.repeat(number[is_new_cell], np.diff(np.append(np.flatnonzero(is_new_cell), len(order))))
        repeat[at[order]] = np.where(is_new, number, kernel.DUPLICATE)
        max_repeat = np.zeros(rows, np.int64)
        np.maximum.at(max_repeat, row[frame[order]], number)
        return max_repeat

    def _table(self, clock: CarClock, utc_ms: Ints, columns: dict[str, object]) -> pa.Table:
        """Add the columns of car, time and lap, in published order; a channel that this car never sent is null."""
        chassis, _ = split_vehicle_id(clock.vehicle_id)
        columns |= {
            "vehicle_id": repeated(clock.vehicle_id, len(utc_ms)),
            "chassis": repeated(chassis, len(utc_ms)),
            "sample_time_utc": numbers(utc_ms).cast(_UTC_MS),
            "lap_number": _lap_numbers(utc_ms, clock.vehicle_id, self._laps),
        }
        arrays = [columns.get(field.name, pa.nulls(len(utc_ms), field.type)) for field in self._schema]
        return pa.Table.from_arrays(arrays, names=self._schema.names)


def _size_of(frames: Frames) -> int:
    return len(frames.value) * _BYTES_PER_READING + len(frames.car_ms) * _BYTES_PER_FRAME


def _split(times: Ints) -> None:
    """Raise :class:`_RangeTooLarge` if there are at least two of these distinct, ascending times."""
    if len(times) > 1:
        raise _RangeTooLarge(int(times[len(times) // 2]))


def _row_times(frames: Frames, clock: CarClock) -> Ints:
    """Return the sample times, UTC, which define the rows."""
    return clock.sample_ms(frames.car_ms, frames.received_ms)


def _is_within(times: Ints, start: int | None, end: int | None) -> npt.NDArray[np.bool_]:
    is_within = np.ones(len(times), dtype=bool)
    if start is not None:
        is_within &= times >= start
    if end is not None:
        is_within &= times < end
    return is_within


def _time_flags(clock: CarClock, car_ms: Ints, received_ms: Ints) -> pa.DictionaryArray:
    """Return the flag of each row whose time is not explained, null for the others."""
    flag = np.full(len(car_ms), -1, np.int32)
    index = clock.pieces_of(car_ms, received_ms)
    flag[clock.unexplained_ms(index, car_ms, received_ms) > EXPLAINED_MS] = 0
    flag[index < 0] = 1
    return pa.DictionaryArray.from_arrays(numbers(flag, flag < 0), texts(["unsure", "unplaced"]))


def _cells(values: npt.NDArray[np.float64], is_filled: npt.NDArray[np.uint8]) -> pa.Array:
    """Return the cells of a column without copying the values."""
    bits = np.packbits(is_filled, bitorder="little")
    return pa.Array.from_buffers(pa.float64(), len(values), [pa.py_buffer(bits), pa.py_buffer(values)])


def _lap_numbers(sample_ms: Ints, vehicle_id: str, laps: pa.Table | None) -> pa.Array:
    """Find the lap of each sample by time, since the device's own lap counter may be lost, ahead or behind."""
    if laps is None or not laps.num_rows:
        return pa.nulls(len(sample_ms), pa.int64())
    cars = laps["vehicle_id"].cast(pa.string()).to_pylist()
    of_car = laps.take(numbers(np.array([at for at, car in enumerate(cars) if car == vehicle_id], np.int64)))
    # The line as the car itself crossed it, where that is known.
    start, end = (
        pc.coalesce(of_car[f"line_{side}_utc"], of_car[f"lap_{side}_utc"])
        if f"line_{side}_utc" in of_car.schema.names
        else of_car[f"lap_{side}_utc"]
        for side in ("start", "end")
    )
    of_car = of_car.append_column("from", start).append_column("until", end)
    # A lap from official timing only, without a time of day, has no start and no end.
    of_car = of_car.filter(pc.and_(pc.is_valid(start), pc.is_valid(end))).sort_by("from")
    starts, ends = (values_of(of_car[name].cast(pa.int64())) for name in ("from", "until"))
    if not len(starts):
        return pa.nulls(len(sample_ms), pa.int64())
    index = np.searchsorted(starts, sample_ms, side="right") - 1
    is_in_lap = (index >= 0) & (sample_ms < ends[np.maximum(index, 0)])
    lap_numbers = values_of(of_car["lap_number"].cast(pa.int64()))[np.maximum(index, 0)]
    return numbers(lap_numbers, ~is_in_lap)


def published_schema(channels: Sequence[str]) -> pa.Schema:
    """Return the published schema for these raw channels: the declared columns, then unknown channels by name."""
    declared = set(TELEMETRY.schema.names)
    extra = sorted(set(columns_of(channels).values()) - declared)
    return TELEMETRY.schema_with(extra)
