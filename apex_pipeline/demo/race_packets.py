"""Writes the frames of a scripted race as the packets the game would send, in every generation and container.

The byte positions are written here once more, apart from those of the reader, so that the two check each other.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from apex_pipeline.demo.race_script import CARS, DRIVER, LENGTH_M, TANK_L, Frame

# Sizes of physics, timings, participants and time stats, by generation of the protocol.
GENERATIONS = {
    "before patch 5": (538, 993, 1040, 784),
    "patch 5": (555, 1059, 1136, 1040),
    "AMS2": (559, 1063, 1136, 1040),
}
CONTAINERS = ("zlib", "raw deflate", "gzip", "ams2rec")

_PHYSICS, _RACE, _PARTICIPANTS, _TIMINGS, _STATE, _STATS, _NAMES = 0, 1, 2, 3, 4, 7, 8
_TICKS_PER_S = 1000
_PLAYER = 0xFFFF
_HUMAN = 0x8000
_MAGIC = b"AMS2REC1"


@dataclass(frozen=True)
class PacketOptions:
    """How the frames are sent.

    Attributes:
        generation: One of ``GENERATIONS``.
        first_number: Packet number of the first packet.
        first_tick: Tick count of the first frame; the default wraps at 2^32 within a minute.
        sends_stats: Send time stats, with the game's own lap times.
        state_every_s: Time between two packets of the game's state.
    """

    generation: str = "AMS2"
    first_number: int = 1
    first_tick: int = 2**32 - 40_000
    sends_stats: bool = True
    state_every_s: float = 1.0


AMS2 = PacketOptions()


def rival_lap_s(slot: int) -> float:
    """Return the lap time of another car, which it drives in every lap."""
    return 24.25 + slot * 0.875


def sensors(frame: Frame) -> dict[str, float]:
    """Return what the sensors show in a frame, as sent: bytes, and floats of 32 bits."""
    angle = 2 * math.pi * frame.share
    return {
        "throttle": int(127 + 127 * math.sin(3 * angle)),
        "brake": int(127 + 127 * math.cos(5 * angle)),
        "steering": int(120 * math.sin(angle)),
        "rpm": int(6_000 + 2_000 * math.cos(angle)),
        "gear": 15 if frame.share == 0 else 1 + int(frame.share * 5),
        "speed": single(frame.speed_mps),
        "fuel_level": single(0.75 - frame.session_time_s / 10_000),
        "yaw": single(math.remainder(angle, 2 * math.pi)),
        "pitch": single(0.25 * math.sin(7 * angle)),
        "x": single(600 + 500 * math.cos(angle)),
        "z": single(700 + 400 * math.sin(angle)),
    }


def single(value: float) -> float:
    """Return a number rounded to 32 bits."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def packets(frames: Iterable[Frame], options: PacketOptions = AMS2) -> Iterator[bytes]:
    """Yield the datagrams of the frames, in the order sent."""
    writer = _Writer(options)
    for frame in frames:
        yield from writer.frame(frame)


