"""The layout of a MoTeC ``.ld`` file: little-endian blocks that point to each other, then the samples.

    header (0) → event → venue → vehicle
           └──→ channel ⇄ channel ⇄ …, each with a pointer to its samples

The layout is public knowledge from logs of devices, not documented by MoTeC. Values are stored so that they are right
both for a reader that applies a channel's scale and for one that takes floats as they are.
"""

import struct
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

import numpy as np

from apex_pipeline.distance.arrays import Numbers
from apex_pipeline.errors import ConfigurationError

# Marker, pointers to the first channel and its samples, to the event; three marks, serial number, type and version of
# the logger and another mark; number of channels; date, time; driver, vehicle, venue; the mark of logs with all
# functions; comment. i2 opens no file without the marks, which are those of an ADL.
_HEADER = struct.Struct("<I4xII20xI24xHHHI8sHHI4x16s16x16s16x64s64s64x64s64x1024xI66x64s126x")
_MARKER = 0x40
_MARKS = (1, 0x4240, 0x0F)
_LOGGER = (0x1F44, b"ADL", 420, 0xADB0)
_ALL_FUNCTIONS = 0xC81A4
# Event, session, comment, pointer to the venue.
_EVENT = struct.Struct("<64s64s1024sI2000x")
# Venue, pointer to the vehicle.
_VENUE = struct.Struct("<64s1034xI2000x")
# Name, type and comment of the vehicle; the 4 bytes between are its weight.
_VEHICLE = struct.Struct("<64s128x4x32s32s3056x")
# Pointers to the channel before and after and to the samples, number of samples; id, kind, bytes of a sample, rate;
# shift, multiplier, divisor, decimals; name, short name, unit.
_CHANNEL = struct.Struct("<IIIIHHHHhhhh32s8s12s40x")
NAME_BYTES, _SHORT_NAME_BYTES, _UNIT_BYTES = 32, 8, 12
_FIRST_ID = 0x2EE1
_FLOAT, _WHOLE = 0x07, 0x05
_BYTES = 4
# A pointer has 32 bits; a log that long would not be looked at as one.
_MOST_BYTES = 2**31
# Decimals up to here are stored with a multiplier that undoes them: the stored float is the value itself.
_MOST_FLOAT_DECIMALS = 4


@dataclass(frozen=True)
class LdChannel:
    """A channel of a log.

    Attributes:
        name: At most 31 characters.
        short_name: At most 7 characters.
        unit: At most 11 characters.
        rate_hz: Samples per second.
        decimals: Decimals that are shown. With more than 4 the samples are stored as whole numbers of the last one, as
            loggers do with positions.
        count: Number of samples.
        values: Returns the samples, shape (count,); called when they are written, so that memory holds one channel.
    """

    name: str
    short_name: str
    unit: str
    rate_hz: int
    decimals: int
    count: int
    values: Callable[[], Numbers]


@dataclass(frozen=True)
class LogDetails:
    """What a log says about itself; there is no driver.

    Attributes:
        start_utc: When it begins.
        event: For example the track and the year.
        session: Name of the session.
        venue: The track.
        vehicle: The car.
        comment: What to know, shown beside the log.
    """

    start_utc: datetime
    event: str
    session: str
    venue: str
    vehicle: str
    comment: str


def field_text(text: str, size: int) -> bytes:
    """Return text for a field of some bytes, which ends with a zero: letters without accents, ``?`` for the others."""
    plain = unicodedata.normalize("NFKD", text)
    marks_removed = "".join(letter for letter in plain if not unicodedata.combining(letter))
    printable = "".join(letter if letter.isprintable() else " " for letter in marks_removed)
    return printable.encode("ascii", "replace")[: size - 1].rstrip()


def write_ld(file: BinaryIO, details: LogDetails, channels: Sequence[LdChannel]) -> None:
    """Write a log.

    Args:
        file: An empty file.
        details: What it says about itself.
        channels: Its channels.

    Raises:
        ConfigurationError: The log would have more than 2 GB.
    """
    first_channel = _HEADER.size + _EVENT.size + _VENUE.size + _VEHICLE.size
    first_sample = first_channel + _CHANNEL.size * len(channels)
    size = first_sample + sum(_BYTES * channel.count for channel in channels)
    if size > _MOST_BYTES:
        raise ConfigurationError(
            f"The log would have {size / 1e9:,.1f} GB; a .ld file is limited to 2 GB here.",
            "Write a stint with --lap 5-20, or one lap with --lap 5.",
        )
    file.write(_blocks(details, len(channels), first_channel, first_sample))
    sample_at = first_sample
    for place, channel in enumerate(channels):
        file.write(_record(channel, place, len(channels), first_channel, sample_at))
        sample_at += _BYTES * channel.count
    for channel in channels:
        file.write(_encoded(channel))


def _blocks(details: LogDetails, count: int, first_channel: int, first_sample: int) -> bytes:
    event_at = _HEADER.size
    venue_at = event_at + _EVENT.size
    vehicle, venue = field_text(details.vehicle, 64), field_text(details.venue, 64)
    date, time = details.start_utc.strftime("%d/%m/%Y").encode(), details.start_utc.strftime("%H:%M:%S").encode()
    comment = field_text(details.comment, 64)
    header = _HEADER.pack(
        *(_MARKER, first_channel, first_sample, event_at, *_MARKS, *_LOGGER, count),
        *(date, time, b"", vehicle, venue, _ALL_FUNCTIONS, comment),
    )
    event, session = field_text(details.event, 64), field_text(details.session, 64)
    return b"".join(
        [
            header,
            _EVENT.pack(event, session, field_text(details.comment, 1024), venue_at),
            _VENUE.pack(venue, venue_at + _VENUE.size),
            _VEHICLE.pack(vehicle, b"", b""),
        ]
    )


def _record(channel: LdChannel, place: int, count: int, first_channel: int, sample_at: int) -> bytes:
    before = first_channel + _CHANNEL.size * (place - 1) if place else 0
    after = first_channel + _CHANNEL.size * (place + 1) if place + 1 < count else 0
    kind, multiplier = (_WHOLE, 1) if _is_whole(channel) else (_FLOAT, 10**channel.decimals)
    return _CHANNEL.pack(
        *(before, after, sample_at, channel.count, _FIRST_ID + place, kind, _BYTES, channel.rate_hz),
        *(0, multiplier, 1, channel.decimals),
        field_text(channel.name, NAME_BYTES),
        field_text(channel.short_name, _SHORT_NAME_BYTES),
        field_text(channel.unit, _UNIT_BYTES),
    )


def _is_whole(channel: LdChannel) -> bool:
    return channel.decimals > _MOST_FLOAT_DECIMALS


def _encoded(channel: LdChannel) -> bytes:
    values = channel.values()
    if _is_whole(channel):
        return np.rint(values * 10**channel.decimals).astype("<i4").tobytes()
    return values.astype("<f4").tobytes()
