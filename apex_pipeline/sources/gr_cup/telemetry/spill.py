"""Stores all readings of a session on disk by car: written as they arrive, read back one car at a time.

A reading takes 10 bytes, and the fields shared by the readings of a frame take 32 bytes once: a tenth of the raw text.
The file has no name, so it disappears with the process, even after a crash. ``parse`` writes the
readings and ``pivot`` reads them back.
"""

import itertools
import tempfile
import threading
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.limits import DEFAULT_LIMITS, Limits, limit_exceeded

Ints = npt.NDArray[np.int64]
_LARGEST_SHORT = 2**16 - 1


class Frames(NamedTuple):
    """Readings of one car, grouped into frames of readings that were sent together.

    Attributes:
        car_ms: Car time in milliseconds since 1970. Shape (frames,).
        received_ms: Receive time in milliseconds since 1970. Shape (frames,).
        unit_lap: Lap of the device, or ``line_parser.NO_LAP``, ``line_parser.UNREADABLE_LAP``. Shape (frames,).
        readings: Number of readings of each frame. Shape (frames,).
        channel: Code of each reading's channel, frame after frame. Shape (readings,), 16 bits.
        value: Value of each reading. Shape (readings,).
    """

    car_ms: Ints
    received_ms: Ints
    unit_lap: Ints
    readings: Ints
    channel: npt.NDArray[np.uint16]
    value: npt.NDArray[np.float64]

    def filter(self, wanted: npt.NDArray[np.bool_]) -> "Frames":
        """Return the wanted frames with their readings. Shape of ``wanted``: (frames,)."""
        kept = np.repeat(wanted, self.readings)
        return Frames(
            self.car_ms[wanted],
            self.received_ms[wanted],
            self.unit_lap[wanted],
            self.readings[wanted],
            self.channel[kept],
            self.value[kept],
        )

    def without_duplicates(self) -> "Frames":
        """Return the frames without readings that equal an earlier one in all fields."""
        frame = np.repeat(np.arange(len(self.readings)), self.readings)
        keys = (self.value, self.channel, self.unit_lap[frame], self.received_ms[frame], self.car_ms[frame])
        order = np.lexsort(keys)
        is_new = np.arange(len(order)) == 0
        for key in (key[order] for key in keys):
            is_new[1:] |= key[1:] != key[:-1]
        kept = np.sort(order[is_new])
        readings = np.bincount(frame[kept], minlength=len(self.readings))
        is_used = readings > 0
        return Frames(
            self.car_ms[is_used],
            self.received_ms[is_used],
            self.unit_lap[is_used],
            readings[is_used],
            self.channel[kept],
            self.value[kept],
        )

    def group_by(self, label: npt.NDArray[np.int64]) -> "Iterator[tuple[int, Frames]]":
        """Yield each label with its frames. Shape of ``label``: (frames,)."""
        if not len(label) or (label == label[0]).all():
            yield from [(int(label[0]), self)] if len(label) else []
            return
        order = _order_of(label)
        of_frame = [column[order] for column in (self.car_ms, self.received_ms, self.unit_lap, self.readings)]
        ends, starts = np.cumsum(of_frame[-1]), np.cumsum(self.readings) - self.readings
        reading = np.repeat(starts[order] - (ends - of_frame[-1]), of_frame[-1]) + np.arange(ends[-1])
        channel, value = self.channel[reading], self.value[reading]
        cuts = [0, *(np.flatnonzero(np.diff(label[order])) + 1).tolist(), len(order)]
        for start, end in itertools.pairwise(cuts):
            of_label = slice(int(ends[start - 1]) if start else 0, int(ends[end - 1]))
            yield (
                int(label[order[start]]),
                Frames(*(column[start:end] for column in of_frame), channel=channel[of_label], value=value[of_label]),
            )


