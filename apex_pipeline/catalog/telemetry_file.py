"""Reads parts of a published telemetry file: only the row groups that may contain a window, and the requested columns.

The content is always that of the snapshot, because an object never changes. See selection.py for how a car or lap is
converted to a window, reader.py for the public methods.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline import arrow_compute as pc
from apex_pipeline.errors import FileChangedError, ObjectMissingError
from apex_pipeline.lake.objects import reading_failed, table_file_key
from apex_pipeline.lake.published_session import TableRecord
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.streams import Prefetching

_Result = TypeVar("_Result")

_CAR, _TIME = "vehicle_id", "sample_time_utc"


@dataclass(frozen=True)
class Window:
    """A time range of one car, or of all cars.

    Attributes:
        vehicle_id: The car; ``None`` for every car.
        start_ms: Start (inclusive), milliseconds since 1970 UTC; ``None`` without a limit.
        end_ms: End (exclusive), milliseconds since 1970 UTC; ``None`` without a limit.
    """

    vehicle_id: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None


@dataclass(frozen=True)
class RowGroup:
    """Footer statistics of one row group.

    Attributes:
        number: Index of the row group in the file.
        cars: First and last vehicle_id in it; ``None`` without statistics.
        span_ms: First and last sample time, milliseconds since 1970 UTC; ``None`` without statistics.
    """

    number: int
    cars: tuple[str, str] | None
    span_ms: tuple[int, int] | None

    def may_hold(self, window: Window) -> bool:
        """Return whether the row group may contain rows of the window."""
        if self.cars is not None and window.vehicle_id is not None:
            first_car, last_car = self.cars
            if not first_car <= window.vehicle_id <= last_car:
                return False
        if self.span_ms is None:
            return True
        first_ms, last_ms = self.span_ms
        is_too_early = window.start_ms is not None and last_ms < window.start_ms
        is_too_late = window.end_ms is not None and first_ms >= window.end_ms
        return not (is_too_early or is_too_late)


@dataclass(frozen=True)
class Footer:
    """The footer of a telemetry file, read once.

    Attributes:
        key: Where the content of the file was found.
        metadata: The footer as parsed by Arrow; passed on to avoid reading it again.
        columns: Names of the columns.
        groups: The row groups.
    """

    key: str
    metadata: pq.FileMetaData
    columns: tuple[str, ...]
    groups: tuple[RowGroup, ...]

    @property
    def cars(self) -> list[str]:
        """The first and last cars of the row groups, sorted; all cars if each row group has one car."""
        return sorted({car for group in self.groups for car in group.cars or ()})


def read_footer(store: ObjectStore, record: TableRecord) -> Footer:
    """Read the footer of a telemetry file.

    Raises:
        ObjectMissingError: The published content has been removed from the lake.
        StoreCorruptionError: The file is damaged and cannot be parsed as Parquet.
        UnreadableTableError: It cannot be parsed, although it is intact.
    """

    def read(key: str) -> tuple[str, pq.FileMetaData]:
        return key, _read_at(store, record, key, pq.read_metadata)

    key, metadata = _again_if_changed(lambda: read(table_file_key(store, record)))
    columns = tuple(metadata.schema.names)
    groups = tuple(_row_group(metadata, number, columns) for number in range(metadata.num_row_groups))
    return Footer(key, metadata, columns, groups)


def read_windows(
    store: ObjectStore, record: TableRecord, footer: Footer, windows: Sequence[Window], columns: Sequence[str] | None
) -> pa.Table:
    """Read the rows of several windows, in the order given.

    Args:
        store: The lake.
        record: The telemetry file.
        footer: Its footer.
        windows: At least one.
        columns: Columns to read, including car and time; ``None`` for all.

    Raises:
        ObjectMissingError: The published content is no longer in the lake.
        StoreCorruptionError: A page differs from its checksum (where the file has checksums) or cannot be decoded.
        UnreadableTableError: A page cannot be decoded, although the file is intact.
    """
    wanted = [[group.number for group in footer.groups if group.may_hold(window)] for window in windows]

    def read(stream: BinaryIO) -> pa.Table:
        if isinstance(stream, Prefetching):
            stream.prefetch(_ranges(footer, {number for groups in wanted for number in groups}, columns))
        with pq.ParquetFile(stream, metadata=footer.metadata, page_checksum_verification=True) as file:
            parts = zip(wanted, windows, strict=True)
            return pa.concat_tables(
                [_within(file.read_row_groups(groups, columns=columns), window) for groups, window in parts]
            )

    try:
        return _read_at(store, record, footer.key, read)
    except (FileChangedError, ObjectMissingError):  # A sync has just replaced a damaged object by an intact one.
        return _again_if_changed(lambda: _read_at(store, record, table_file_key(store, record), read))


def _ranges(footer: Footer, groups: Iterable[int], columns: Sequence[str] | None) -> Iterator[tuple[int, int]]:
    """Yield start and length of the columns in the row groups, as they lie in the file."""
    places = [footer.columns.index(name) for name in footer.columns if columns is None or name in columns]
    for number in groups:
        group = footer.metadata.row_group(number)
        for chunk in map(group.column, places):
            start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
            yield start, chunk.total_compressed_size


def _again_if_changed(read: Callable[[], _Result]) -> _Result:
    try:
        return read()
    except FileChangedError:
        return read()


def _read_at(store: ObjectStore, record: TableRecord, key: str, read: Callable[[BinaryIO], _Result]) -> _Result:
    """Call ``read`` with the published content and return its result."""
    with store.open_seekable(key) as stream:
        try:
            return read(stream)
        except (OSError, pa.ArrowException) as error:
            raise reading_failed(store, record, key, error) from error


def _row_group(metadata: pq.FileMetaData, number: int, columns: tuple[str, ...]) -> RowGroup:
    group = metadata.row_group(number)
    cars, times = (group.column(columns.index(name)).statistics for name in (_CAR, _TIME))
    return RowGroup(
        number,
        (cars.min, cars.max) if _has_bounds(cars) else None,
        # The raw value of a time is in milliseconds since 1970.
        (times.min_raw, times.max_raw) if _has_bounds(times) else None,
    )


def _has_bounds(statistics: Any) -> bool:  # noqa: ANN401  -- pyarrow's Statistics, or None where there are none
    return statistics is not None and statistics.has_min_max


def _within(rows: pa.Table, window: Window) -> pa.Table:
    """Return the rows within the window; a row group may also contain rows outside it."""
    time_ms = rows[_TIME].cast(pa.int64())
    conditions: list[Any] = []
    if window.vehicle_id is not None:
        conditions.append(pc.equal(rows[_CAR].cast(pa.string()), window.vehicle_id))
    if window.start_ms is not None:
        conditions.append(pc.greater_equal(time_ms, window.start_ms))
    if window.end_ms is not None:
        conditions.append(pc.less(time_ms, window.end_ms))
    return rows.filter(reduce(pc.and_, conditions)) if conditions else rows
