"""Writes recordings a second time: from the published byte tables alone, sharing no code with the demo's generator.

A drive is a list of legs on one time line; what every packet says follows from the time at which it is sent.
"""

import gzip
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import cos, floor, pi, sin

TRACK_M = 3000.0
_MISSING = 0xFFFF
_LOCATION, _VARIATION = b"Brno", b"Long"
_PAUSED, _PLAYING, _RESTARTING = 3, 2, 5


@dataclass(frozen=True)
class Generation:
    """Sizes of the packets of one generation, and what they can say."""

    physics: int
    timings: int
    stats: int
    entry: int
    has_local: bool
    has_tick: bool


GENERATIONS = {
    "before patch 5": Generation(538, 993, 784, 30, False, False),
    "patch 5": Generation(555, 1059, 1040, 32, True, False),
    "AMS2": Generation(559, 1063, 1040, 32, True, True),
}


@dataclass(frozen=True)
class Leg:
    """A part of the drive.

    Attributes:
        seconds: How long it takes.
        lap: The game's lap number.
        kind: ``lap`` with a running clock, or ``out`` without one; ``box`` and ``pause`` stand still.
        of: Lap time that the pace belongs to; the whole leg for a lap from line to line.
        begins: Lap clock at its beginning.
        invalid: Bits of the race state for an invalid lap.
        pit_from: Share of the lap from which the car drives into the pits.
        pit_until: Share of the lap until which it drives out of them.
        counts: Whether the distance counts without a clock.
        session: The game's number of the session's type.
        state: The game's state.
        race_state: State of the car in the race.
        viewed: Car that the camera shows; ``None`` for the driver's.
        truth: Kind of lap that must be found, or ``None``.
        changed: Timestamp of the participants.
    """

    seconds: float
    lap: int = 1
    kind: str = "lap"
    of: float = 0.0
    begins: float = 0.0
    invalid: int = 0
    pit_from: float = 2.0
    pit_until: float = -1.0
    counts: bool = True
    session: int = 1
    state: int = _PLAYING
    race_state: int = 2
    viewed: int | None = None
    truth: str | None = None
    changed: int = 7


@dataclass(frozen=True)
class Recorder:
    """How a drive is recorded."""

    generation: str = "AMS2"
    hertz: float = 10.0
    slot: int = 5
    cars: int = 12
    marks_player: bool = True
    marks_people: bool = False
    viewed_all: int | None = None
    loss: float = 0.0
    swaps: float = 0.0
    doubles: float = 0.0
    first_tick: int = 1000
    first_number: int = 100
    stats_off_s: float = 0.0
    with_stats: bool = True
    from_s: float = 0.0
    to_s: float = 1e9
    num: int | None = None
    seed: int = 1


@dataclass
class Sample:
    """What is true at one sample."""

    leg: int
    clock: float
    distance: float
    speed: float
    x: float
    z: float
    values: dict[str, float] = field(default_factory=dict)


