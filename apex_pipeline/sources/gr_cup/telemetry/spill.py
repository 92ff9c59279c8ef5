"""Stores all readings of a session on disk by car: written as they arrive, read back one car at a time.

A reading takes 10 bytes, and the fields shared by the readings of a frame take 32 bytes once: a tenth of the raw text.
The file has no name, so it disappears with the process, even after a crash. ``parse`` writes the
readings and ``pivot`` reads them back.
"""

import itertools
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from apex_pipeline.errors import MalformedFileError

Ints = npt.NDArray[np.int64]

# A channel code has 16 bits. The real cars send twelve channels.
_MAX_CHANNELS = 2**16


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

    def group_by(self, label: npt.NDArray[np.int64]) -> "Iterator[tuple[int, Frames]]":
        """Yield each label with its frames. Shape of ``label``: (frames,)."""
        if not len(label) or (label == label[0]).all():
            yield from [(int(label[0]), self)] if len(label) else []
            return
        order = np.argsort(label, kind="stable")
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


class _Block(NamedTuple):
    """Position and size of a block of one car's frames in the file."""

    offset: int
    frames: int
    readings: int


@dataclass
class CarSize:
    """Number of frames and readings of one car."""

    frames: int = 0
    readings: int = 0


@dataclass
class _SpilledCar:
    blocks: list[_Block] = field(default_factory=list[_Block])

    @property
    def size(self) -> CarSize:
        return CarSize(sum(block.frames for block in self.blocks), sum(block.readings for block in self.blocks))


class ReadingSpill:
    """The readings of a session on disk; several threads may add to them.

    Args:
        folder: Folder of the temporary file.

    Raises:
        OSError: The disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  -- closed by __exit__
        self._lock = threading.Lock()
        self._end = 0
        self._cars: defaultdict[str, _SpilledCar] = defaultdict(_SpilledCar)
        self._channels: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._file.close()

    @property
    def cars(self) -> list[str]:
        """Vehicle ids, sorted."""
        return sorted(car for car, spilled in self._cars.items() if spilled.blocks)

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
            MalformedFileError: There are more different channels than codes.
        """
        with self._lock:
            code = self._channels.setdefault(channel, len(self._channels))
        if code >= _MAX_CHANNELS:
            raise MalformedFileError(
                f"The telemetry has more than {_MAX_CHANNELS:,} distinct channels.",
                "Check that the column telemetry_name holds channel names.",
            )
        return code

    def add(self, car: str, frames: Frames) -> None:
        """Append frames of a car."""
        # Fewer and larger writes are faster; joining the columns costs only a copy within the CPU cache.
        content = b"".join(np.ascontiguousarray(column).tobytes() for column in frames)
        with self._lock:
            offset = self._end
            self._end += len(content)
            self._cars[car].blocks.append(_Block(offset, len(frames.car_ms), len(frames.value)))
            self._file.seek(offset)
            view = memoryview(content)
            while view:
                view = view[self._file.write(view) :]

    def checkpoint(self) -> dict[str, int]:
        """Return the current state for :meth:`rewind`: the number of blocks of each car."""
        return {car: len(spilled.blocks) for car, spilled in self._cars.items()}

    def rewind(self, checkpoint: dict[str, int]) -> None:
        """Drop everything that was added since the checkpoint."""
        for car, spilled in self._cars.items():
            del spilled.blocks[checkpoint.get(car, 0) :]

    def blocks_of(self, car: str) -> Iterator[Frames]:
        """Yield a car's frames in the order they were added, in blocks of roughly ten thousand readings."""
        for block in self._cars[car].blocks:
            yield self._read(block)

    def _read(self, block: _Block) -> Frames:
        frames, readings = block.frames, block.readings
        content = bytearray(32 * frames + 10 * readings)
        view = memoryview(content)
        with self._lock:
            self._file.seek(block.offset)
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
