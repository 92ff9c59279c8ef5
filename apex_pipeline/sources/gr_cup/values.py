"""Text to values: times, durations and gaps as these files write them.

Every function returns ``None`` for text it cannot read; the caller knows file and row and says so.
"""

import math
import re
from datetime import UTC, datetime, time, timedelta

_DURATION = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)")
_CLOCK = re.compile(r"(\d{1,2}):(\d\d):(\d\d)(?:\.(\d{1,6}))?")
_LAPS_BEHIND = re.compile(r"(\d+)\s+Laps?", re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_utc_ms(text: str) -> int | None:
    """Return milliseconds since 1970 for an ISO time with ``Z`` or an offset; a time without either says no instant."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def parse_duration_s(text: str) -> float | None:
    """Return seconds for ``ss.fff``, ``m:ss.fff`` (minutes may run past 59) or ``h:mm:ss.fff``."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    hours, minutes = int(match[1] or 0), int(match[2] or 0)
    # Rounded to the millisecond the files are written in: 60 + 36.428 is 96.42800000000001 otherwise.
    return round(hours * 3600 + minutes * 60 + float(match[3]), 3)


def parse_clock(text: str) -> time | None:
    """Return the time of day for ``HH:MM:SS.fff``."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    hour, minute, second = int(match[1]), int(match[2]), int(match[3])
    if hour > 23 or minute > 59 or second > 59:  # noqa: PLR2004  -- a clock
        return None
    return time(hour, minute, second, int((match[4] or "0").ljust(6, "0")))


def parse_gap_s(text: str) -> float | None:
    """Return seconds for a gap on the same lap: ``+s.fff`` or ``+m:ss.fff``; ``-`` is the leader, 0 s."""
    if text == "-":
        return 0.0
    return parse_duration_s(text.removeprefix("+"))


def parse_gap_laps(text: str) -> int | None:
    """Return laps for a gap of whole laps: ``1 Lap``, ``3 Laps``."""
    match = _LAPS_BEHIND.fullmatch(text)
    return int(match[1]) if match else None


def parse_number(text: str) -> float | None:
    """Return a finite number."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def parse_integer(text: str) -> int | None:
    """Return a whole number; ``3.0`` is one, ``3.5`` is none."""
    number = parse_number(text)
    return int(number) if number is not None and number.is_integer() else None


__all__ = [
    "parse_clock",
    "parse_duration_s",
    "parse_gap_laps",
    "parse_gap_s",
    "parse_integer",
    "parse_number",
    "parse_utc_ms",
]
