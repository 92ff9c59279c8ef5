"""One car's readings, widened: one row per sample time, one column per channel.

Exact duplicates are dropped and counted. Separate readings of a channel with the same car time (messages sent in a
burst) are told apart by ``repeat``: 0, 1 … in the order they were received. The order of the rows in the file plays no
part, so a shuffled file gives the same table.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from apex_pipeline.sources.gr_cup.parsing import split_vehicle_id
from apex_pipeline.sources.gr_cup.telemetry.channels import columns_of
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock
from apex_pipeline.sources.gr_cup.telemetry.spill import Frames, ReadingSpill, join
from apex_pipeline.tables import TELEMETRY

Whole = npt.NDArray[np.int64]
_Number = TypeVar("_Number", np.int64, np.float64)


def unique(values: npt.NDArray[_Number]) -> tuple[npt.NDArray[_Number], Whole]:
    """Return the different values, ascending, and the place of each element among them. Shapes (different,), (n,)."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    is_new = np.ones(len(values), dtype=bool)
    np.not_equal(ascending[1:], ascending[:-1], out=is_new[1:])
    place = np.empty(len(values), np.int64)
    place[order] = np.cumsum(is_new) - 1
    return ascending[is_new], place


Small = npt.NDArray[np.int32]

_UTC_MS = pa.timestamp("ms", tz="UTC")
_LATEST_MS = np.iinfo(np.int64).max
_LOWEST_LAP = np.iinfo(np.int64).min
# What a car takes in memory, measured: per reading (10 bytes, read and joined, and its place), per frame (32 bytes, the
# same), and per cell of a row, of which there are hardly more than frames.
_BYTES_PER_READING, _BYTES_PER_FRAME, _BYTES_PER_CELL = 50, 110, 20
# Ranges of time hold about as many frames each; some more of them, because bursts are uneven.
_MORE_RANGES = 1.2
# Frames looked at to find these ranges.
_SAMPLED_FRAMES = 100_000


@dataclass(frozen=True)
class PivotedRows:
    """Wide rows of one car and the readings behind them; a car of very many readings comes in several, by time."""

    rows: pa.Table
    readings: int
    distinct: int