class _Writer:
    """Counts packets and remembers when the rare ones are due."""

    def __init__(self, options: PacketOptions) -> None:
        self._options = options
        self._number = options.first_number
        self._state_due_s = self._rare_due_s = 0.0
        self._scene: tuple[object, ...] = ()
        self._changed = 1_000

    def frame(self, frame: Frame) -> Iterator[bytes]:
        """Yield the packets of one frame."""
        scene = (frame.session, frame.track)
        if scene != self._scene:
            self._scene, self._rare_due_s, self._changed = scene, frame.time_s, self._changed + 1
        if frame.time_s >= self._state_due_s:
            self._state_due_s = frame.time_s + self._options.state_every_s
            yield self._send(_STATE, 24, {14: bytes([frame.session << 4 | frame.game_state])})
        if frame.time_s >= self._rare_due_s:
            self._rare_due_s = frame.time_s + 5
            yield from self._rare(frame)
        yield self._physics(frame)
        yield self._timings(frame)

    def _physics(self, frame: Frame) -> bytes:
        size = GENERATIONS[self._options.generation][0]
        shown = sensors(frame)
        at = {
            12: struct.pack("<b", frame.viewed),
            28: struct.pack("<BBB", TANK_L, int(shown["brake"]), int(shown["throttle"])),
            32: struct.pack("<ffHH", shown["fuel_level"], shown["speed"], int(shown["rpm"]), 9_000),
            44: struct.pack("<bB", int(shown["steering"]), 6 << 4 | int(shown["gear"])),
            52: struct.pack("<fff", shown["pitch"], shown["yaw"], 0.0),
        }
        if size > 538:  # noqa: PLR2004  -- before patch 5
            at[542] = struct.pack("<fff", shown["x"], 12.5, shown["z"])
        if size == 559:  # noqa: PLR2004  -- AMS2
            at[555] = self._tick(frame)
        return self._send(_PHYSICS, size, at)

    def _timings(self, frame: Frame) -> bytes:
        size = GENERATIONS[self._options.generation][1]
        at = {12: struct.pack("<bI", CARS, self._changed), 17: struct.pack("<f", 1_800.0)}
        is_old = size == 993  # noqa: PLR2004  -- before patch 5
        for slot in range(CARS):
            entry = _driver_entry(frame) if slot == DRIVER else _rival_entry(frame, slot)
            at[33 + slot * (30 if is_old else 32)] = entry[:30] if is_old else entry
        if not is_old:
            at[1057] = struct.pack("<H", DRIVER)
        if size == 1063:  # noqa: PLR2004  -- AMS2
            at[1059] = self._tick(frame)
        return self._send(_TIMINGS, size, at)

    def _rare(self, frame: Frame) -> Iterator[bytes]:
        _, _, participants, stats = GENERATIONS[self._options.generation]
        location, variation = (text.encode() for text in frame.track)
        yield self._send(_RACE, 308, {44: struct.pack("<f", LENGTH_M), 48: location, 112: variation})
        names = {16 + 64 * slot: f"Driver {slot}".encode() for slot in range(CARS)}
        yield self._send(_PARTICIPANTS, participants, names)
        cars = {12 + 72 * i: struct.pack("<HHI64s", i, 0, 40 + i % 2, f"Car {i}".encode()) for i in range(16)}
        yield self._send(_NAMES, 1164, cars)
        classes = {12 + 24 * i: struct.pack("<I20s", 40 + i, f"Class {i}".encode()) for i in range(2)}
        yield self._send(_NAMES, 1452, classes)
        if self._options.sends_stats:
            width = 24 if stats == 784 else 32  # noqa: PLR2004  -- before patch 5
            times = {16 + slot * width + 4: struct.pack("<ff", *_last_times_s(frame, slot)) for slot in range(CARS)}
            yield self._send(_STATS, stats, times)

    def _tick(self, frame: Frame) -> bytes:
        return struct.pack("<I", (self._options.first_tick + round(frame.time_s * _TICKS_PER_S)) % 2**32)

    def _send(self, kind: int, size: int, at: "dict[int, bytes]") -> bytes:
        packet = bytearray(size)
        struct.pack_into("<IIBBBB", packet, 0, self._number % 2**32, self._number % 2**32, 1, 1, kind, 2)
        self._number += 1
        for offset, content in at.items():
            packet[offset : offset + len(content)] = content
        return bytes(packet)


def _driver_entry(frame: Frame) -> bytes:
    shown = sensors(frame)
    return _entry(
        (shown["x"], shown["z"]),
        int(frame.distance_m),
        (0x80 | 3, frame.sector, frame.pit_mode, _PLAYER, frame.race_state | (8 if frame.is_invalid else 0), frame.lap),
        (frame.clock_s, frame.sector_clock_s),
    )


def _rival_entry(frame: Frame, slot: int) -> bytes:
    lap_s = rival_lap_s(slot)
    lap, clock_s = divmod(frame.session_time_s, lap_s)
    index = (_HUMAN if slot == 0 else 0) | slot
    return _entry(
        (100.0 + slot, 200.0),
        int(clock_s / lap_s * LENGTH_M),
        (0x80 | slot + 1, 1, 0, index, 2, int(lap) % 256 + 1),
        (clock_s, clock_s),
    )


def _entry(position: tuple[float, float], distance: int, packed: Sequence[int], clocks: tuple[float, float]) -> bytes:
    """Return an entry of timings; ``packed`` is position, sector, pit mode, car index, state and lap."""
    x, z = (math.floor(value * 4) for value in position)
    race_position, sector, pit_mode, car_index, state, lap = packed
    sector |= (x & 3) << 6 | (z & 3) << 4
    return struct.pack(
        "<hhhhhhHBBBBHBBffH",
        x >> 2,
        12,
        z >> 2,
        0,
        0,
        0,
        distance,
        race_position,
        sector,
        0,
        pit_mode,
        car_index,
        state,
        lap,
        *clocks,
        0,
    )


def _last_times_s(frame: Frame, slot: int) -> tuple[float, float]:
    """Return the last lap and the last sector of a car."""
    if slot == DRIVER:
        return frame.last_lap_s, frame.last_sector_s
    lap_s = rival_lap_s(slot)
    return (lap_s, lap_s / 3) if frame.session_time_s >= lap_s else (-1.0, -1.0)


def recording(datagrams: Iterable[bytes], container: str = "zlib") -> bytes:
    """Return datagrams as a compressed recording, in one of ``CONTAINERS``."""
    if container == "ams2rec":
        framed = (struct.pack("<IH", place, len(datagram)) + datagram for place, datagram in enumerate(datagrams))
        return gzip.compress(_MAGIC + b"".join(framed), 1, mtime=0)
    content = framed_datagrams(datagrams)
    if container == "gzip":
        return gzip.compress(content, 1, mtime=0)
    compressor = zlib.compressobj(1, wbits=-15 if container == "raw deflate" else 15)
    return compressor.compress(content) + compressor.flush()


def framed_datagrams(datagrams: Iterable[bytes]) -> bytes:
    """Return datagrams with their lengths in front."""
    return b"".join(struct.pack("<I", len(datagram)) + datagram for datagram in datagrams)
