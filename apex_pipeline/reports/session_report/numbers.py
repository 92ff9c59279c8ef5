"""Writes the numbers of a report as people read them; what is not known is a dash."""

from math import isfinite

from apex_pipeline.amounts import lap_time
from apex_pipeline.reports.markup import text

UNKNOWN = "\u2013"
_HOUR_S = 3600


def known(value: object) -> str:
    """Return a value as text, or a dash."""
    return UNKNOWN if value is None or value == "" else text(value)


def decimals(value: float | None, digits: int) -> str:
    """Return a number with this many digits after the point, or a dash."""
    return UNKNOWN if value is None or not isfinite(value) else f"{value:,.{digits}f}"


def signed(value: float | None, digits: int) -> str:
    """Return a number with its sign, or a dash."""
    return UNKNOWN if value is None or not isfinite(value) else f"{value:+,.{digits}f}".replace("-", "\u2212")


def lap(seconds: float | None) -> str:
    """Return a lap time like ``1:37.428``, or a dash."""
    return UNKNOWN if seconds is None or not isfinite(seconds) else lap_time(seconds)


def race_time(seconds: float | None) -> str:
    """Return a time like ``45:27.792`` or ``2:45:27.792``, or a dash."""
    if seconds is None or not isfinite(seconds):
        return UNKNOWN
    hours, rest = divmod(round(seconds, 3), _HOUR_S)
    return f"{hours:.0f}:{lap_time(rest).rjust(9, '0')}" if hours else lap_time(rest)


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 lap``, ``2 laps``."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
