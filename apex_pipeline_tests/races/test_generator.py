"""The generator is deterministic and covers what it promises."""

from itertools import pairwise

import pytest

from apex_pipeline_tests.races.drive import drive
from apex_pipeline_tests.races.judges import true_laps
from apex_pipeline_tests.races.official import official_rows
from apex_pipeline_tests.races.plan import KINDS, Kind, Shape, make_plan, plan_of
from apex_pipeline_tests.races.units import report

PLANS = [plan_of(seed) for seed in range(500)]


def test_every_kind_comes_in_every_shape_it_can_have_with_official_timing_and_without() -> None:
    found = {(plan.kind, plan.shape, plan.has_official) for plan in PLANS}

    for kind in KINDS:
        of_kind = [item for item in found if item[0] == kind]
        shapes = {shape for _, shape, _ in of_kind}
        sights = {has_official for _, _, has_official in of_kind}
        assert len(of_kind) == len(shapes) * len(sights)
        assert shapes in ({*Shape}, {Shape.RACE, Shape.ENDURANCE})


def test_fields_laps_and_lengths_span_what_is_raced() -> None:
    assert {1, 64} <= {plan.cars for plan in PLANS}
    assert min(plan.lap_s for plan in PLANS) < 16
    assert max(plan.lap_s for plan in PLANS) > 480
    assert max(plan.duration_s for plan in PLANS) == 86_400


@pytest.mark.parametrize("seed", range(0, 500, 71))
def test_a_seed_gives_the_same_race_again(seed: int) -> None:
    once, again = drive(plan_of(seed)), drive(plan_of(seed))

    assert once == again
    assert report(once) == report(again)
    assert official_rows(once) == official_rows(again)


@pytest.mark.parametrize("kind", KINDS)
def test_a_car_begins_a_lap_where_it_ended_the_last(kind: Kind) -> None:
    driven = drive(make_plan(5, kind, cars=6))

    for laps in true_laps(driven).values():
        assert all(before.end_ms == after.begin_ms for before, after in pairwise(laps))
        assert all(lap.end_ms > lap.begin_ms for lap in laps)


def test_official_lap_times_add_up() -> None:
    rows = official_rows(drive(make_plan(6, Kind.PIT_STOPS, cars=5)))

    for before, row in pairwise(rows):
        if row["car_number"] == before["car_number"]:
            assert row["elapsed_s"] - before["elapsed_s"] == pytest.approx(row["lap_time_s"], abs=0.0011)
        assert row["s1_s"] + row["s2_s"] + row["s3_s"] == pytest.approx(row["lap_time_s"], abs=1e-6)
