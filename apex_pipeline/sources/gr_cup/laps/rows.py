"""Converts laps and identities to rows of the tables ``laps`` and ``cars``."""

from collections.abc import Mapping
from typing import Any

from apex_pipeline.sources.gr_cup.laps.confidence import confidence
from apex_pipeline.sources.gr_cup.laps.identity import Identity
from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap
from apex_pipeline.sources.gr_cup.laps.line import line_lap
from apex_pipeline.sources.gr_cup.parsing import split_vehicle_id
from apex_pipeline.tables.model import Row

# Columns that only official timing provides, with the same names in both tables.
_OFFICIAL_COLUMNS = ("driver_number", "flag_at_finish", "s1_s", "s2_s", "s3_s", "top_speed_kph")


def lap_row(
    track: str,
    session: str,
    lap: Lap,
    identity: Identity,
    shares: Mapping[float, float],
    *,
    is_out_lap: bool | None,
) -> Row:
    """Return the row of a lap.

    Args:
        track: Track slug.
        session: Session name.
        lap: The lap.
        identity: Identity of its car.
        shares: Result of :func:`~apex_pipeline.sources.gr_cup.laps.confidence.measured_shares` for the session.
        is_out_lap: Whether the previous lap ended in the pits; ``None`` if official timing does not have it.
    """
    chassis, _ = split_vehicle_id(lap.vehicle_id)
    official = lap.official
    official_row: Mapping[str, Any] = official.row if official else {}
    file, row = _source(lap)
    line = line_lap(lap)
    return {
        "track": track,
        "session": session,
        "vehicle_id": lap.vehicle_id,
        "chassis": chassis,
        "car_number": identity.number,
        "car_number_method": identity.method,
        "car_number_confidence": identity.confidence,
        "lap_number": lap.number,
        "official_lap_number": official.number if official else None,
        "unit_lap": lap.end.ended_unit_lap if lap.end else None,
        "lap_start_utc": lap.start_ms,
        "lap_end_utc": lap.end_ms,
        "line_start_utc": line.start_ms,
        "line_end_utc": line.end_ms,
        "line_method": line.method,
        "line_residual_s": line.residual_s,
        "from_green": line.from_green,
        "lap_time_s": lap.verdict.time_s if lap.verdict else lap.time_s,
        "lap_time_method": lap.verdict.method if lap.verdict else lap.method,
        "trigger_lap_time_s": lap.trigger_s,
        "unit_lap_time_s": lap.unit_s,
        "telemetry_lap_time_s": lap.telemetry_s,
        "official_lap_time_s": official.printed_s if official else None,
        "delta_to_official_s": _delta_s(lap),
        "confidence": confidence(lap, shares),
        "is_out_lap": is_out_lap,
        "is_in_lap": official_row.get("is_finish_in_pit"),
        "is_valid": lap.is_valid,
        "flags": sorted(lap.flags | ({Flag.LINE_DISAGREES} if line.disagrees else set())),
        "source_file": file,
        "source_row": row,
        **{name: official_row.get(name) for name in _OFFICIAL_COLUMNS},
    }


def _delta_s(lap: Lap) -> float | None:
    """Return own minus official lap time, in seconds; ``None`` for lap 1, which officially starts at the green flag."""
    if lap.official is None or lap.official.number == 1 or lap.time_s is None:
        return None
    return round(lap.time_s - lap.official.printed_s, 3)


def _source(lap: Lap) -> tuple[str, int | None]:
    """Return the source file and line of a lap: those of its end, or else of its official row, telemetry or start."""
    if lap.end is not None:
        return lap.end.evidence.file, lap.end.evidence.line
    if lap.official is not None:
        return str(lap.official.row["source_file"]), int(str(lap.official.row["source_row"]))
    if lap.telemetry_crossing is not None:
        return lap.telemetry_crossing.file, None
    if lap.start is not None:
        return lap.start.evidence.file, lap.start.evidence.line
    raise ValueError("a lap must have a crossing or an official lap")


def car_row(track: str, session: str, identity: Identity, *, has_laps: bool) -> Row:
    """Return the row of a car.

    Args:
        track: Track slug.
        session: Session name.
        identity: Its identity.
        has_laps: Whether it drove at least one lap that counts.
    """
    vehicle_id, official = identity.vehicle_id, identity.official
    chassis, suffix = split_vehicle_id(vehicle_id) if vehicle_id else (None, None)
    return {
        "track": track,
        "session": session,
        "vehicle_id": vehicle_id,
        "chassis": chassis,
        "suffix": suffix,
        "car_number": identity.number,
        "official_number": official.printed if official else None,
        "official_entry": official.entry if official else None,
        "method": identity.method,
        "confidence": identity.confidence,
        "has_started": has_laps,
        "crossings": identity.crossings,
        "official_crossings": identity.compared,
        "agreeing_crossings": identity.agreeing,
        "median_residual_s": identity.median_late_s,
        "runner_up": identity.runner_up,
        "runner_up_agreeing": identity.runner_up_agreeing,
        "candidates": list(identity.candidates),
        "evidence": identity.evidence,
    }
