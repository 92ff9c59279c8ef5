"""Compares a session's blind laps with official timing; see ``derive.py`` for deriving the laps."""

from collections import Counter, defaultdict
from collections.abc import Iterable

import pyarrow as pa

from apex_pipeline.sources.accuracy import AccuracyReport
from apex_pipeline.tables.model import Row

# Two laps are the same if they overlap by more than this share of their combined span: a double lap shares half with
# each of the two laps it merges, a lap whose crossing is stamped 35 s late shares 64 %.
_SAME_LAP_SHARE = 0.6
# A lap that ends together with an official lap counts as confirmed even if it started elsewhere (a stop between two
# lines). A lap faster than every official lap never does: it is only part of a lap, and would be a false best.
_SAME_END_S = 20.0
# Tolerances in seconds: a trigger is accurate to 0.05 s, a lap time between two triggers to 0.1 s.
_CLOSE_S, _NEAR_S, _FAIR_S = 0.05, 0.1, 0.5
_NOT_RACED = frozenset({"formation_lap", "post_race_lap"})
_JUMP = "field_wide_jump"
_UNDECIDED = "undecided_car"


def measure_accuracy(blind: pa.Table, derived: pa.Table, cars: pa.Table, official_laps: pa.Table) -> AccuracyReport:
    """Compare the laps of a session with its official timing.

    Args:
        blind: Table ``laps`` derived without official timing.
        derived: Table ``laps`` derived with official timing.
        cars: Table ``cars`` derived with official timing.
        official_laps: Table ``official_laps``.
    """
    blind_laps, listed = blind.to_pylist(), derived.to_pylist()
    raced = [lap for lap in listed if lap["official_lap_number"] is not None]
    best_official_s = min((lap["official_lap_time_s"] for lap in raced), default=None)
    undecided = {lap["vehicle_id"] for lap in listed if _UNDECIDED in lap["flags"]}
    pairs, unsupported = _match(blind_laps, raced)
    invented = [
        lap
        for lap in unsupported
        if _counts_as_raced(lap, undecided) and not _ends_like_an_official_lap(lap, raced, best_official_s)
    ]
    compared = [(lap, official) for lap, official in pairs if _is_comparable(official)]
    # Rounded to milliseconds, the resolution of the clocks: in binary floating point, 97.1 - 97.0 exceeds 0.1.
    errors_s = [round(abs(lap["lap_time_s"] - official["official_lap_time_s"]), 3) for lap, official in compared]
    jumps_s = [error_s for error_s, (_, official) in zip(errors_s, compared, strict=True) if _JUMP in official["flags"]]
    known = _of_known_cars(cars.to_pylist(), official_laps.to_pylist())
    missing = missing_official_laps(listed, cars.to_pylist(), official_laps.to_pylist())
    return AccuracyReport(
        official=official_laps.num_rows,
        of_known_cars=len(known),
        listed=len(known) - len(missing),
        comparable=sum(_is_comparable(lap) for lap in raced),
        matched=len(compared),
        within_50ms=sum(error_s <= _CLOSE_S for error_s in errors_s),
        within_100ms=sum(error_s <= _NEAR_S for error_s in errors_s),
        within_500ms=sum(error_s <= _FAIR_S for error_s in errors_s),
        off_by_1s=sum(error_s > 1 for error_s in errors_s),
        jumping=len(jumps_s),
        jumping_within_500ms=sum(error_s <= _FAIR_S for error_s in jumps_s),
        invented=tuple(f"{lap['vehicle_id']} lap {lap['lap_number']} ({lap['lap_time_s']:.3f} s)" for lap in invented),
        best_official_s=best_official_s,
        best_hidden_s=_best_s(blind_laps),
        best_listed_s=_best_s(listed),
    )


def comparable_pairs(blind: pa.Table, derived: pa.Table) -> list[tuple[Row, Row]]:
    """Return each blind lap whose time can be compared, with the same lap as derived with official timing.

    Args:
        blind: Table ``laps`` derived without official timing.
        derived: Table ``laps`` derived with official timing.
    """
    raced = [lap for lap in derived.to_pylist() if lap["official_lap_number"] is not None]
    return [(lap, official) for lap, official in _match(blind.to_pylist(), raced)[0] if _is_comparable(official)]


