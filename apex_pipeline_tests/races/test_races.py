"""Races with known truth: no lap is invented, no best lap is too fast, no wrong time is unflagged, no trigger is lost.

Two races of each kind run always, 500 by ``make races``. What is known to be wrong is listed in ``not_yet_right.py``.
"""

from pathlib import Path

import pytest

from apex_pipeline.sources.gr_cup.laps.triggers import Trigger
from apex_pipeline_tests.races.drive import drive
from apex_pipeline_tests.races.judges import judge
from apex_pipeline_tests.races.not_yet_right import RACES, race_keys
from apex_pipeline_tests.races.plan import KINDS, Kind, RacePlan, Shape, Watch, make_plan, plan_of
from apex_pipeline_tests.races.race_files import SESSION, TRACK, write_race
from apex_pipeline_tests.races.units import report
from apex_pipeline_tests.races.verdicts import verdict_of
from apex_pipeline_tests.sources.gr_cup.real_races import read_races

ALL_SEEDS = 500
# Races of this length are derived in 0.2 s.
QUICK_LAPS = 450


def is_expected(seed: int) -> bool:
    """Return whether a race must be right: none of its keys is known to be wrong."""
    return race_keys(plan_of(seed)).isdisjoint(RACES)


def quick_seeds() -> list[int]:
    """Return a short race of every kind with official timing and one without, of a shape that changes by kind."""
    return [_short(place, 2 * (place % 4) + turn) for turn in range(2) for place in range(len(KINDS))]


def _short(place: int, turn: int) -> int:
    """Return a seed of this kind from this turn on: every other turn has official timing."""
    while True:
        seed = len(KINDS) * turn + place
        plan = plan_of(seed)
        if plan.cars * plan.duration_s / plan.lap_s <= QUICK_LAPS:
            return seed
        turn += 2


# Races that were judged wrong once: units exchanged by two cars a second apart, and late stamps of cars with few laps.
ONCE_WRONG = [466, 611, 631, 810, 1586]
QUICK = [seed for seed in quick_seeds() if is_expected(seed)]


@pytest.mark.parametrize("seed", [*QUICK, *ONCE_WRONG])
def test_laps_are_those_driven(seed: int) -> None:
    verdict = verdict_of(plan_of(seed))

    assert verdict.is_right, verdict


@pytest.mark.soak
@pytest.mark.parametrize("first", range(0, ALL_SEEDS, len(KINDS)))
def test_laps_are_those_driven_in_all_races(first: int) -> None:
    seeds = range(first, first + len(KINDS))

    wrong = {seed: verdict_of(plan_of(seed)) for seed in seeds if is_expected(seed)}

    assert {seed: verdict for seed, verdict in wrong.items() if not verdict.is_right} == {}


@pytest.mark.soak
@pytest.mark.parametrize("key", sorted(RACES))
def test_a_kind_known_to_be_wrong_is_still_wrong(key: str) -> None:
    seeds = [seed for seed in range(ALL_SEEDS) if key in race_keys(plan_of(seed))]

    assert any(not verdict_of(plan_of(seed)).is_right for seed in seeds), f"{key} is right: take it off the list"


@pytest.mark.soak
def test_a_field_of_64_cars_drives_24_hours() -> None:
    plan = RacePlan(7, Kind.CLEAN, Shape.ENDURANCE, Watch.INDEPENDENT, True, 64, 480.0, 86_400.0)

    verdict = verdict_of(plan)

    assert verdict.is_right, verdict


@pytest.mark.parametrize("kind", [Kind.CLEAN, Kind.BOUNCES, Kind.LOST_COUNTER])
@pytest.mark.parametrize("has_official", [True, False])
def test_files_on_disk_give_the_same_laps(tmp_path: Path, kind: Kind, *, has_official: bool) -> None:
    driven = drive(make_plan(3, kind, has_official=has_official, cars=4))
    sent = report(driven)
    write_race(tmp_path, driven, sent)

    race = read_races(tmp_path)[TRACK, SESSION]

    assert sorted(map(message, race.triggers)) == sorted(map(message, sent.triggers))
    verdict = judge(driven, sent, race.derived(is_blind=not has_official))
    assert verdict.is_right, verdict


def message(trigger: Trigger) -> tuple[object, ...]:
    """Return a trigger without its place in a file; a timer that says nothing is the same as 0."""
    return (
        trigger.vehicle_id,
        trigger.trigger_utc_ms,
        trigger.kind.value,
        -1 if trigger.unit_lap is None else trigger.unit_lap,
        trigger.received_utc_ms,
        trigger.unit_value_ms or 0,
    )