class Pivoter:
    """Widens cars of one session.

    Args:
        readings: The session's readings, all read.
        schema: Of the published table, unknown channels included.
        laps: The session's table ``laps``, for the lap of each sample.
        most_bytes: Of a car that takes more memory, a range of times is held at a time.
    """

    def __init__(self, readings: ReadingSpill, schema: pa.Schema, laps: pa.Table | None, most_bytes: int) -> None:
        self._readings = readings
        self._schema = schema
        self._laps = laps
        self._most_bytes = most_bytes
        by_channel = columns_of(readings.channels)
        self._columns = sorted(set(by_channel.values()))
        self._column_of = np.array([self._columns.index(by_channel[name]) for name in readings.channels], np.uint16)

    def pivot(self, clock: CarClock) -> Iterator[PivotedRows]:
        """Yield a car's rows, sorted by sample time and repeat; track and session are filled in later."""
        for begin_ms, end_ms in self._ranges(clock):
            blocks = self._readings.blocks_of(clock.vehicle_id)
            if begin_ms is None and end_ms is None:
                yield self._rows(clock, join(list(blocks)))
                continue
            within = (frames.only(_is_within(_sample_ms(frames, clock), begin_ms, end_ms)) for frames in blocks)
            yield self._rows(clock, join(list(within)))

    def _ranges(self, clock: CarClock) -> Iterator[tuple[int | None, int | None]]:
        """Yield ranges of time (in the clock that counts) with about as many readings as may be held."""
        size = self._readings.size_of(clock.vehicle_id)
        needed = size.readings * _BYTES_PER_READING + size.frames * (
            _BYTES_PER_FRAME + len(self._columns) * _BYTES_PER_CELL
        )
        count = math.ceil(needed * _MORE_RANGES / self._most_bytes) if needed > self._most_bytes else 1
        cuts: list[int | None] = []
        if count > 1:
            step = max(size.frames // _SAMPLED_FRAMES, 1)
            blocks = self._readings.blocks_of(clock.vehicle_id)
            sampled = np.concatenate([_sample_ms(frames, clock)[::step] for frames in blocks])
            shares = np.linspace(0, 1, count + 1)[1:-1]
            # A cut at the first time of all would leave nothing before it.
            cuts = [int(cut) for cut in np.unique(np.quantile(sampled, shares, method="lower")) if cut > sampled.min()]
        yield from zip([None, *cuts], [*cuts, None], strict=True)

    def _rows(self, clock: CarClock, frames: Frames) -> PivotedRows:
        from apex_pipeline.sources.gr_cup.telemetry.kernels import pivot as cells  # noqa: PLC0415 -- see ``compiled``

        sample_ms, place = unique(_sample_ms(frames, clock))
        row = place.astype(np.int32)
        of_frame = (frames.car_ms, frames.received_ms, frames.unit_lap)
        of_reading = (self._column_of, frames.channel, frames.value)
        grid = np.zeros((len(sample_ms), len(self._columns)), np.int32)
        frame_of, repeat = np.empty((2, len(frames.value)), np.int32)
        clashing = cells.assign_cells(row, frames.readings, *of_frame, *of_reading, grid, frame_of, repeat)
        most = (
            self._assign_repeats(frames, row, frame_of, repeat, len(sample_ms))
            if clashing
            else np.zeros_like(sample_ms)
        )
        first_row = np.arange(len(sample_ms)) + np.cumsum(most) - most
        rows = len(sample_ms) + int(most.sum())
        values, is_filled = np.empty((len(self._columns), rows)), np.zeros((len(self._columns), rows), np.uint8)
        car_ms, received_ms = np.full((2, rows), _LATEST_MS)
        laps = np.full(rows, _LOWEST_LAP)
        of_row = (values, is_filled, car_ms, received_ms, laps)
        cells.fill_cells(first_row.astype(np.int32), row, *of_frame, *of_reading, frame_of, repeat, *of_row)
        columns: dict[str, object] = {
            name: _cells(values[column], is_filled[column]) for column, name in enumerate(self._columns)
        }
        columns |= {
            "repeat": np.arange(rows) - np.repeat(first_row, most + 1),
            "car_time": pa.array(car_ms).cast(_UTC_MS),
            "received_time_utc": pa.array(received_ms).cast(_UTC_MS),
            "unit_lap": pa.array(laps, mask=laps < 0),
        }
        table = self._table(clock, np.repeat(sample_ms, most + 1), columns)
        return PivotedRows(table, len(repeat), int(np.count_nonzero(repeat != cells.DUPLICATE)))

    def _assign_repeats(self, frames: Frames, row: Small, frame_of: Small, repeat: Small, rows: int) -> Whole:
        """Number the readings that claim the same cell; return the highest number of each sample time."""
        from apex_pipeline.sources.gr_cup.telemetry.kernels import pivot as cells  # noqa: PLC0415 -- see ``compiled``

        at = np.flatnonzero(repeat == cells.CLASHING)
        frame = frame_of[at]
        cell = row[frame].astype(np.int64) * len(self._columns) + self._column_of[frames.channel[at]]
        keys = (frames.unit_lap[frame], frames.value[at], frames.car_ms[frame], frames.received_ms[frame], cell)
        order = np.lexsort(keys)
        in_order = [key[order] for key in keys]
        is_new_cell = np.append(True, np.diff(in_order[-1]) != 0)
        is_new = np.append(True, np.any([key[1:] != key[:-1] for key in in_order], axis=0))
        number = np.cumsum(is_new) - 1
        # Counted from the first of its cell.
        number -= np.repeat(number[is_new_cell], np.diff(np.append(np.flatnonzero(is_new_cell), len(order))))
        repeat[at[order]] = np.where(is_new, number, cells.DUPLICATE)
        most = np.zeros(rows, np.int64)
        np.maximum.at(most, row[frame[order]], number)
        return most

    def _table(self, clock: CarClock, sample_ms: Whole, columns: dict[str, object]) -> pa.Table:
        """Add who and when, and put the columns in published order; a channel this car never sent is null."""
        offset_ms = 0 if clock.is_frozen else round(clock.offset_s * 1000)
        chassis, _ = split_vehicle_id(clock.vehicle_id)
        utc_ms = sample_ms + offset_ms
        columns |= {
            "vehicle_id": _label(clock.vehicle_id, len(utc_ms)),
            "chassis": _label(chassis, len(utc_ms)),
            "sample_time_utc": pa.array(utc_ms).cast(_UTC_MS),
            "lap_number": _lap_numbers(utc_ms, clock.vehicle_id, self._laps),
        }
        arrays = [columns.get(field.name, pa.nulls(len(utc_ms), field.type)) for field in self._schema]
        return pa.Table.from_arrays([pa.array(array) for array in arrays], names=self._schema.names)


def _sample_ms(frames: Frames, clock: CarClock) -> Whole:
    """Return the times that make the rows, not yet brought to UTC."""
    return frames.received_ms if clock.is_frozen else frames.car_ms


def _is_within(times: Whole, begin: int | None, end: int | None) -> npt.NDArray[np.bool_]:
    is_within = np.ones(len(times), dtype=bool)
    if begin is not None:
        is_within &= times >= begin
    if end is not None:
        is_within &= times < end
    return is_within


def _cells(values: npt.NDArray[np.float64], is_filled: npt.NDArray[np.uint8]) -> pa.Array:
    """Return a column of cells without copying the values."""
    bits = np.packbits(is_filled, bitorder="little")
    return pa.Array.from_buffers(pa.float64(), len(values), [pa.py_buffer(bits), pa.py_buffer(values)])


def _label(text: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array([text]))


def _lap_numbers(sample_ms: Whole, vehicle_id: str, laps: pa.Table | None) -> pa.Array:
    """Find the lap of each sample by time: the unit's own counter may be lost, ahead or behind."""
    if laps is None or not laps.num_rows:
        return pa.nulls(len(sample_ms), pa.int64())
    own = laps.filter(pc.equal(laps["vehicle_id"].cast(pa.string()), vehicle_id))
    # A lap that only official timing has, without a time of day, has neither begin nor end.
    timed = pc.and_(pc.is_valid(own["lap_start_utc"]), pc.is_valid(own["lap_end_utc"]))
    own = own.filter(timed).sort_by("lap_start_utc")
    starts, ends = (own[name].cast(pa.int64()).to_numpy() for name in ("lap_start_utc", "lap_end_utc"))
    if not len(starts):
        return pa.nulls(len(sample_ms), pa.int64())
    index = np.searchsorted(starts, sample_ms, side="right") - 1
    is_in_lap = (index >= 0) & (sample_ms < ends[np.maximum(index, 0)])
    numbers = own["lap_number"].to_numpy()[np.maximum(index, 0)]
    return pa.array(numbers, mask=~is_in_lap)


def published_schema(channels: Sequence[str]) -> pa.Schema:
    """Return the schema of the wide table for these raw channels: the declared columns, then unknown ones by name."""
    declared = set(TELEMETRY.schema.names)
    extra = sorted(set(columns_of(channels).values()) - declared)
    return TELEMETRY.schema_with(extra)
