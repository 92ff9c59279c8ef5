"""Parses single cells: times, durations, gaps and numbers.

Every function returns ``None`` for text it cannot parse; the caller knows the file and row and reports it.
"""

import math
import re
from datetime import UTC, datetime, time, timedelta

_DURATION = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2}):([0-5]\d):([0-5]\d)(?:\.(\d{1,6}))?", re.ASCII)
_LAPS_BEHIND = re.compile(r"(\d+) +laps?", re.IGNORECASE | re.ASCII)
# float() alone would also accept 1_000, nan and inf.
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE | re.ASCII)

_EPOCH_DIGITS = re.compile(r"[1-9]\d{9}(?:\.\d{1,9})?|[1-9]\d{12}(?:\d{3}){0,2}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The range that both Python and Arrow can represent as a date: years 1 to 9999.
_FIRST_MS = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
_LAST_MS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
# Above this, a float cannot represent every integer.
_LARGEST_INTEGER = 2**53
_BASE_60 = 60
_LAST_HOUR = 23


def parse_utc_ms(text: str) -> int | None:
    """Return milliseconds since 1970 for an ISO time with ``Z`` or an offset; without either it is ambiguous.

    Seconds, milliseconds, microseconds or nanoseconds since 1970 can mean only one thing, too: their number of digits
    is different for all times from 2001 to 2286.
    """
    if _EPOCH_DIGITS.fullmatch(text):
        whole, _, fraction = text.partition(".")
        digits = (whole + fraction).ljust(13, "0")
        return _in_range_ms(int(digits[:13]))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return _in_range_ms((moment - _EPOCH) // timedelta(milliseconds=1))


def parse_epoch(text: str) -> datetime | None:
    """Return the UTC time for seconds since 1970."""
    seconds = parse_number(text)
    utc_ms = None if seconds is None else _in_range_ms(round(seconds * 1000))
    return None if utc_ms is None else _EPOCH + timedelta(milliseconds=utc_ms)


def _in_range_ms(utc_ms: int) -> int | None:
    return utc_ms if _FIRST_MS <= utc_ms <= _LAST_MS else None


def parse_duration_s(text: str) -> float | None:
    """Return seconds for ``ss.fff``, ``m:ss.fff`` (minutes may run past 59) or ``h:mm:ss.fff``."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds = int(match[1] or 0), int(match[2] or 0), float(match[3])
    # After a colon only 0 to 59 is valid; 1:75.000 is a typing error.
    if (match[2] and seconds >= _BASE_60) or (match[1] and minutes >= _BASE_60):
        return None
    # Rounded to milliseconds, the resolution of the files: otherwise 60 + 36.428 is 96.42800000000001.
    return round(hours * 3600 + minutes * _BASE_60 + seconds, 3)


def parse_clock(text: str) -> time | None:
    """Return the time of day for ``HH:MM:SS.fff``."""
    match = _CLOCK.fullmatch(text)
    if match is None or int(match[1]) > _LAST_HOUR:
        return None
    return time(int(match[1]), int(match[2]), int(match[3]), int((match[4] or "0").ljust(6, "0")))


def parse_gap_s(text: str) -> float | None:
    """Return seconds for a gap on the same lap: ``+s.fff`` or ``+m:ss.fff``; ``-`` is the leader (0 s)."""
    return 0.0 if text == "-" else parse_duration_s(text.removeprefix("+"))


def parse_gap_laps(text: str) -> int | None:
    """Return the number of laps for a gap in laps: ``1 Lap``, ``3 Laps``."""
    match = _LAPS_BEHIND.fullmatch(text)
    return None if match is None else int(match[1])


def parse_number(text: str) -> float | None:
    """Return a finite number, written with or without a decimal point."""
    if _NUMBER.fullmatch(text) is None:
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def parse_integer(text: str) -> int | None:
    """Return an integer; ``3.0`` is accepted, ``3.5`` is not."""
    number = parse_number(text)
    if number is None or not number.is_integer() or abs(number) > _LARGEST_INTEGER:
        return None
    return int(number)
