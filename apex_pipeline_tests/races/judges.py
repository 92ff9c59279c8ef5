"""Judges derived laps by the laps truly driven. Every function returns what is wrong, one sentence each.

Only ``laps`` and the report of a derivation are looked at, never how they came about.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from apex_pipeline.sources.gr_cup.laps.derivation import SessionLaps
from apex_pipeline.tables.model import Row
from apex_pipeline_tests.races.drive import Driven, Driving, TrueLap
from apex_pipeline_tests.races.units import Report

# A lap that differs by more than this from the one driven was never driven.
_INVENTED_S = 5.0
# Twice what two stamps can be late together without a fault of the unit.
_RIGHT_S = 0.5
# These say how a lap was recorded, not that its time is doubtful.
_NO_DOUBT = frozenset({"bounced_trigger", "unit_lap_lost"})


@dataclass(frozen=True)
class Verdict:
    """What is wrong with the laps derived from one race.

    Attributes:
        invented: Valid laps nobody drove.
        false_best: Units whose best valid lap is faster than any they drove.
        unflagged: Laps with a wrong time and no flag to say so.
        wrong_car: Valid laps published, by official crossings, under the number of another car.
        lost: Triggers that are not accounted for.
        racing: Laps driven under racing conditions.
        kept: Of these, published as valid with the right time.
    """

    invented: tuple[str, ...]
    false_best: tuple[str, ...]
    unflagged: tuple[str, ...]
    wrong_car: tuple[str, ...]
    lost: tuple[str, ...]
    racing: int
    kept: int

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.invented or self.false_best or self.unflagged or self.wrong_car or self.lost)


def judge(driven: Driven, sent: Report, derived: SessionLaps) -> Verdict:
    """Judge the laps derived from a race."""
    laps: list[Row] = derived.laps.to_pylist()
    truth = true_laps(driven)
    racing = [lap for lap in driven.laps if lap.driving is Driving.RACING]
    return Verdict(
        tuple(invented_laps(laps, truth, has_official=driven.plan.has_official)),
        tuple(false_best_laps(laps, truth)),
        tuple(unflagged_laps(laps, truth)),
        tuple(wrong_cars(laps, truth)),
        tuple(lost_triggers(derived, sent)),
        racing=len(racing),
        kept=sum(_is_kept(lap, _driven_lap(lap, truth)) for lap in laps),
    )


def true_laps(driven: Driven) -> dict[str, list[TrueLap]]:
    """Return the laps driven by unit."""
    by_unit: defaultdict[str, list[TrueLap]] = defaultdict(list)
    for lap in driven.laps:
        by_unit[lap.unit].append(lap)
    return by_unit


def invented_laps(laps: Iterable[Row], truth: Mapping[str, Sequence[TrueLap]], *, has_official: bool) -> list[str]:
    """Name valid laps that were not driven, not raced, or differ by more than 5 s from the one driven.

    A lap with a long stop counts where official timing lists it, but not without official timing.
    """
    wrong: list[str] = []
    for lap in (lap for lap in laps if lap["is_valid"]):
        driven = _driven_lap(lap, truth)
        if driven is None:
            wrong.append(f"{_name(lap)}: no lap was driven then")
        elif error_s(lap, driven) > _INVENTED_S:
            wrong.append(f"{_name(lap)}: {driven.time_s:.3f} s were driven")
        elif driven.driving is Driving.ROLLING or (driven.driving is Driving.STOPPED and not has_official):
            wrong.append(f"{_name(lap)}: the car was {driven.driving}")
    return wrong


def false_best_laps(laps: Iterable[Row], truth: Mapping[str, Sequence[TrueLap]]) -> list[str]:
    """Name the units whose best valid lap is more than 0.5 s faster than the best lap they drove."""
    best: dict[str, Row] = {}
    for lap in (lap for lap in laps if lap["is_valid"] and lap["lap_time_s"] is not None):
        unit = lap["vehicle_id"]
        if unit not in best or lap["lap_time_s"] < best[unit]["lap_time_s"]:
            best[unit] = lap
    wrong: list[str] = []
    for unit, lap in best.items():
        true_s = min((min(item.time_s, item.official_s) for item in truth.get(unit, ()) if _is_raced(item)), default=0)
        if lap["lap_time_s"] < true_s - _RIGHT_S:
            wrong.append(f"{_name(lap)}: its best is {true_s:.3f} s")
    return wrong


def unflagged_laps(laps: Iterable[Row], truth: Mapping[str, Sequence[TrueLap]]) -> list[str]:
    """Name laps that are off by more than 0.5 s, or that nobody drove, and carry no flag to say so."""
    return [
        f"{_name(lap)}: off by {error_s(lap, _driven_lap(lap, truth)):.3f} s, no flag"
        for lap in laps
        if lap["lap_time_s"] is not None
        and _NO_DOUBT.issuperset(lap["flags"])
        and error_s(lap, _driven_lap(lap, truth)) > _RIGHT_S
    ]


def wrong_cars(laps: Iterable[Row], truth: Mapping[str, Sequence[TrueLap]]) -> list[str]:
    """Name valid laps whose number, found by official crossings, is not that of the car that drove them."""
    wrong: list[str] = []
    for lap in laps:
        driven = _driven_lap(lap, truth)
        if not lap["is_valid"] or driven is None or lap["car_number_method"] != "official_crossings":
            continue
        if driven.car and lap["car_number"] != driven.car:
            wrong.append(f"{_name(lap)}: published as car {lap['car_number']}, driven by car {driven.car}")
    return wrong


def contradicted_laps(laps: Iterable[Row], truth: Mapping[str, Sequence[TrueLap]]) -> list[str]:
    """Name valid laps whose time differs by more than 0.5 s from the lap driven, as its two crossings have it.

    For races whose units report every crossing in time and time every lap: both contradict such a lap.
    """
    return [
        f"{_name(lap)}: off by {error_s(lap, _driven_lap(lap, truth)):.3f} s"
        for lap in laps
        if lap["is_valid"] and error_s(lap, _driven_lap(lap, truth)) > _RIGHT_S
    ]


def lost_triggers(derived: SessionLaps, sent: Report) -> list[str]:
    """Say where triggers are unaccounted for: each is used, repeated or bounced."""
    counts = derived.report
    pairs = (
        ("triggers", counts.triggers, len(sent.triggers)),
        ("repeated and bounced triggers", counts.repeated_triggers + counts.bounced_triggers, sent.extra),
        ("crossings", counts.crossings, sent.crossings),
    )
    return [f"{name}: {found} of {expected}" for name, found, expected in pairs if found != expected]


def error_s(lap: Row, driven: TrueLap | None) -> float:
    """Return how far a lap's time is off, in seconds; the first lap may count from the green flag."""
    if driven is None or lap["lap_time_s"] is None:
        return float("inf")
    return min(abs(lap["lap_time_s"] - driven.time_s), abs(lap["lap_time_s"] - driven.official_s))


