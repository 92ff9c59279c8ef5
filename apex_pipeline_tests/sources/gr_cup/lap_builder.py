"""Builds triggers for tests: a car's crossings at given seconds, as recorded in the three lap files."""

from collections.abc import Iterable, Sequence

from apex_pipeline.sources.base import FileIdentity, FileStatus
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger

_START_MS = 1_757_184_000_000  # 2025-09-06 18:40 UTC, chosen arbitrarily


def identity(kind: FileKind, session: str = "R1", version: str | None = None) -> FileIdentity:
    """Return the identity of a ready file of this kind."""
    return FileIdentity(
        path=f"spa/{session}_spa_{kind}.csv",
        size=1,
        kind=kind,
        track="spa",
        track_name="Spa",
        session=session,
        season=None,
        event_code=None,
        version=version,
        rule="test",
        evidence=(),
        confidence=1.0,
        status=FileStatus.READY,
        reason=None,
    )


def trigger(car: str, second: float, kind: FileKind, lap: int | None, value_s: float | None = None) -> Trigger:
    """Return one trigger of a car, ``second`` seconds after the start."""
    utc_ms = _START_MS + round(second * 1000)
    return Trigger(
        vehicle_id=car,
        trigger_utc_ms=utc_ms,
        kind=kind,
        unit_lap=lap,
        received_utc_ms=utc_ms + 1_200,
        unit_value_ms=None if value_s is None else round(value_s * 1000),
        file=f"spa/R1_spa_{kind}.csv",
        line=2 + (lap or 0),
    )


def crossings_of(car: str, seconds: Sequence[float], *, with_unit_time: bool = False) -> list[Trigger]:
    """Return a lap_end and a lap_start for every crossing, and the device's own lap time if requested."""
    triggers: list[Trigger] = []
    for lap, second in enumerate(seconds):
        triggers.append(trigger(car, second, FileKind.LAP_END, lap))
        triggers.append(trigger(car, second, FileKind.LAP_START, lap + 1))
        if with_unit_time and lap:
            triggers.append(trigger(car, second, FileKind.LAP_TIME, lap, second - seconds[lap - 1]))
    return triggers


def at_pace(lap_times: Iterable[float]) -> list[float]:
    """Return the crossing times, in seconds, that result in these lap times."""
    seconds = [0.0]
    for lap_time in lap_times:
        seconds.append(seconds[-1] + lap_time)
    return seconds
