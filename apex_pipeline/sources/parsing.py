"""Text to values: times, durations, gaps and numbers as these files write them.

Every function returns ``None`` for text it cannot read; the caller knows file and row and says so. Not here: which
column is read how, and what a value means.
"""

import math
import re
from datetime import UTC, datetime, time, timedelta

_DURATION = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2}):([0-5]\d):([0-5]\d)(?:\.(\d{1,6}))?", re.ASCII)
_LAPS_BEHIND = re.compile(r"(\d+) +laps?", re.IGNORECASE | re.ASCII)
# float() alone would also take 1_000, nan and inf.
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE | re.ASCII)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What Python and Arrow both can show as a date: years 1 to 9999.
_FIRST_MS = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
_LAST_MS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
# Beyond this a float no longer tells neighbouring whole numbers apart.
_LARGEST_INTEGER = 2**53
_BASE_60 = 60
_LAST_HOUR = 23


def parse_utc_ms(text: str) -> int | None:
    """Return milliseconds since 1970 for an ISO time with ``Z`` or an offset; a time without either says no instant."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return _possible_ms((moment - _EPOCH) // timedelta(milliseconds=1))


def parse_epoch(text: str) -> datetime | None:
    """Return the instant for seconds since 1970."""
    seconds = parse_number(text)
    utc_ms = None if seconds is None else _possible_ms(round(seconds * 1000))
    return None if utc_ms is None else _EPOCH + timedelta(milliseconds=utc_ms)


def _possible_ms(utc_ms: int) -> int | None:
    return utc_ms if _FIRST_MS <= utc_ms <= _LAST_MS else None


def parse_duration_s(text: str) -> float | None:
    """Return seconds for ``ss.fff``, ``m:ss.fff`` (minutes may run past 59) or ``h:mm:ss.fff``."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds = int(match[1] or 0), int(match[2] or 0), float(match[3])
    # What stands behind a colon counts to 59; 1:75.000 is a slip of somebody's pen.
    if (match[2] and seconds >= _BASE_60) or (match[1] and minutes >= _BASE_60):
        return None
    # Rounded to the millisecond the files are written in: 60 + 36.428 is 96.42800000000001 otherwise.
    return round(hours * 3600 + minutes * _BASE_60 + seconds, 3)


def parse_clock(text: str) -> time | None:
    """Return the time of day for ``HH:MM:SS.fff``."""
    match = _CLOCK.fullmatch(text)
    if match is None or int(match[1]) > _LAST_HOUR:
        return None
    return time(int(match[1]), int(match[2]), int(match[3]), int((match[4] or "0").ljust(6, "0")))


def parse_gap_s(text: str) -> float | None:
    """Return seconds for a gap on the same lap: ``+s.fff`` or ``+m:ss.fff``; ``-`` is the leader, 0 s."""
    return 0.0 if text == "-" else parse_duration_s(text.removeprefix("+"))


def parse_gap_laps(text: str) -> int | None:
    """Return laps for a gap of whole laps: ``1 Lap``, ``3 LapCodes``."""
    match = _LAPS_BEHIND.fullmatch(text)
    return None if match is None else int(match[1])


def parse_number(text: str) -> float | None:
    """Return a finite number, written with a decimal point or none."""
    if _NUMBER.fullmatch(text) is None:
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def parse_integer(text: str) -> int | None:
    """Return a whole number; ``3.0`` is one, ``3.5`` is none."""
    number = parse_number(text)
    if number is None or not number.is_integer() or abs(number) > _LARGEST_INTEGER:
        return None
    return int(number)