def missing_official_laps(laps: Iterable[Row], cars: Iterable[Row], official_laps: Iterable[Row]) -> list[str]:
    """Describe each official lap that is missing or duplicated in ``laps``, for cars with a known device.

    Args:
        laps: Rows of ``laps``.
        cars: Rows of ``cars``.
        official_laps: Rows of ``official_laps``.
    """
    found = Counter((lap["vehicle_id"], lap["official_lap_number"], lap["lap_time_s"]) for lap in laps)
    missing: list[str] = []
    for vehicle_id, lap in _of_known_cars(cars, official_laps):
        times = found[vehicle_id, lap["lap_number"], lap["lap_time_s"]]
        if times != 1:
            missing.append(f"lap {lap['lap_number']} of car {lap['car_number']} ({vehicle_id}): {times} times")
    return missing


def _of_known_cars(cars: Iterable[Row], official_laps: Iterable[Row]) -> list[tuple[str, Row]]:
    """Return the official laps of cars with a known device, each with the vehicle id."""
    vehicle_ids = {
        (car["official_number"], car["official_entry"]): car["vehicle_id"]
        for car in cars
        if car["vehicle_id"] is not None and car["official_number"] is not None
    }
    keyed = ((vehicle_ids.get((lap["car_number"], lap["entry"])), lap) for lap in official_laps)
    return [(vehicle_id, lap) for vehicle_id, lap in keyed if vehicle_id is not None]


def _is_comparable(lap: Row) -> bool:
    return lap["official_lap_number"] > 1 and lap["trigger_lap_time_s"] is not None


def _best_s(laps: Iterable[Row]) -> float | None:
    return min((lap["lap_time_s"] for lap in laps if lap["is_valid"] and lap["lap_time_s"] is not None), default=None)


def _match(blind_laps: list[Row], raced: list[Row]) -> tuple[list[tuple[Row, Row]], list[Row]]:
    """Match blind laps with official laps; return the pairs, and the unmatched blind laps."""
    of_car: defaultdict[str, list[Row]] = defaultdict(list)
    for lap in raced:
        of_car[lap["vehicle_id"]].append(lap)
    pairs: list[tuple[Row, Row]] = []
    unmatched: list[Row] = []
    for lap in blind_laps:
        same = [official for official in of_car[lap["vehicle_id"]] if _overlap(lap, official) > _SAME_LAP_SHARE]
        if same:
            pairs.append((lap, max(same, key=lambda official: _overlap(lap, official))))
        else:
            unmatched.append(lap)
    return pairs, unmatched


def _ends_like_an_official_lap(lap: Row, raced: Iterable[Row], best_official_s: float | None) -> bool:
    """Return whether a lap ends with an official lap of its car and is not faster than the best official lap."""
    if best_official_s is None or lap["lap_time_s"] < best_official_s:
        return False
    of_car = (official for official in raced if official["vehicle_id"] == lap["vehicle_id"])
    return any(_end_distance_s(lap, official) <= _SAME_END_S for official in of_car)


def _counts_as_raced(lap: Row, undecided: set[str]) -> bool:
    return lap["is_valid"] and lap["vehicle_id"] not in undecided and _NOT_RACED.isdisjoint(lap["flags"])


def _overlap(one: Row, other: Row) -> float:
    """Return the overlap of two laps as a share of their combined span."""
    ends = (one["lap_start_utc"], one["lap_end_utc"], other["lap_start_utc"], other["lap_end_utc"])
    if None in ends:
        return 0.0
    shared = min(ends[1], ends[3]) - max(ends[0], ends[2])
    return shared / (max(ends[1], ends[3]) - min(ends[0], ends[2]))


def _end_distance_s(one: Row, other: Row) -> float:
    if one["lap_end_utc"] is None or other["lap_end_utc"] is None:
        return float("inf")
    return abs((one["lap_end_utc"] - other["lap_end_utc"]).total_seconds())
