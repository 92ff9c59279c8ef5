"""A device that was moved to another car is undecided while it was there."""

import pytest

from apex_pipeline.sources.gr_cup.laps.unit_changes import periods_in_other_cars

_OWN_MS = [100_000 * number for number in range(1, 17)]
_NEVER = float("inf")


@pytest.mark.parametrize(
    ("own", "other", "periods"),
    [
        (range(16), range(0), []),
        (range(11), range(11, 16), [(1_100_000, _NEVER)]),
        (range(5, 16), range(5), [(-_NEVER, 600_000)]),
        ([*range(6), *range(10, 16)], range(6, 10), [(600_000, 1_100_000)]),
        # Two cars nose to tail in the middle: both made these crossings.
        (range(11), range(8, 16), [(800_000, _NEVER)]),
        # Chance: late crossings that agree with another car now and then.
        ([0, 1, 2, 4, 5, 7, 8, 9, 10, 11, 13, 14, 15], [3, 6, 12], []),
    ],
)
def test_a_run_of_another_cars_crossings_is_undecided(
    own: range, other: range, periods: list[tuple[float, float]]
) -> None:
    assert periods_in_other_cars(_OWN_MS, {0: set(own), 1: set(other)}, 0) == periods