def _order_of(label: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Return the order of labels, equal ones as they are; numbers of 16 bits are sorted by counting them."""
    is_short = label.min() >= 0 and label.max() <= _LARGEST_SHORT
    return np.argsort(label.astype(np.uint16) if is_short else label, kind="stable")


@dataclass
class CarSize:
    """Number of frames and readings of one car."""

    frames: int = 0
    readings: int = 0


def _integers() -> "array[int]":
    return array("q")


@dataclass
class _SpilledCar:
    """Blocks of one car's frames: position in the file, number of frames, number of readings.

    Plain integers, because the rows of many cars in random order give hundreds of thousands of blocks.
    """

    offsets: "array[int]" = field(default_factory=_integers)
    frames: "array[int]" = field(default_factory=_integers)
    readings: "array[int]" = field(default_factory=_integers)

    @property
    def size(self) -> CarSize:
        return CarSize(sum(self.frames), sum(self.readings))

    def add(self, offset: int, frames: int, readings: int) -> None:
        self.offsets.append(offset)
        self.frames.append(frames)
        self.readings.append(readings)

    def extend(self, other: "_SpilledCar") -> None:
        self.offsets.extend(other.offsets)
        self.frames.extend(other.frames)
        self.readings.extend(other.readings)

    def truncate(self, blocks: int) -> None:
        for column in (self.offsets, self.frames, self.readings):
            del column[blocks:]


class SpillCheckpoint(NamedTuple):
    """State of the readings at one moment: bytes in the file, blocks of each car, number of channels."""

    end: int
    blocks: dict[str, int]
    channels: int


class ReadingSpill:
    """The readings of a session on disk; several threads may add to them.

    Args:
        folder: Folder of the temporary file.
        limits: Limits on cars and channels.

    Attributes:
        file: Path of the file whose readings are being added, for messages.

    Raises:
        OSError: The disk is full.
    """

    def __init__(self, folder: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        self.file = "The telemetry"
        self._limits = limits
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  -- closed by __exit__
        self._lock = threading.Lock()
        self._end = 0
        self._cars: dict[str, _SpilledCar] = {}
        self._channels: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._file.close()

    @property
    def cars(self) -> list[str]:
        """Vehicle ids, sorted."""
        return sorted(car for car, spilled in self._cars.items() if spilled.offsets)

    @property
    def channels(self) -> list[str]:
        """Raw channels; the code of a channel is its index in this list."""
        return list(self._channels)

    def size_of(self, car: str) -> CarSize:
        """Return the number of frames and readings of a car."""
        return self._cars[car].size

    def channel_code(self, channel: str) -> int:
        """Return the code of a channel, assigning one to a new channel.

        Raises:
            LimitExceededError: There are too many different channels.
        """
        with self._lock:
            code = self._channels.setdefault(channel, len(self._channels))
        if code >= self._limits.columns:
            problem = f"has more than {self._limits.columns:,} different channels"
            raise limit_exceeded(self.file, problem, "APEX_MAX_COLUMNS")
        return code

    def add(self, car: str, frames: Frames) -> None:
        """Append frames of a car.

        Raises:
            LimitExceededError: There are too many different cars.
        """
        # Fewer and larger writes are faster; joining the columns costs only a copy within the CPU cache.
        content = b"".join(np.ascontiguousarray(column).tobytes() for column in frames)
        with self._lock:
            offset = self._end
            self._end += len(content)
            spilled = self._cars.setdefault(car, _SpilledCar())
            self._limits.check_cars(self.file, len(self._cars))
            spilled.add(offset, len(frames.car_ms), len(frames.value))
            self._file.seek(offset)
            view = memoryview(content)
            while view:
                view = view[self._file.write(view) :]

    def checkpoint(self) -> SpillCheckpoint:
        """Return the current state for :meth:`rewind`."""
        blocks = {car: len(spilled.offsets) for car, spilled in self._cars.items()}
        return SpillCheckpoint(self._end, blocks, len(self._channels))

    def rewind(self, checkpoint: SpillCheckpoint) -> None:
        """Drop everything that was added since the checkpoint, including cars and channels."""
        self._end = checkpoint.end
        self._cars = {car: self._cars[car] for car in checkpoint.blocks}
        for car, blocks in checkpoint.blocks.items():
            self._cars[car].truncate(blocks)
        self._channels = dict(itertools.islice(self._channels.items(), checkpoint.channels))

    def merge_cars(self, published: Mapping[str, str]) -> None:
        """Give each car the id that is published for its spelling; spellings with one id become one car."""
        cars: dict[str, _SpilledCar] = {}
        for spelling in sorted(self._cars):
            cars.setdefault(published.get(spelling, spelling), _SpilledCar()).extend(self._cars[spelling])
        self._cars = cars

    def blocks_of(self, car: str) -> Iterator[Frames]:
        """Yield a car's frames in the order they were added, in blocks of roughly ten thousand readings."""
        spilled = self._cars[car]
        for block in zip(spilled.offsets, spilled.frames, spilled.readings, strict=True):
            yield self._read(*block)

    def _read(self, offset: int, frames: int, readings: int) -> Frames:
        content = bytearray(32 * frames + 10 * readings)
        view = memoryview(content)
        with self._lock:
            self._file.seek(offset)
            while view:
                view = view[self._file.readinto(view) :]  # type: ignore[attr-defined]  # unbuffered files have it
        of_frame = np.frombuffer(content, np.int64, 4 * frames).reshape(4, frames)
        channel = np.frombuffer(content, np.uint16, readings, 32 * frames)
        value = np.frombuffer(content, np.float64, readings, 32 * frames + 2 * readings)
        return Frames(*of_frame, channel=channel, value=value)


def join(parts: list[Frames]) -> Frames:
    """Concatenate frames."""
    return Frames(*(np.concatenate(columns) for columns in zip(*parts, strict=True))) if parts else _NO_FRAMES


_NO_FRAMES = Frames(
    *(np.empty(0, np.int64) for _ in range(4)), channel=np.empty(0, np.uint16), value=np.empty(0, np.float64)
)
