"""Crossings of the finish line by lap distance alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.gr_cup.telemetry.lap_distance import (
    Distance,
    Numbers,
    distance_crossings,
    lap_length,
    sort_as_driven,
)
from apex_pipeline_tests.sources.gr_cup.telemetry.laps_driven import (
    LAP_MS,
    LENGTH_M,
    SAMPLE_MS,
    distance_of,
    driven_m,
    times,
)

THREE_LAPS_S = 350
CROSSINGS = [30_000.0, 130_000.0, 230_000.0, 330_000.0]
# The distance is sent in integer metres: at 30 m/s a metre takes 33 ms, and half of that over three samples.
EXACT_MS = 20.0


def race(**changes: float) -> Distance:
    time_ms = times(THREE_LAPS_S, **changes)
    return distance_of(time_ms, driven_m(time_ms))


def with_value(car: Distance, at_ms: float, metres: float) -> Distance:
    changed = car.metres.copy()
    changed[np.searchsorted(car.time_ms, at_ms)] = metres
    return Distance(car.time_ms, changed)


def without(car: Distance, start_ms: float, end_ms: float) -> Distance:
    kept = (car.time_ms < start_ms) | (car.time_ms > end_ms)
    return Distance(car.time_ms[kept], car.metres[kept])


def assert_crossings(found: Numbers, expected: list[float]) -> None:
    assert found.tolist() == pytest.approx(expected, abs=EXACT_MS)


def test_a_crossing_is_timed_between_the_samples() -> None:
    assert_crossings(distance_crossings(race(), LENGTH_M), CROSSINGS)


@given(first_ms=st.floats(20_000, 40_000), step_ms=st.floats(150, 400), pace=st.floats(0.7, 1.5))
def test_crossings_at_any_constant_speed_are_timed_to_the_metre(first_ms: float, step_ms: float, pace: float) -> None:
    time_ms = times(THREE_LAPS_S, step_ms)
    car = distance_of(time_ms, driven_m(time_ms, first_ms) * pace)
    expected = np.arange(first_ms, time_ms[-1] - 2_000, LAP_MS / pace)

    found = distance_crossings(car, LENGTH_M)

    assert found[: len(expected)].tolist() == pytest.approx(expected.tolist(), abs=1.5 / 0.03 / pace)
    assert len(found) - len(expected) in (0, 1)


def test_a_car_that_accelerates_over_the_line_is_timed_to_50_ms() -> None:
    time_ms = times(40)
    since_s = (time_ms - 20_050) / 1000
    car = distance_of(time_ms, 30 * since_s + 2.5 * np.clip(since_s, -4, 4) ** 2)

    assert distance_crossings(car, LENGTH_M).tolist() == pytest.approx([20_050], abs=50)


@pytest.mark.parametrize("at_ms", [60_000.0, 129_900.0, 130_200.0, 131_000.0, 229_000.0])
@pytest.mark.parametrize("outlier", [0.0, 5.0, 1_500.0, 2_990.0, 65_535.0])
def test_an_outlier_neither_adds_nor_hides_a_crossing(at_ms: float, outlier: float) -> None:
    found = distance_crossings(with_value(race(), at_ms, outlier), LENGTH_M)

    assert found.tolist() == pytest.approx(CROSSINGS, abs=SAMPLE_MS)


def test_a_distance_reset_in_mid_lap_is_not_a_crossing() -> None:
    time_ms = times(THREE_LAPS_S)
    driven = driven_m(time_ms)
    since_reset = np.where((time_ms > 180_000) & (time_ms < 230_000), driven - driven_m(np.array([180_000.0])), driven)

    # The next lap appears as half a lap only, so its end is not a crossing either.
    assert_crossings(distance_crossings(distance_of(time_ms, since_reset), LENGTH_M), [30_000, 130_000, 330_000])


def test_a_car_parked_in_the_pits_at_distance_zero_crosses_once() -> None:
    time_ms = times(200)
    driven = np.minimum(driven_m(time_ms), 0.0)

    found = distance_crossings(distance_of(time_ms, driven), LENGTH_M)

    assert found.tolist() == pytest.approx([30_000], abs=SAMPLE_MS)


def test_a_distance_of_two_laps_after_a_missed_line_ends_in_a_crossing() -> None:
    time_ms = times(THREE_LAPS_S)
    car = Distance(time_ms, np.floor(driven_m(time_ms) % (2 * LENGTH_M)))

    assert_crossings(distance_crossings(car, LENGTH_M), [30_000, 230_000])


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        ((125_000, 130_400), CROSSINGS),
        ((129_000, 136_000), [30_000, 230_000, 330_000]),
        ((90_000, 120_000), CROSSINGS),
        ((90_000, 200_000), [30_000, 230_000, 330_000]),
    ],
    ids=["ends just after the line", "ends far after the line", "within a lap", "more than a lap"],
)
def test_a_crossing_in_a_gap_is_found_only_if_the_next_sample_is_close(
    gap: tuple[float, float], expected: list[float]
) -> None:
    found = distance_crossings(without(race(), *gap), LENGTH_M)

    assert found.tolist() == pytest.approx(expected, abs=60)


def test_samples_too_far_apart_give_no_crossings() -> None:
    assert not len(distance_crossings(race(step_ms=5_000.0), LENGTH_M))


def test_a_second_crossing_less_than_a_lap_later_is_dropped() -> None:
    time_ms = times(THREE_LAPS_S)
    driven = driven_m(time_ms)
    # For five seconds the distance suggests a crossing at 142.5 s, twelve seconds after the true one.
    is_shifted = (time_ms > 140_000) & (time_ms < 145_000)
    shifted = np.where(is_shifted, driven - driven_m(np.array([142_500.0])), driven)

    assert_crossings(distance_crossings(distance_of(time_ms, shifted), LENGTH_M), CROSSINGS)


def test_samples_of_the_same_time_are_sorted_as_driven() -> None:
    car = sort_as_driven(np.array([2.0, 1, 1, 1, 1, 0]), np.array([30.0, 7, 2_993, 14, 2_999, 2_980]))

    assert car.time_ms.tolist() == [0, 1, 1, 1, 1, 2]
    assert car.metres.tolist() == [2_980, 2_993, 2_999, 7, 14, 30]


@given(st.integers(0, 1_000))
def test_the_order_of_the_samples_does_not_matter(seed: int) -> None:
    car = race()
    order = np.random.default_rng(seed).permutation(len(car.time_ms))

    shuffled = sort_as_driven(car.time_ms[order], car.metres[order])

    assert distance_crossings(shuffled, LENGTH_M).tolist() == distance_crossings(car, LENGTH_M).tolist()


class TestLapLength:
    def test_lap_length_is_where_the_distance_usually_falls_to_zero(self) -> None:
        assert lap_length([race(), race(step_ms=190.0)]) == pytest.approx(LENGTH_M, abs=10)

    def test_lap_length_ignores_outliers_and_resets_in_the_pits(self) -> None:
        pits = Distance(times(60), np.floor(times(60) / 40) % 900)
        outlier = with_value(race(), 70_000, 65_535.0)

        assert lap_length([outlier, pits, race()]) == pytest.approx(LENGTH_M, abs=10)

    @pytest.mark.parametrize("seconds", [0, 0.2, 60])
    def test_lap_length_is_unknown_if_the_distance_never_falls(self, seconds: float) -> None:
        time_ms = times(seconds)

        assert lap_length([distance_of(time_ms, driven_m(time_ms, 0.0))]) is None

    def test_lap_length_is_unknown_without_cars(self) -> None:
        assert lap_length([]) is None


def test_a_car_without_samples_has_no_crossings() -> None:
    empty = sort_as_driven(np.empty(0), np.empty(0))

    assert not len(distance_crossings(empty, LENGTH_M))
