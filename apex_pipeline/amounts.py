"""Writes amounts as people read them: sizes with their unit, lap times in minutes and seconds."""

_UNITS = ("B", "kB", "MB", "GB", "TB")
_STEP = 1000
_MINUTE_S = 60


def size(number: int) -> str:
    """Return a number of bytes in a suitable unit, such as ``5.0 MB``."""
    amount, unit = float(number), 0
    while amount >= _STEP and unit < len(_UNITS) - 1:
        amount, unit = amount / _STEP, unit + 1
    return f"{number} B" if unit == 0 else f"{amount:,.1f} {_UNITS[unit]}"


def lap_time(seconds: float) -> str:
    """Return a lap time as official timing prints it: ``1:37.428``."""
    minutes, rest = divmod(round(seconds, 3), _MINUTE_S)
    return f"{minutes:.0f}:{rest:06.3f}"