class Writer:
    """Writes one drive."""

    def __init__(self, legs: list[Leg], how: Recorder) -> None:
        self.legs, self.how = legs, how
        self.sizes = GENERATIONS[how.generation]
        self.samples: list[Sample] = []
        self._number = how.first_number
        self._random = random.Random(how.seed)  # noqa: S311  -- repeatable, not secret

    def datagrams(self) -> list[bytes]:
        """Return the datagrams of the recording."""
        sent = [packet for packet in self._all() if self._random.random() >= self.how.loss]
        for place in range(len(sent) - 3):
            if self._random.random() < self.how.swaps:
                sent[place], sent[place + 2] = sent[place + 2], sent[place]
        return [packet for packet in sent for _ in range(1 + (self._random.random() < self.how.doubles))]

    def _all(self) -> Iterator[bytes]:
        how, begun, said = self.how, 0.0, None
        step = 1 / how.hertz
        ends = [sum(leg.seconds for leg in self.legs[: place + 1]) for place in range(len(self.legs))]
        time, place, last_second, stats = how.from_s + step / 3, 0, -1, 0.0
        while time < min(ends[-1], how.to_s):
            while time >= ends[place]:
                if self.legs[place].truth in ("flying", "out", "in"):
                    stats = self.legs[place].of if self.legs[place].begins == 0 else stats
                place += 1
            leg = self.legs[place]
            begun = ends[place] - leg.seconds
            sample = self._sample(place, time - begun)
            if (leg.state, leg.session) != said or int(time) != last_second:
                said, last_second = (leg.state, leg.session), int(time)
                yield self._packet(4, 24, {14: struct.pack("<B", leg.session << 4 | leg.state)})
                yield self._packet(1, 308, {44: struct.pack("<f", TRACK_M), 48: _LOCATION, 112: _VARIATION})
                if how.with_stats:
                    yield self._stats(stats)
            yield self._physics(leg, sample, time)
            yield self._timings(leg, sample, time)
            self.samples.append(sample)
            time += step

    def _sample(self, place: int, into: float) -> Sample:
        leg = self.legs[place]
        pace = leg.of or leg.seconds
        if leg.kind == "pause":
            before = self.samples[-1]
            return Sample(place, before.clock, before.distance, 0.0, before.x, before.z, before.values)
        if leg.kind == "box":
            return Sample(place, -1.0, 0.0, 0.0, 100.25, 200.5, _controls(0.0))
        clock = leg.begins + into
        share = clock / pace
        distance = TRACK_M * (share - 0.05 * sin(2 * pi * share)) % TRACK_M
        speed = TRACK_M * (1 - 0.1 * pi * cos(2 * pi * share)) / pace
        x, z = 600 + 477 * cos(2 * pi * distance / TRACK_M), 700 + 477 * sin(2 * pi * distance / TRACK_M)
        has_clock = leg.kind == "lap"
        return Sample(
            place, clock if has_clock else -1.0, distance if has_clock or leg.counts else 0.0, speed, x, z,
            _controls(share),
        )  # fmt: skip

    def _packet(self, kind: int, size: int, parts: dict[int, bytes]) -> bytes:
        packet = bytearray(size)
        struct.pack_into("<IIBBBB", packet, 0, self._number & 0xFFFFFFFF, self._number & 0xFFFFFFFF, 1, 1, kind, 2)
        self._number += 1
        for offset, value in parts.items():
            packet[offset : offset + len(value)] = value
        return bytes(packet)

    def _tick(self, time: float) -> bytes:
        return struct.pack("<I", (self.how.first_tick + round(time * 1000)) & 0xFFFFFFFF)

    def _physics(self, leg: Leg, sample: Sample, time: float) -> bytes:
        viewed = next(v for v in (leg.viewed, self.how.viewed_all, self.how.slot) if v is not None)
        own, sizes = viewed == self.how.slot, self.sizes
        put = sample.values if own else _controls(0.77)
        speed = sample.speed if own else 99.0
        parts = {
            12: struct.pack("<b", viewed), 28: bytes([110, int(put["brake"]), int(put["throttle"])]),
            32: struct.pack("<ffH", put["fuel"], speed, int(put["rpm"])),
            44: struct.pack("<bB", int(put["steering"]), int(put["gear"]) & 15 | 0x70),
            52: struct.pack("<fff", 0.25, put["yaw"], -0.5),
        }  # fmt: skip
        if sizes.physics > 538:
            parts[542] = struct.pack("<fff", sample.x if own else 5.0, 33.0, sample.z if own else 6.0)
        if sizes.has_tick:
            parts[555] = self._tick(time)
        return self._packet(0, sizes.physics, parts)

    def _timings(self, leg: Leg, sample: Sample, time: float) -> bytes:
        how, sizes = self.how, self.sizes
        parts = {12: struct.pack("<bI", how.num or how.cars, leg.changed)}
        for slot in range(min(how.cars, 32)):
            entry = self._own(leg, sample) if slot == how.slot else _rival(slot, time)
            parts[33 + sizes.entry * slot] = entry + (struct.pack("<H", slot) if sizes.entry == 32 else b"")
        if sizes.has_local:
            parts[1057] = struct.pack("<H", how.slot)
        if sizes.has_tick:
            parts[1059] = self._tick(time)
        return self._packet(3, sizes.timings, parts)

    def _own(self, leg: Leg, sample: Sample) -> bytes:
        share = sample.distance / TRACK_M
        pit = 4 if leg.kind == "box" else 1 if share >= leg.pit_from else 3 if share <= leg.pit_until else 0
        sector = 1 if share < 0.3 else 2 if share < 0.65 else 3
        index = _MISSING if self.how.marks_player else self.how.slot | 0x8000 * self.how.marks_people
        return _entry(sample.x, sample.z, sample.distance, 3, sector, pit, index,
                      leg.race_state | leg.invalid, leg.lap, sample.clock)  # fmt: skip

    def _stats(self, last_lap: float) -> bytes:
        width = 32 if self.sizes.stats == 1040 else 24
        off = self.how.stats_off_s if last_lap else 0.0
        times = {slot: 40.0 + slot for slot in range(min(self.how.cars, 32))} | {self.how.slot: last_lap + off}
        return self._packet(7, self.sizes.stats, {
            16 + width * slot: struct.pack("<ff", value, value) for slot, value in times.items() if slot < 32
        })  # fmt: skip


def _controls(share: float) -> dict[str, float]:
    gear = 15 if share == 0 else 1 + int(5 * (share % 1))
    return {
        "brake": floor(255 * (share * 7 % 1)), "throttle": floor(255 * (share * 3 % 1)),
        "steering": floor(254 * (share * 5 % 1)) - 127, "rpm": 1000 + floor(8000 * (share * 11 % 1)),
        "gear": gear, "yaw": struct.unpack("<f", struct.pack("<f", 3 * sin(7 * share)))[0],
        "fuel": struct.unpack("<f", struct.pack("<f", 0.9 - 0.01 * share))[0],
    }  # fmt: skip


def _rival(slot: int, time: float) -> bytes:
    pace = 40.0 + slot
    laps, clock = divmod(time + 3.7 * slot, pace)
    distance = TRACK_M * clock / pace
    return _entry(300.0, 300.0, distance, slot + 1, 1, 0, slot, 2, int(1 + laps) & 255, clock)


def _entry(  # noqa: PLR0913, PLR0917  -- as many as the entry has fields
           x: float, z: float, distance: float, position: int, sector: int, pit: int, index: int,
           race_state: int, lap: int, clock: float) -> bytes:  # fmt: skip
    quarters = int(x % 1 * 4) << 6 | int(z % 1 * 4) << 4
    return struct.pack(
        "<6hH4BH2B2f", floor(x), 33, floor(z), 0, 0, 0, int(distance), position | 128, sector | quarters, 0, pit, index,
        race_state, lap & 255, clock, max(clock, 0.0),
    )  # fmt: skip


def packed(datagrams: list[bytes], container: str) -> bytes:
    """Return datagrams as a compressed recording."""
    framed = b"".join(struct.pack("<I", len(packet)) + packet for packet in datagrams)
    if container == "ams2rec":
        timed = (struct.pack("<IH", 16 * at, len(packet)) + packet for at, packet in enumerate(datagrams))
        return gzip.compress(b"AMS2REC1" + b"".join(timed), 1)
    if container == "gzip":
        return gzip.compress(framed, 1)
    deflate = zlib.compressobj(1, zlib.DEFLATED, -15 if container == "raw" else 15)
    return deflate.compress(framed) + deflate.flush()
