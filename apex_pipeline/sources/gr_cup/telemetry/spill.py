"""All readings of a session by car, on disk: written as they come, read back one car at a time.

A reading takes 10 bytes, and what it shares with the others of its frame 32 bytes once, a tenth of the raw text. The
file has no name, so it is gone with the process however that ends. Not here: how readings are found (``reading``) and
what is made of them (``widening``).
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

Whole = npt.NDArray[np.int64]

# A channel is told by 16 bits. The real cars send twelve.
_MOST_CHANNELS = 2**16


class Frames(NamedTuple):
    """Readings of one car that were sent together: what they share, and what each says.

    Attributes:
        car_ms: The car's time in milliseconds since 1970. Shape (frames,).
        received_ms: The receive time. Shape (frames,).
        unit_lap: The unit's lap, or ``careful.NO_LAP``, ``careful.UNREADABLE_LAP``. Shape (frames,).
        readings: Number of readings of each frame. Shape (frames,).
        channel: Code of each reading's channel, frame after frame. Shape (readings,), 16 bits.
        value: Shape (readings,).
    """

    car_ms: Whole
    received_ms: Whole
    unit_lap: Whole
    readings: Whole
    channel: npt.NDArray[np.uint16]
    value: npt.NDArray[np.float64]

    def only(self, wanted: npt.NDArray[np.bool_]) -> "Frames":
        """Return some of the frames."""
        kept = np.repeat(wanted, self.readings)
        return Frames(
            self.car_ms[wanted],
            self.received_ms[wanted],
            self.unit_lap[wanted],
            self.readings[wanted],
            self.channel[kept],
            self.value[kept],
        )

    def by(self, label: npt.NDArray[np.int64]) -> "Iterator[tuple[int, Frames]]":
        """Yield the frames of each label. Shape (frames,)."""
        if not len(label) or (label == label[0]).all():
            yield from [(int(label[0]), self)] if len(label) else []
            return
        order = np.argsort(label, kind="stable")
        of_frame = [column[order] for column in (self.car_ms, self.received_ms, self.unit_lap, self.readings)]
        ends, starts = np.cumsum(of_frame[-1]), np.cumsum(self.readings) - self.readings
        reading = np.repeat(starts[order] - (ends - of_frame[-1]), of_frame[-1]) + np.arange(ends[-1])
        channel, value = self.channel[reading], self.value[reading]
        cuts = [0, *(np.flatnonzero(np.diff(label[order])) + 1).tolist(), len(order)]
        for begin, end in itertools.pairwise(cuts):
            some = slice(int(ends[begin - 1]) if begin else 0, int(ends[end - 1]))
            yield (
                int(label[order[begin]]),
                Frames(*(column[begin:end] for column in of_frame), channel=channel[some], value=value[some]),
            )


class _Block(NamedTuple):
    """Frames of one car in the file."""

    offset: int
    frames: int
    readings: int


@dataclass
class CarSize:
    """How much there is of one car."""

    frames: int = 0
    readings: int = 0


@dataclass
class _SpilledCar:
    blocks: list[_Block] = field(default_factory=list[_Block])

    @property
    def size(self) -> CarSize:
        return CarSize(sum(block.frames for block in self.blocks), sum(block.readings for block in self.blocks))


class ReadingSpill:
    """The readings of a session, for several threads that add to them.

    Args:
        folder: Where the file goes.

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
        return sorted(car for car, held in self._cars.items() if held.blocks)

    @property
    def channels(self) -> list[str]:
        """Raw channels; a reading's code is the place of its channel here."""
        return list(self._channels)

    def size_of(self, car: str) -> CarSize:
        """Return how much there is of a car."""
        return self._cars[car].size

    def channel_code(self, channel: str) -> int:
        """Return the code of a channel, a new one for one not met before.

        Raises:
            MalformedFileError: There are more different channels than any file of readings has.
        """
        with self._lock:
            code = self._channels.setdefault(channel, len(self._channels))
        if code >= _MOST_CHANNELS:
            raise MalformedFileError(
                f"The telemetry names more than {_MOST_CHANNELS:,} different channels.",
                "Check that telemetry_name holds names.",
            )
        return code

    def add(self, car: str, frames: Frames) -> None:
        """Append frames of a car."""
        # Fewer and larger writes are quicker; joining the parts costs a copy in the processor's cache.
        content = b"".join(np.ascontiguousarray(column).tobytes() for column in frames)
        with self._lock:
            offset = self._end
            self._end += len(content)
            self._cars[car].blocks.append(_Block(offset, len(frames.car_ms), len(frames.value)))
            self._file.seek(offset)
            view = memoryview(content)
            while view:
                view = view[self._file.write(view) :]

    def mark(self) -> dict[str, int]:
        """Return what there is now, for :meth:`rewind`."""
        return {car: len(held.blocks) for car, held in self._cars.items()}

    def rewind(self, mark: dict[str, int]) -> None:
        """Forget what was added since the mark."""
        for car, held in self._cars.items():
            del held.blocks[mark.get(car, 0) :]

    def blocks_of(self, car: str) -> Iterator[Frames]:
        """Yield a car's frames in the order they were added, some ten thousand readings at a time."""
        for block in self._cars[car].blocks:
            yield self._read(block)

    def _read(self, block: _Block) -> Frames:
        frames, readings = block.frames, block.readings
        content = bytearray(32 * frames + 10 * readings)
        view = memoryview(content)
        with self._lock:
            self._file.seek(block.offset)
            while view:
                view = view[self._file.readinto(view) :]  # type: ignore[attr-defined]  # an unbuffered file has it
        whole = np.frombuffer(content, np.int64, 4 * frames).reshape(4, frames)
        channel = np.frombuffer(content, np.uint16, readings, 32 * frames)
        value = np.frombuffer(content, np.float64, readings, 32 * frames + 2 * readings)
        return Frames(*whole, channel=channel, value=value)


def join(parts: list[Frames]) -> Frames:
    """Put frames one after the other."""
    return Frames(*(np.concatenate(columns) for columns in zip(*parts, strict=True))) if parts else _NO_FRAMES


_NO_FRAMES = Frames(
    *(np.empty(0, np.int64) for _ in range(4)), channel=np.empty(0, np.uint16), value=np.empty(0, np.float64)
)
