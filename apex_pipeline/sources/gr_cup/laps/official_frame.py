"""Places official crossings on one time line per session, over midnight, changes of the clock and wrong cells.

HOUR is a time of day and ELAPSED the time since the start of the session; each repairs the other. See
``official_clock.py`` for the offset of this time line from UTC.
"""

from collections.abc import Mapping, Sequence

from apex_pipeline.sources.gr_cup.laps.official_check import CellTimes, clock_ms, elapsed_ms

_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_HALF_HOUR_MS = 1_800_000
# A crossing must fit the crossing before or after it and the lap time between them; rounded cells differ by 0.1 s.
_FITS_MS = 250
# If HOUR advances by the lap time in fewer laps than this, the column is of other laps or in another format.
_SHARE_OF_LAPS = 0.5


def place_crossings(
    rows: Sequence[Mapping[str, object]], times: Sequence[CellTimes], start_ms: int | None
) -> list[int | None]:
    """Return when each lap of a car ended, in milliseconds since local midnight of the session's first day.

    Args:
        rows: Rows of one car, sorted by lap number.
        times: The lap times their cells state.
        start_ms: Time of day at which ELAPSED is zero; ``None`` if it is not known.
    """
    laps_ms = [round(time.best_s * 1000) for time in times]
    by_hour = _unwrap([clock_ms(row.get("crossing_local_time")) for row in rows], laps_ms)
    elapsed = [elapsed_ms(row) for row in rows]
    if start_ms is None:
        # Without a common start the two columns contradict each other, or there is only one of them.
        return by_hour if _advances(by_hour, laps_ms) >= _advances(elapsed, laps_ms) else elapsed
    by_elapsed = [None if value is None else start_ms + value for value in elapsed]
    return [_choose(index, by_hour, by_elapsed, laps_ms) for index in range(len(rows))]


def _unwrap(hours_ms: Sequence[int | None], laps_ms: Sequence[int]) -> list[int | None]:
    """Return times of day that go on after midnight and ignore changes of the clock during the session.

    The lap times show how far the clock must have advanced, so a red flag of hours is not taken for a new day.
    """
    placed: list[int | None] = []
    expected: int | None = None
    for hour, lap_ms in zip(hours_ms, laps_ms, strict=True):
        expected = None if expected is None else expected + lap_ms
        if hour is None:
            placed.append(None)
            continue
        value = hour if expected is None else hour + _whole_change_ms(expected - hour)
        placed.append(value)
        expected = value
    return placed


def _whole_change_ms(apart_ms: int) -> int:
    """Return the days by which a time of day is behind, or half hours if the remainder says the clock was changed."""
    halves = round(apart_ms / _HALF_HOUR_MS) * _HALF_HOUR_MS
    days = round(apart_ms / _DAY_MS) * _DAY_MS
    is_change = abs(apart_ms - halves) <= _FITS_MS and abs(halves - days) <= _HOUR_MS
    return halves if is_change else days


def _advances(ends_ms: Sequence[int | None], laps_ms: Sequence[int]) -> float:
    """Return the share of laps in which the crossings advance by the lap time."""
    pairs = zip(ends_ms, ends_ms[1:], laps_ms[1:], strict=False)
    fitting = [
        before is not None and after is not None and abs(after - before - lap_ms) <= _FITS_MS
        for before, after, lap_ms in pairs
    ]
    if len(ends_ms) == 1 and ends_ms[0] is not None:
        return 1.0
    share = sum(fitting) / max(len(fitting), 1)
    return share if share >= _SHARE_OF_LAPS else 0.0


def _choose(
    index: int, by_hour: Sequence[int | None], by_elapsed: Sequence[int | None], laps_ms: Sequence[int]
) -> int | None:
    """Return the crossing of one lap: ELAPSED where HOUR agrees or is missing, else the one its neighbours fit."""
    hour, elapsed = by_hour[index], by_elapsed[index]
    if hour is None or elapsed is None:
        return hour if elapsed is None else elapsed
    if abs((hour - elapsed + _HALF_HOUR_MS // 2) % _HALF_HOUR_MS - _HALF_HOUR_MS // 2) <= _FITS_MS:
        return elapsed
    options = [(_fits(index, value, by, laps_ms), value) for value, by in ((elapsed, by_elapsed), (hour, by_hour))]
    best = max(options, key=lambda item: item[0])
    return best[1] if best[0] else None


def _fits(index: int, value: int, ends_ms: Sequence[int | None], laps_ms: Sequence[int]) -> int:
    """Return with how many neighbouring crossings a crossing agrees."""
    before = ends_ms[index - 1] if index else None
    after = ends_ms[index + 1] if index + 1 < len(ends_ms) else None
    fits_before = before is not None and abs(value - before - laps_ms[index]) <= _FITS_MS
    fits_after = after is not None and abs(after - value - laps_ms[index + 1]) <= _FITS_MS
    return int(fits_before) + int(fits_after)
