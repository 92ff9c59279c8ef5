"""Rows are paired with columns as scipy's reference does it: with the highest sum of scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from apex_pipeline.sources.gr_cup.laps.assignment import Matrix, assign


def _sum(scores: Matrix, pairs: list[tuple[int, int]]) -> float:
    return float(sum(scores[pair] for pair in pairs))


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 12), st.integers(1, 12)),
        elements=st.floats(-1e3, 1e3, allow_nan=False) | st.integers(-3, 3).map(float),
    )
)
def test_the_sum_is_the_highest_of_all(scores: Matrix) -> None:
    pairs = assign(scores)
    rows, columns = linear_sum_assignment(scores, maximize=True)
    assert _sum(scores, pairs) == pytest.approx(float(scores[rows, columns].sum()), abs=1e-6)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 10_000))
def test_each_row_and_column_is_used_at_most_once_and_the_shorter_side_completely(
    rows: int, columns: int, seed: int
) -> None:
    pairs = assign(np.random.default_rng(seed).normal(size=(rows, columns)))
    assert len(pairs) == min(rows, columns)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert pairs == sorted(pairs)


@given(st.integers(2, 30), st.integers(2, 30), st.integers(0, 10_000))
def test_where_only_one_pairing_is_best_it_is_the_same_as_the_references(rows: int, columns: int, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(rows, columns))  # no two pairings have the same sum
    reference = zip(*linear_sum_assignment(scores, maximize=True), strict=True)
    assert assign(scores) == sorted((int(row), int(column)) for row, column in reference)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_without_rows_or_columns_there_are_no_pairs(shape: tuple[int, int]) -> None:
    assert assign(np.zeros(shape)) == []
