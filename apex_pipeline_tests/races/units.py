"""Lets the cars' units report a race: triggers with the faults of its kind; see ``drive.py`` for the laps driven."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.crossings import TelemetryCrossing
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger
from apex_pipeline_tests.races.drive import Driven, Driving, TrueLap
from apex_pipeline_tests.races.plan import Kind, Watch

# A trigger is stamped 0 to 50 ms late, one in twenty up to 0.4 s; received 0.1 s later at least, 1.4 s in the median.
_STAMP_S, _TAIL_SHARE, _TAIL_S = 0.02, 0.05, 0.4
_RECEIVED_S = (0.1, 1.3)
# A late stamp: at least 4 % of the lap and a second (a driver's lap times scatter by 0.3 %), at most what a hole in
# the radio lasted (35 s in one real race).
_LATE_SHARE, _LATE_S, _MOST_LATE_SHARE = 0.04, (1.0, 35.0), 0.6
# The first crossing of all must be so late that the lap after it is faster than any lap.
_LATE_START_SHARE = 0.14
# Slower than this, times the fastest car's lap: a mistake, a stop or a slow field. The slowest car needs 1.04 times.
_AT_PACE = 1.055
_FIVE_MINUTES_MS = 300_000


@dataclass
class Passing:
    """A crossing of the line by a unit.

    Attributes:
        unit: The unit.
        index: 0, 1 … within the unit's session.
        true_ms: When it happened.
        stamp_ms: When the unit says it happened.
        counter: The unit's counter of the lap that ends; ``None`` if it lost count.
        is_bounced: Whether it is reported three times.
        is_sent: Whether any file has it.
        before: The lap that ends here, ``None`` for the first crossing.
        after: The lap that begins here, ``None`` for the last crossing.
    """

    unit: str
    index: int
    true_ms: float
    stamp_ms: float
    counter: int | None
    is_bounced: bool = False
    is_sent: bool = True
    before: TrueLap | None = None
    after: TrueLap | None = None


@dataclass(frozen=True)
class Report:
    """What the units sent.

    Attributes:
        triggers: The triggers, in an arbitrary order.
        extra: Of these, repeated and bounced ones.
        crossings: Crossings with at least one trigger.
        telemetry: Crossings seen in telemetry; empty where there is none.
        late: True laps that begin or end with a late stamp, as (unit, true end).
    """

    triggers: list[Trigger]
    extra: int
    crossings: int
    telemetry: list[TelemetryCrossing] = field(default_factory=list[TelemetryCrossing])
    late: frozenset[tuple[str, float]] = frozenset()


def report(driven: Driven) -> Report:
    """Return what the units sent; the same race gives the same triggers."""
    plan = driven.plan
    rng = np.random.default_rng([plan.seed, 4])
    by_unit: dict[str, list[TrueLap]] = {}
    for lap in driven.laps:
        by_unit.setdefault(lap.unit, []).append(lap)
    passings = {unit: _passings(unit, laps, rng) for unit, laps in by_unit.items()}
    fault = _FAULTS.get(plan.kind)
    if fault is not None:
        fault(driven, passings, rng)
    triggers = [trigger for of_unit in passings.values() for trigger in _triggers(of_unit, plan.watch, rng)]
    sent = sum(passing.is_sent for of_unit in passings.values() for passing in of_unit)
    extra = sum(_EXTRA_ROWS for of in passings.values() for item in of if item.is_bounced and item.is_sent)
    if plan.kind is Kind.DUPLICATES:
        again = rng.choice(len(triggers), max(1, len(triggers) // 12), replace=False)
        triggers += [replace(triggers[place], line=100_000 + place) for place in again.tolist()]
        extra += len(again)
    order = rng.permutation(len(triggers)).tolist()
    telemetry = _telemetry(passings, rng) if plan.kind is Kind.CLOCK_STOP else []
    late = frozenset(
        (item.unit, item.true_ms) for of in passings.values() for item in of if item.stamp_ms - item.true_ms > 1000
    )
    return Report([triggers[place] for place in order], extra, sent, telemetry, late)


def _passings(unit: str, laps: list[TrueLap], rng: np.random.Generator) -> list[Passing]:
    true_ms = [laps[0].begin_ms, *(lap.end_ms for lap in laps)]
    late_s = np.abs(rng.normal(0, _STAMP_S, len(true_ms)))
    late_s += (rng.random(len(true_ms)) < _TAIL_SHARE) * rng.uniform(0, _TAIL_S, len(true_ms))
    first = int(rng.integers(0, 3))
    return [
        Passing(unit, index, at_ms, at_ms + 1000 * late, first + index, before=before, after=after)
        for index, (at_ms, late, before, after) in enumerate(
            zip(true_ms, late_s.tolist(), [None, *laps], [*laps, None], strict=True)
        )
    ]


_ByUnit = dict[str, list[Passing]]


def _lateness_s(lap_s: float, share: float, rng: np.random.Generator) -> float:
    return min(share * lap_s + float(rng.uniform(*_LATE_S)), _MOST_LATE_SHARE * lap_s)


def _inner(passings: _ByUnit) -> list[Passing]:
    """Return the crossings that lie between two laps."""
    return [item for of_unit in passings.values() for item in of_unit[1:-1]]


def _is_at_pace(lap: TrueLap | None, lap_s: float) -> bool:
    return lap is not None and lap.driving is Driving.RACING and lap.time_s < _AT_PACE * lap_s


def _between_laps_at_pace(passings: Iterable[Passing], lap_s: float) -> list[Passing]:
    """Return the crossings where a late stamp can be told from a mistake: both laps were driven at pace."""
    return [item for item in passings if _is_at_pace(item.before, lap_s) and _is_at_pace(item.after, lap_s)]


def _late_single(driven: Driven, passings: _ByUnit, rng: np.random.Generator) -> None:
    lap_s = driven.plan.lap_s
    usable = _between_laps_at_pace(_inner(passings), lap_s)
    if usable:
        usable[int(rng.integers(len(usable)))].stamp_ms += 1000 * _lateness_s(lap_s, _LATE_SHARE, rng)


def _late_many(driven: Driven, passings: _ByUnit, rng: np.random.Generator) -> None:
    """Delay several crossings: scattered over the field, or consecutive ones of one car by the same time."""
    lap_s = driven.plan.lap_s
    usable = _between_laps_at_pace(_inner(passings), lap_s)
    if not usable:
        return
    if rng.random() < 0.5:
        begin = int(rng.integers(len(usable)))
        length = int(rng.integers(2, 4))
        chosen = [item for item in usable[begin : begin + length] if item.unit == usable[begin].unit]
        late_s = [_lateness_s(lap_s, _LATE_SHARE, rng)] * len(chosen)
    else:
        count = min(len(usable), max(2, min(6, len(usable) // 8)))
        # Not two in a row: late by nearly the same time, the lap between them cannot be told from a right one.
        places = sorted(rng.choice(len(usable), count, replace=False).tolist())
        chosen = [usable[place] for before, place in pairwise([-9, *places]) if place - before > 1]
        late_s = [_lateness_s(lap_s, _LATE_SHARE, rng) for _ in chosen]
    for passing, seconds in zip(chosen, late_s, strict=True):
        passing.stamp_ms += 1000 * seconds


def _late_first(driven: Driven, passings: _ByUnit, rng: np.random.Generator) -> None:
    """Delay the crossing that begins or ends the first lap of some cars."""
    lap_s = driven.plan.lap_s
    units = list(passings)
    for place in rng.choice(len(units), max(1, len(units) // 6), replace=False).tolist():
        of_unit = passings[units[place]]
        starts = [item for item in of_unit if item.after is not None and item.after.number == 1]
        ends = [item for item in of_unit if item.before is not None and item.before.number == 1]
        if driven.plan.is_race and rng.random() < 0.5 and starts:
            starts[0].stamp_ms += 1000 * _lateness_s(lap_s, _LATE_START_SHARE, rng)
        elif ends and _is_at_pace(ends[0].after, lap_s):
            ends[0].stamp_ms += 1000 * _lateness_s(lap_s, _LATE_SHARE, rng)


def _bounce(driven: Driven, passings: _ByUnit, rng: np.random.Generator) -> None:
    del driven
    for passing in _inner(passings):
        passing.is_bounced = bool(rng.random() < 0.12)


def _lose_counters(driven: Driven, passings: _ByUnit, rng: np.random.Generator) -> None:
    """Lose count for a while, or begin again at 0: the unit was switched off."""
    del driven
    for of_unit in passings.values():
        begin = int(rng.integers(len(of_unit)))
        end = begin + int(rng.integers(1, 8))
        for passing in of_unit[begin:end]:
            passing.counter = None
        if rng.random() < 0.3:
            for index, passing in enumerate(of_unit[end:]):
                passing.counter = index


def _miss(driven: Driven, passings: _ByUnit, rng: np.random.Generator) -> None:
    del driven
    for passing in _inner(passings):
        passing.is_sent = bool(rng.random() >= 0.06)


def _truncate(driven: Driven, passings: _ByUnit, rng: np.random.Generator) -> None:
    """Cut the export on five-minute marks, at its end and sometimes at its beginning."""
    begin_ms = min(of_unit[0].true_ms for of_unit in passings.values())
    length_ms = driven.flag_ms - begin_ms
    end_ms = (begin_ms + rng.uniform(0.4, 0.9) * length_ms) // _FIVE_MINUTES_MS * _FIVE_MINUTES_MS
    from_ms = begin_ms + rng.uniform(0.0, 0.3) * length_ms if rng.random() < 0.3 else begin_ms
    for passing in (item for of_unit in passings.values() for item in of_unit):
        passing.is_sent = from_ms <= passing.stamp_ms <= max(end_ms, begin_ms + 0.3 * length_ms)


_FAULTS: dict[Kind, Callable[[Driven, _ByUnit, np.random.Generator], None]] = {
    Kind.LATE_SINGLE: _late_single,
    Kind.LATE_MANY: _late_many,
    Kind.LATE_FIRST: _late_first,
    Kind.BOUNCES: _bounce,
    Kind.LOST_COUNTER: _lose_counters,
    Kind.MISSING: _miss,
    Kind.TRUNCATED: _truncate,
}
# A bounce adds two rows to each of three files.
_EXTRA_ROWS = 6
_BOUNCE_MS = (0, 1, 31)
_SAMPLE_MS = 43


def _triggers(passings: list[Passing], watch: Watch, rng: np.random.Generator) -> list[Trigger]:
    triggers: list[Trigger] = []
    delays_s = _RECEIVED_S[0] + rng.exponential(_RECEIVED_S[1] / np.log(2), len(passings))
    restarted_ms = 0
    for passing, delay_s in zip(passings, delays_s.tolist(), strict=True):
        before = passings[passing.index - 1] if passing.index else None
        value_ms = None if before is None else _value_ms(before, passing, watch, restarted_ms)
        restarted_ms = _SAMPLE_MS if passing.is_bounced else 0
        if passing.is_sent:
            triggers += _rows(passing, delay_s, value_ms)
    return triggers


def _value_ms(before: Passing, passing: Passing, watch: Watch, restarted_ms: int) -> int | None:
    """Return what the unit's lap timer says; a bounce restarted it."""
    if watch is Watch.NONE:
        return None
    if watch is Watch.INDEPENDENT:
        return round(passing.true_ms - before.true_ms) - restarted_ms
    return round(passing.stamp_ms - before.stamp_ms) - restarted_ms


