"""Defines the limits within which raw files are read; a file that exceeds one is refused by name.

A damaged or hostile file must not take the memory, the disk or the hours that the other files of a sync need. Each
limit is a setting; its default is far beyond every real file, so it never needs to be raised for race data. See
``compression.py``, ``csv_reader.py`` and ``gr_cup/telemetry`` for where they apply.
"""

from dataclasses import dataclass, replace
from typing import Self

from apex_pipeline.errors import LimitExceededError
from apex_pipeline.settings import Settings

_MB = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Limits on raw files.

    Attributes:
        unpacked_bytes: Size of a telemetry file, decompressed. A race has 3.6 GB, a 24-hour race may have 30 GB.
        lap_file_bytes: Size of a lap or official timing file, decompressed. Real ones are below 150 kB; those of a
            24-hour race with 60 cars take 10 MB.
        compression_ratio: Decompressed size divided by compressed size. Real telemetry reaches 25 with ``gzip -9`` and
            33 with ``zstd -19``.
        ratio_from_bytes: Decompressed size up to which the ratio does not matter: so little text is harmless, and the
            start of a file may compress better than the rest.
        line_bytes: Length of a line. A line of telemetry has 135 bytes, one with a list of readings a few thousand.
        cell_characters: Length of a cell, except for a cell that holds a list. Real ones are below 60.
        columns: Columns of a file, and channels of a session's telemetry, each of which becomes a column. Real cars
            send twelve channels, large data loggers a few hundred.
        cars: Different cars in one session; the largest fields have 60.
        nesting: Depth of lists and objects in JSON; a list of readings has a depth of 2.
        size_setting: Setting that ``unpacked_bytes`` is from, for messages.
    """

    unpacked_bytes: int = 100_000 * _MB
    lap_file_bytes: int = 1_000 * _MB
    compression_ratio: int = 200
    ratio_from_bytes: int = 100 * _MB
    line_bytes: int = _MB
    cell_characters: int = 10_000
    columns: int = 1_000
    cars: int = 1_000
    nesting: int = 20
    size_setting: str = "APEX_MAX_UNPACKED_SIZE"

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the limits that the user has set."""
        return cls(
            unpacked_bytes=settings.max_unpacked_size,
            lap_file_bytes=settings.max_lap_file_size,
            compression_ratio=settings.max_compression_ratio,
            line_bytes=settings.max_line_length,
            cell_characters=settings.max_cell_length,
            columns=settings.max_columns,
            cars=settings.max_cars,
            nesting=settings.max_nesting,
        )

    def for_lap_file(self) -> Self:
        """Return the limits for a lap or official timing file, whose rows are kept in memory."""
        return replace(self, unpacked_bytes=self.lap_file_bytes, size_setting="APEX_MAX_LAP_FILE_SIZE")

    def check_size(self, file: str, unpacked: int, packed: int | None = None) -> None:
        """Check the sizes of a file while it is read.

        Args:
            file: Path, for messages.
            unpacked: Number of decompressed bytes so far.
            packed: Number of compressed bytes they came from; ``None`` for a file that is not compressed.

        Raises:
            LimitExceededError: The file is too large, or grows too much.
        """
        if unpacked > self.unpacked_bytes:
            what = "is" if packed is None else "unpacks to"
            raise limit_exceeded(file, f"{what} more than {format_bytes(self.unpacked_bytes)}", self.size_setting)
        if packed is not None and unpacked > max(self.ratio_from_bytes, packed * self.compression_ratio):
            problem = f"unpacks to more than {self.compression_ratio} times its size"
            raise limit_exceeded(file, problem, "APEX_MAX_COMPRESSION_RATIO")

    def check_columns(self, file: str, columns: int) -> None:
        """Check the number of columns of a file.

        Raises:
            LimitExceededError: There are too many.
        """
        if columns > self.columns:
            raise limit_exceeded(file, f"has {columns:,} columns, more than {self.columns:,}", "APEX_MAX_COLUMNS")

    def check_cars(self, file: str, cars: int) -> None:
        """Check the number of different cars in a file, or in the files of a session up to this one.

        Raises:
            LimitExceededError: There are too many.
        """
        if cars > self.cars:
            raise limit_exceeded(file, f"names more than {self.cars:,} different cars", "APEX_MAX_CARS")


DEFAULT_LIMITS = Limits()


# Measured memory of a kept row with what is derived from it: a trigger takes 370 bytes and its share of the laps 730,
# an official lap 3,200 while it is read and 800 in its table.
BYTES_PER_TRIGGER, BYTES_PER_OFFICIAL_ROW = 1_500, 4_000


class RowBudget:
    """Memory for the rows of files that are kept in memory, shared by the files of a session.

    Args:
        limits: Limits on each file.
        memory_bytes: Memory that all rows may take, with what is derived from them.
        bytes_per_row: Memory of one row, in addition to its text.
    """

    def __init__(
        self,
        limits: Limits = DEFAULT_LIMITS,
        memory_bytes: int = 400 * _MB,
        bytes_per_row: int = BYTES_PER_OFFICIAL_ROW,
    ) -> None:
        self.limits = limits
        self._left = memory_bytes
        self._bytes_per_row = bytes_per_row

    def take(self, file: str, rows: int, text_bytes: int) -> None:
        """Reserve memory for rows of a file.

        Raises:
            LimitExceededError: They do not fit.
        """
        self._left -= rows * self._bytes_per_row + text_bytes
        if self._left < 0:
            raise limit_exceeded(file, "has more rows than fit in memory", "APEX_MEMORY_LIMIT")

    def rest(self, bytes_per_row: int) -> "RowBudget":
        """Return a budget of what is left now, for rows of another kind that are read beside these and then dropped.

        Args:
            bytes_per_row: Memory of one of those rows, in addition to its text.
        """
        return RowBudget(self.limits, self._left, bytes_per_row)

    def checkpoint(self) -> int:
        """Return the current state for :meth:`rewind`."""
        return self._left

    def rewind(self, checkpoint: int) -> None:
        """Release what was reserved since the checkpoint, because those rows were dropped."""
        self._left = checkpoint


def limit_exceeded(file: str, problem: str, setting: str) -> LimitExceededError:
    """Return the error for a file that exceeds a limit.

    Args:
        file: Its path.
        problem: What is too large, as the rest of a sentence that starts with the path.
        setting: Setting of the limit.
    """
    return LimitExceededError(
        f"{file} {problem} (limit {setting}).", f"Check that it is race data; if so, raise {setting}."
    )


def format_bytes(size: int) -> str:
    """Return ``100 GB``, ``1.5 MB`` or ``800 bytes``."""
    for unit, name in ((1_000 * _MB, "GB"), (_MB, "MB"), (1_000, "kB")):
        if size >= unit:
            return f"{size / unit:,.4g} {name}"
    return f"{size} bytes"
