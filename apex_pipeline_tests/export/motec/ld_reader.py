"""Reads MoTeC logs by the offsets of the public layout, knowing nothing of the writer."""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ReadChannel:
    """A channel as a reader sees it."""

    name: str
    short_name: str
    unit: str
    rate_hz: int
    decimals: int
    values: npt.NDArray[np.float64]
    stored: npt.NDArray[np.float64]


@dataclass(frozen=True)
class ReadLog:
    """A log as a reader sees it."""

    date: str
    time: str
    driver: str
    vehicle: str
    venue: str
    comment: str
    event: str
    session: str
    event_venue: str
    event_vehicle: str
    channels: dict[str, ReadChannel]


def read_ld(path: Path) -> ReadLog:
    """Read a log by its pointers: no block is taken to be at a fixed place."""
    data = path.read_bytes()

    def number(at: int, size: int, *, signed: bool = False) -> int:
        assert at + size <= len(data)
        return int.from_bytes(data[at : at + size], "little", signed=signed)

    def text(at: int, size: int) -> str:
        raw = data[at : at + size]
        assert raw[-1] == 0, "a text fills its field"
        return raw.split(b"\0")[0].decode("ascii")

    assert number(0x00, 4) == 0x40
    assert number(0x40, 2) == 1
    assert number(0x42, 2) == 0x4240
    assert text(0x4A, 8) == "ADL"
    event = number(0x24, 4)
    venue = number(event + 0x480, 4)
    vehicle = number(venue + 0x44A, 4)
    channels: dict[str, ReadChannel] = {}
    at, before = number(0x08, 4), 0
    first_samples = number(0x0C, 4)
    while at:
        assert number(at, 4) == before
        where, count = number(at + 0x08, 4), number(at + 0x0C, 4)
        assert channels or where == first_samples
        kind, size = number(at + 0x12, 2), number(at + 0x14, 2)
        dtype = {(7, 4): "<f4", (5, 4): "<i4"}[kind, size]
        stored = np.frombuffer(data, dtype, count, where).astype(np.float64)
        shift, multiplier, divisor, decimals = (number(at + place, 2, signed=True) for place in range(0x18, 0x20, 2))
        values = (stored / divisor * 10.0**-decimals + shift) * multiplier
        channel = ReadChannel(
            text(at + 0x20, 32),
            text(at + 0x40, 8),
            text(at + 0x48, 12),
            number(at + 0x16, 2),
            decimals,
            values,
            stored if kind == 7 else values,
        )
        assert channel.name not in channels
        channels[channel.name] = channel
        before, at = at, number(at + 0x04, 4)
    assert number(0x56, 4) == len(channels)
    return ReadLog(
        date=text(0x5E, 16),
        time=text(0x7E, 16),
        driver=text(0x9E, 64),
        vehicle=text(0xDE, 64),
        venue=text(0x15E, 64),
        comment=text(0x624, 64),
        event=text(event, 64),
        session=text(event + 64, 64),
        event_venue=text(venue, 64),
        event_vehicle=text(vehicle, 64),
        channels=channels,
    )


def read_beacons(path: Path) -> list[tuple[float, str]]:
    """Return the beacons of a ``.ldx`` file: seconds since the log begins, and their names."""
    root = ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314  -- written by this test
    assert root.tag == "LDXFile"
    markers = root.findall("./Layers/Layer/MarkerBlock/MarkerGroup[@Name='Beacons']/Marker[@ClassName='BCN']")
    return [(float(marker.attrib["Time"]) / 1e6, marker.attrib["Name"]) for marker in markers]