def _driven_lap(lap: Row, truth: Mapping[str, Sequence[TrueLap]]) -> TrueLap | None:
    """Return the lap of the same unit that overlaps it most, by more than half of it."""
    begin_ms, end_ms = _ms(lap["lap_start_utc"]), _ms(lap["lap_end_utc"])
    if begin_ms is None and end_ms is None:
        return None
    length_ms = 1000 * (lap["lap_time_s"] or 0.0)
    begin_ms = end_ms - length_ms if begin_ms is None and end_ms is not None else begin_ms
    end_ms = begin_ms + length_ms if end_ms is None and begin_ms is not None else end_ms
    if begin_ms is None or end_ms is None:
        return None
    shared = [
        (min(item.end_ms, end_ms) - max(_first_begin_ms(item), begin_ms), place)
        for place, item in enumerate(truth.get(lap["vehicle_id"], ()))
    ]
    most_ms, place = max(shared, default=(0.0, -1))
    return truth[lap["vehicle_id"]][place] if most_ms > 0 and 2 * most_ms >= end_ms - begin_ms else None


def _first_begin_ms(lap: TrueLap) -> float:
    """Return when a lap begins; the first lap may count from the green flag, long before the car drove out."""
    return min(lap.begin_ms, lap.end_ms - 1000 * lap.official_s) if lap.number == 1 else lap.begin_ms


def _is_kept(lap: Row, driven: TrueLap | None) -> bool:
    is_racing = driven is not None and driven.driving is Driving.RACING
    return bool(lap["is_valid"] and is_racing and error_s(lap, driven) <= _RIGHT_S)


def _is_raced(lap: TrueLap) -> bool:
    return lap.driving is not Driving.ROLLING


def _ms(moment: datetime | None) -> float | None:
    return None if moment is None else 1000 * moment.timestamp()


def _name(lap: Row) -> str:
    time_s = lap["lap_time_s"]
    return f"{lap['vehicle_id']} lap {lap['lap_number']} ({'no time' if time_s is None else f'{time_s:.3f} s'})"
