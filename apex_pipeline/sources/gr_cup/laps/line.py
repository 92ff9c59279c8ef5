"""Compares each lap's two crossings of the line with its lap time.

A lap's window in telemetry runs from one crossing to the next as the car itself saw them, which is not always its lap
time: official lap 1 runs from the green flag, and the official clock may jump. See ``rows.py`` for the columns.
"""

from dataclasses import dataclass

from apex_pipeline.sources.gr_cup.laps.crossings import Crossing
from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap

# In nine real races the two agree within 0.18 s in 90 % of the laps outside COTA; half a second is 20 m of track, and
# the limit at which two witnesses of a lap time contradict each other elsewhere.
_AGREES_S = 0.5
_LATE = frozenset({Flag.LATE_TRIGGER, Flag.LATE_TRIGGER_PAIR})


@dataclass(frozen=True)
class LineLap:
    """A lap from line to line.

    Attributes:
        start_ms: Crossing that starts it, milliseconds since 1970; ``None`` if either crossing is unknown.
        end_ms: Crossing that ends it.
        method: Where the two come from.
        residual_s: Time between them minus the lap time.
        from_green: The lap time runs from the green flag, not from the line.
    """

    start_ms: int | None
    end_ms: int | None
    method: str | None
    residual_s: float | None
    from_green: bool

    @property
    def disagrees(self) -> bool:
        """Whether the time from line to line contradicts the lap time."""
        return not self.from_green and self.residual_s is not None and abs(self.residual_s) > _AGREES_S


def line_lap(lap: Lap) -> LineLap:
    """Return a lap from line to line."""
    from_green = lap.official is not None and lap.official.number == 1
    start_ms, end_ms, method = _window(lap)
    if start_ms is None or end_ms is None:
        return LineLap(None, None, None, None, from_green)
    published_s = lap.verdict.time_s if lap.verdict is not None else lap.time_s
    lap_time_s = lap.official.time_s if lap.official is not None and lap.verdict is None else published_s
    residual_s = None if lap_time_s is None else round((end_ms - start_ms) / 1000 - lap_time_s, 3)
    return LineLap(start_ms, end_ms, method, residual_s, from_green)


def _window(lap: Lap) -> tuple[int | None, int | None, str]:
    """Return start and end of the lap, by the car's own stamps unless one of them is late, and their method."""
    if lap.start is not None and lap.end is not None and _LATE.isdisjoint(lap.flags):
        return lap.start.utc_ms, lap.end.utc_ms, "trigger"
    return lap.start_ms, lap.end_ms, _method(lap)


def _method(lap: Lap) -> str:
    own = [_is_own(lap.start, lap.start_ms), _is_own(lap.end, lap.end_ms)]
    if all(own):
        return "trigger"
    if lap.telemetry_crossing is not None:
        return "telemetry"
    if lap.official is None:
        return "repaired"
    return "trigger_and_official" if any(own) else "official"


def _is_own(crossing: Crossing | None, at_ms: int | None) -> bool:
    return crossing is not None and crossing.utc_ms == at_ms
