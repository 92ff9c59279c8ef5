"""A published telemetry file, read in part: the row groups that may hold what is asked for, and the columns named.

Here belongs how few bytes an answer needs, and that they are of the file the snapshot names. Which car and which time
are meant is ``selection.py``; what people get is ``reader.py``.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from apex_pipeline.errors import FileChangedError, ObjectMissingError, StoreCorruptionError
from apex_pipeline.lake.snapshot import TableRecord
from apex_pipeline.lake.tables import published_key
from apex_pipeline.storage.base import ObjectStore

_Result = TypeVar("_Result")

_CAR, _TIME = "vehicle_id", "sample_time_utc"


@dataclass(frozen=True)
class Window:
    """A stretch of time of one car, or of all.

    Attributes:
        vehicle_id: The car; ``None`` for every car.
        start_ms: First moment, milliseconds since 1970 UTC; ``None`` without a limit.
        end_ms: First moment that is not within any more; ``None`` without a limit.
    """

    vehicle_id: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None


@dataclass(frozen=True)
class RowGroup:
    """What the footer tells about a row group.

    Attributes:
        number: Its place in the file.
        cars: First and last vehicle_id in it; ``None`` if the footer does not say.
        span_ms: First and last sample time, milliseconds since 1970 UTC; ``None`` if the footer does not say.
    """

    number: int
    cars: tuple[str, str] | None
    span_ms: tuple[int, int] | None

    def may_hold(self, window: Window) -> bool:
        """Tell whether rows of the window may be in it."""
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
        metadata: As Arrow has it; spares reading it again.
        columns: Names of the columns.
        groups: The row groups.
    """

    metadata: pq.FileMetaData
    columns: tuple[str, ...]
    groups: tuple[RowGroup, ...]

    @property
    def cars(self) -> list[str]:
        """The cars that begin or end a row group, sorted; all of them where a row group has one car."""
        return sorted({car for group in self.groups for car in group.cars or ()})


def read_footer(store: ObjectStore, record: TableRecord) -> Footer:
    """Read what a telemetry file tells about itself.

    Raises:
        ObjectMissingError: The content that was published is gone.
        StoreCorruptionError: It is no Parquet file any more.
    """
    metadata = _read(store, record, pq.read_metadata)
    columns = tuple(metadata.schema.names)
    groups = tuple(_row_group(metadata, number, columns) for number in range(metadata.num_row_groups))
    return Footer(metadata, columns, groups)


def read_windows(
    store: ObjectStore, record: TableRecord, footer: Footer, windows: Sequence[Window], columns: Sequence[str] | None
) -> pa.Table:
    """Read the rows of some windows, one window after the other.

    Args:
        store: The lake.
        record: The telemetry file.
        footer: Its footer.
        windows: At least one.
        columns: Columns to read, car and time among them; ``None`` for all.

    Raises:
        ObjectMissingError: The content that was published is gone.
        StoreCorruptionError: A page differs from its checksum (where the file has checksums) or cannot be decoded.
    """

    def read(stream: BinaryIO) -> pa.Table:
        with pq.ParquetFile(stream, metadata=footer.metadata, page_checksum_verification=True) as file:
            return pa.concat_tables([_read_window(file, footer, window, columns) for window in windows])

    return _read(store, record, read)


def _read_window(file: pq.ParquetFile, footer: Footer, window: Window, columns: Sequence[str] | None) -> pa.Table:
    groups = [group.number for group in footer.groups if group.may_hold(window)]
    return _within(file.read_row_groups(groups, columns=columns), window)


def _read(store: ObjectStore, record: TableRecord, read: Callable[[BinaryIO], _Result]) -> _Result:
    """Return what ``read`` makes of the content that was published."""
    try:
        return _read_once(store, record, read)
    except FileChangedError:  # a sync has replaced it in the bucket since it was opened: it is in the history now
        return _read_once(store, record, read)


def _read_once(store: ObjectStore, record: TableRecord, read: Callable[[BinaryIO], _Result]) -> _Result:
    with _open_published(store, record) as stream:
        try:
            return read(stream)
        except (OSError, pa.ArrowInvalid) as error:
            raise StoreCorruptionError(
                f"{store.uri_of(record.key)} cannot be read as it was published ({error}).",
                "Restore it from a copy, or delete it and run a sync: the table is made again.",
            ) from error


@contextmanager
def _open_published(store: ObjectStore, record: TableRecord) -> Generator[BinaryIO]:
    """Give the content that was published as a stream, even while a sync replaces it at its stable key."""
    with ExitStack() as opened:
        stream: BinaryIO | None
        try:
            stream = opened.enter_context(store.open_seekable(record.key))
        except ObjectMissingError:
            stream = None
        # Asked after opening: what still lies there as published is what was opened a moment ago.
        key = published_key(store, record)
        if stream is None or key != record.key:
            # In the history an object is named by its content and never replaced.
            stream = opened.enter_context(store.open_seekable(key))
        yield stream


def _row_group(metadata: pq.FileMetaData, number: int, columns: tuple[str, ...]) -> RowGroup:
    group = metadata.row_group(number)
    cars, times = (group.column(columns.index(name)).statistics for name in (_CAR, _TIME))
    return RowGroup(
        number,
        (cars.min, cars.max) if _has_bounds(cars) else None,
        # Raw, a time is the milliseconds it is published in.
        (times.min_raw, times.max_raw) if _has_bounds(times) else None,
    )


def _has_bounds(statistics: Any) -> bool:  # noqa: ANN401  -- pyarrow's Statistics, or None where there are none
    return statistics is not None and statistics.has_min_max


def _within(rows: pa.Table, window: Window) -> pa.Table:
    """Return the rows of the window: a row group may hold more."""
    time_ms = rows[_TIME].cast(pa.int64())
    conditions: list[Any] = []
    if window.vehicle_id is not None:
        conditions.append(pc.equal(rows[_CAR].cast(pa.string()), window.vehicle_id))
    if window.start_ms is not None:
        conditions.append(pc.greater_equal(time_ms, window.start_ms))
    if window.end_ms is not None:
        conditions.append(pc.less(time_ms, window.end_ms))
    return rows.filter(reduce(pc.and_, conditions)) if conditions else rows
