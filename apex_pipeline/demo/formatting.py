"""Formats times and durations, which are integer milliseconds everywhere in this package."""

import numpy as np
import numpy.typing as npt

MINUTE_MS = 60_000


def utc_texts(instants_ms: npt.NDArray[np.int64]) -> list[str]:
    """Return times in the format of the cars, ``2025-06-14T18:40:41.776Z``; shape (n,)."""
    return np.datetime_as_string(instants_ms.astype("datetime64[ms]"), timezone="UTC").tolist()


def utc_text(instant_ms: int) -> str:
    """Return one time in the format of the cars."""
    return utc_texts(np.array([instant_ms]))[0]


def minutes(duration_ms: int) -> str:
    """Return ``m:ss.fff``; minutes run past 59."""
    whole, rest = divmod(duration_ms, MINUTE_MS)
    return f"{whole}:{rest // 1000:02}.{rest % 1000:03}"


def seconds(duration_ms: int) -> str:
    """Return seconds without trailing zeros, ``27.17``."""
    return f"{duration_ms / 1000:.3f}".rstrip("0").rstrip(".")


def mixed(duration_ms: int) -> str:
    """Return seconds below one minute and ``m:ss.fff`` from one minute on, as in sector columns."""
    return seconds(duration_ms) if duration_ms < MINUTE_MS else minutes(duration_ms)
