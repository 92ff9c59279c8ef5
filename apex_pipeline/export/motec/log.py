"""What a MoTeC log of a car contains: each channel at a rate of its own, the holes, and the laps.

A log begins at a whole millisecond, at which all its channels have their first sample.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from apex_pipeline.distance.arrays import Numbers
from apex_pipeline.distance.lap import is_step
from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.export.motec.clock import Readings, readings_of, tick_count, ticks
from apex_pipeline.export.motec.ld_file import NAME_BYTES, LdChannel, LogDetails, field_text, write_ld
from apex_pipeline.export.motec.ldx_file import Beacon, ldx_text
from apex_pipeline.storage.atomic import new_file
from apex_pipeline.tables import TELEMETRY

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Counts the channels whose value is held because nothing was received.
HOLES = "held_channels"
# A session of a day is the longest race; samples that span more have a clock that jumped.
_LONGEST_S = 26 * 3600.0
# Two crossings closer than this are one: the end of a lap and the start of the next one, found separately.
_SAME_CROSSING_S = 1.0
_UNITS = {"revolutions per minute": "rpm", "degrees": "deg", "metres": "m", "seconds": "s", "g": "G"}
_POSITIONS = ("latitude_deg", "longitude_deg")
# The seventh decimal of a degree is a centimetre; three decimals of the others are below the noise of every sensor.
_POSITION_DECIMALS, _DECIMALS = 7, 3
# Beyond it a position is none, and would not fit into 32 bits.
_MOST_DEGREES = 180.0


@dataclass(frozen=True)
class LogSpan:
    """The part of a session that becomes a log.

    Attributes:
        start_ms: Where it begins, milliseconds since 1970 UTC.
        end_ms: Where it ends.
    """

    start_ms: int
    end_ms: int

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return (self.end_ms - self.start_ms) / 1000

    @property
    def start_utc(self) -> datetime:
        """Where it begins."""
        return _EPOCH + timedelta(milliseconds=self.start_ms)

    @property
    def after_end_utc(self) -> datetime:
        """The first millisecond after it."""
        return _EPOCH + timedelta(milliseconds=self.end_ms + 1)


@dataclass(frozen=True)
class MotecLog:
    """A log, ready to be written.

    Attributes:
        span: The time it covers.
        channels: Its channels; the last one, ``held_channels``, counts those that are in a hole.
        beacons: The crossings of the line in it, by time.
        left_out: Channels without any reading.
    """

    span: LogSpan
    channels: tuple[LdChannel, ...]
    beacons: tuple[Beacon, ...]
    left_out: tuple[str, ...]


def motec_log(samples: pa.Table, crossings: Sequence[tuple[int, str]], span: LogSpan, label: str) -> MotecLog:
    """Return the log of a car.

    Args:
        samples: Its rows of ``telemetry``, by time.
        crossings: When it crossed the line, milliseconds since 1970 UTC, and a name for that. Of two within a second,
            which are one crossing found twice, the first of the sequence counts.
        span: The time to cover. Samples around it say what the values at its ends are.
        label: Names car and lap in errors.

    Raises:
        ConfigurationError: The span is longer than 26 hours.
        ObjectMissingError: No channel has a reading in it.
    """
    if span.duration_s > _LONGEST_S:
        raise ConfigurationError(
            f"{label} spans {span.duration_s / 3600:,.0f} hours: its clock jumped.", "Write one lap with --lap 5."
        )
    times_s = (samples["sample_time_utc"].cast(pa.int64()).to_numpy() - span.start_ms) / 1000
    fields = [field for field in samples.schema if pt.is_floating(field.type)]
    found = {field.name: _readings(samples, field.name, times_s, span) for field in fields}
    known = [readings for readings in found.values() if readings is not None]
    if not known:
        raise ObjectMissingError(
            f"No channel of {label} has a reading.", "`apex telemetry TRACK SESSION --car N` lists what was sent."
        )
    channels = _channels(known, span)
    rate_hz = max(channel.rate_hz for channel in channels)
    count = tick_count(span.duration_s, rate_hz)
    holes = LdChannel(HOLES, "held", "", rate_hz, 0, count, lambda: _held(known, ticks(span.duration_s, rate_hz)))
    left_out = tuple(name for name, readings in found.items() if readings is None)
    return MotecLog(span, (*channels, holes), _beacons(crossings, span), left_out)


def _readings(samples: pa.Table, name: str, times_s: Numbers, span: LogSpan) -> Readings | None:
    """Return the readings of a channel, those around the span too; ``None`` if it has none within."""
    readings = readings_of(name, times_s, samples[name].to_numpy().astype(np.float64))
    if readings is None or not ((readings.times_s >= 0) & (readings.times_s <= span.duration_s)).any():
        return None
    return readings


def _held(known: Sequence[Readings], ticks_s: Numbers) -> Numbers:
    """Return how many channels are in a hole at each tick."""
    counts = np.zeros(len(ticks_s))
    for readings in known:
        counts += readings.holes(ticks_s)
    return counts


def _channels(known: Sequence[Readings], span: LogSpan) -> list[LdChannel]:
    names = _names_in_log([readings.name for readings in known])
    return [_channel(readings, name, span) for readings, name in zip(known, names, strict=True)]


def _channel(readings: Readings, name: str, span: LogSpan) -> LdChannel:
    column = next((column for column in TELEMETRY.columns if column.name == readings.name), None)
    unit = column.unit if column else ""
    rate_hz = readings.rate_hz
    return LdChannel(
        name,
        name.replace("_", ""),
        _UNITS.get(unit, unit),
        rate_hz,
        _decimals(readings),
        tick_count(span.duration_s, rate_hz),
        lambda: readings.at(ticks(span.duration_s, rate_hz)),
    )


def _decimals(readings: Readings) -> int:
    if readings.name in _POSITIONS and np.abs(readings.values).max() <= _MOST_DEGREES:
        return _POSITION_DECIMALS
    return 0 if is_step(readings.name) else _DECIMALS


def _names_in_log(names: Sequence[str]) -> list[str]:
    """Return names that fit into a log and differ from each other and from that of the holes."""
    taken = {HOLES}
    found: list[str] = []
    for name in names:
        fitting = field_text(name, NAME_BYTES).decode() or "channel"
        number = 1
        while fitting in taken:
            number += 1
            ending = f"~{number}"
            fitting = field_text(name, NAME_BYTES - len(ending)).decode() + ending
        taken.add(fitting)
        found.append(fitting)
    return found


def _beacons(crossings: Sequence[tuple[int, str]], span: LogSpan) -> tuple[Beacon, ...]:
    beacons: list[Beacon] = []
    for at_ms, name in crossings:
        beacon = Beacon((at_ms - span.start_ms) / 1000, name)
        place = bisect_left(beacons, beacon)
        near = beacons[max(place - 1, 0) : place + 1]
        is_new = all(abs(beacon.at_s - other.at_s) > _SAME_CROSSING_S for other in near)
        if 0 <= beacon.at_s <= span.duration_s and is_new:
            beacons.insert(place, beacon)
    return tuple(beacons)


def write_log(log: MotecLog, details: LogDetails, target: Path) -> None:
    """Write a log and its beacons; both files appear when they are complete.

    Args:
        log: The log.
        details: What it says about itself.
        target: The new ``.ld`` file; the beacons are written beside it, ending in ``.ldx``.

    Raises:
        ConfigurationError: One of the files exists, the name does not end in ``.ld``, or the log is too long.
        StoreError: The disk refused a file.
    """
    if target.suffix.lower() != ".ld":
        raise ConfigurationError(
            f"{target} does not end in .ld, so i2 would not open it.", f"Name it {target.with_suffix('.ld')}."
        )
    with new_file(target.with_suffix(target.suffix + "x")) as beacons, new_file(target) as unfinished:
        with unfinished.open("wb") as file:
            write_ld(file, details, log.channels)
        beacons.write_text(ldx_text(log.beacons), encoding="ascii")
