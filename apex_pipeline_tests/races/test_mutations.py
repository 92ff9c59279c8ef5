"""Damaged official timing never makes a valid lap that two witnesses contradict.

Every eighth mutation runs always, all of them by ``make races``. See ``not_yet_right.py`` for what is left out.
"""

from dataclasses import replace
from functools import cache

import pytest

from apex_pipeline_tests.races.drive import Driven, drive
from apex_pipeline_tests.races.mutations import Mutation, all_mutations
from apex_pipeline_tests.races.not_yet_right import MUTATIONS, is_left_out, mutation_key
from apex_pipeline_tests.races.official import official_rows
from apex_pipeline_tests.races.plan import Kind, Shape, make_plan
from apex_pipeline_tests.races.sections_file import cells_of
from apex_pipeline_tests.races.units import Report, report
from apex_pipeline_tests.races.verdicts import contradictions

# Seeds of small races in which every unit reports every crossing in time, and its timer agrees.
_SEEDS = (0, 1, 2)
_EVERY = 8


@cache
def race(seed: int) -> tuple[Driven, Report, list[Mutation]]:
    """Return a quarter of an hour with four cars, what the units sent, and every mutation of its official timing."""
    plan = replace(make_plan(seed, Kind.CLEAN, Shape.RACE, has_official=True, cars=4), duration_s=900.0)
    driven = drive(plan)
    rows = cells_of(official_rows(driven))
    best = min(range(len(rows)), key=lambda place: float(rows[place]["S1_SECONDS"]))
    # The row after a car's last one is another car's.
    last = max(place for place, row in enumerate(rows) if row["NUMBER"] == rows[0]["NUMBER"])
    return driven, report(driven), all_mutations(rows, sorted({0, best, len(rows) // 2, last}))


def wrong(seed: int, mutations: list[Mutation]) -> dict[str, list[str]]:
    """Return the contradicted laps by mutation."""
    driven, sent, _ = race(seed)
    found = {mutation.name: contradictions(driven, sent, mutation) for mutation in mutations}
    return {name: laps for name, laps in found.items() if laps}


def test_official_timing_as_printed_makes_no_contradicted_lap() -> None:
    assert wrong(0, [Mutation("none", list)]) == {}


@pytest.mark.parametrize("part", range(_EVERY // 2))
def test_no_mutation_makes_a_contradicted_lap(part: int) -> None:
    chosen = [mutation for mutation in race(0)[2][:: 2 * _EVERY] if not is_left_out(mutation.name)]

    assert wrong(0, chosen[part :: _EVERY // 2]) == {}


@pytest.mark.soak
@pytest.mark.parametrize("seed", _SEEDS)
def test_none_of_all_mutations_makes_a_contradicted_lap(seed: int) -> None:
    assert wrong(seed, [mutation for mutation in race(seed)[2] if not is_left_out(mutation.name)]) == {}


@pytest.mark.soak
@pytest.mark.parametrize("key", sorted(MUTATIONS))
def test_a_mutation_known_to_be_wrong_is_still_wrong(key: str) -> None:
    chosen = [mutation for mutation in race(0)[2] if mutation_key(mutation.name) == key]

    assert wrong(0, chosen), f"{key} is right: take it off the list"