def _rows(passing: Passing, delay_s: float, value_ms: int | None) -> list[Trigger]:
    """Return the rows of one crossing in all three files: one each, or three if it bounced."""
    rows: list[Trigger] = []
    steps = _BOUNCE_MS if passing.is_bounced else (0,)
    for kind in (FileKind.LAP_START, FileKind.LAP_END, FileKind.LAP_TIME):
        for step, after_ms in enumerate(steps):
            counter = passing.counter
            if counter is not None:
                counter += (kind is FileKind.LAP_START) + (step == 1)
            value = (value_ms, 0, _SAMPLE_MS)[step] if value_ms is not None else None
            at_ms = round(passing.stamp_ms) + after_ms
            rows.append(
                Trigger(
                    vehicle_id=passing.unit,
                    trigger_utc_ms=at_ms,
                    kind=kind,
                    unit_lap=counter,
                    received_utc_ms=at_ms + round(1000 * delay_s),
                    unit_value_ms=value if kind is FileKind.LAP_TIME else None,
                    file=f"spa/spa_{kind}_R1.csv",
                    line=2 + 3 * passing.index + step,
                )
            )
    return rows


def _telemetry(passings: _ByUnit, rng: np.random.Generator) -> list[TelemetryCrossing]:
    """Return the crossings seen in telemetry: the car's clock is days behind and stands still once for minutes."""
    crossings: list[TelemetryCrossing] = []
    for unit, of_unit in passings.items():
        behind_ms = float(rng.uniform(20, 70)) * 3_600_000
        stop = int(rng.integers(1, max(2, len(of_unit))))
        lost_ms = float(rng.uniform(120, 1_200)) * 1000
        for item in of_unit:
            car_ms = item.true_ms - behind_ms - (lost_ms if item.index >= stop else 0.0)
            at_ms = round(item.true_ms + rng.uniform(-50, 50))
            crossings.append(TelemetryCrossing(unit, at_ms, car_ms, "distance", "spa/spa_telemetry_R1.csv"))
    return crossings
