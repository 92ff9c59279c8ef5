"""Repeating work that was attempted before: never for nothing, never for ever, and never silently not at all."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.ingest.attempts import FIRST_PAUSE, LONGEST_PAUSE, MOST_CRASHES, Attempt, Outcome, why_not_again

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_REPEATED = [Outcome.UNAVAILABLE, Outcome.CRASHED, Outcome.DONE]


def _attempts(*outcomes: Outcome, age: timedelta = timedelta(0)) -> list[Attempt]:
    return [Attempt(outcome, _NOW - age) for outcome in outcomes]


def test_what_was_never_attempted_may_be() -> None:
    assert why_not_again([], _NOW) is None


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.STOPPED])
@given(age=st.timedeltas(timedelta(0), timedelta(days=1000)))
def test_what_would_fail_again_or_was_stopped_by_a_person_never_runs_by_itself(
    outcome: Outcome, age: timedelta
) -> None:
    assert why_not_again(_attempts(outcome, Outcome.DONE, age=age), _NOW)


@pytest.mark.parametrize("outcome", _REPEATED)
def test_what_may_go_well_is_repeated_after_a_pause(outcome: Outcome) -> None:
    assert why_not_again(_attempts(outcome), _NOW) == "it is attempted again after 2026-01-01 00:05 UTC"
    assert why_not_again(_attempts(outcome, age=FIRST_PAUSE), _NOW) is None


@given(count=st.integers(1, 10_000))
def test_pauses_double_up_to_the_longest_however_often_it_was_attempted(count: int) -> None:
    attempts = _attempts(*[Outcome.UNAVAILABLE] * count, age=LONGEST_PAUSE)
    assert why_not_again(attempts, _NOW) is None
    too_early = _attempts(
        *[Outcome.UNAVAILABLE] * count, age=min(FIRST_PAUSE * 2 ** min(count - 1, 7), LONGEST_PAUSE) / 2
    )
    assert why_not_again(too_early, _NOW)


def test_a_run_that_dies_again_and_again_is_given_up_with_the_reason() -> None:
    month = timedelta(days=30)
    assert why_not_again(_attempts(*[Outcome.CRASHED] * (MOST_CRASHES - 1), age=month), _NOW) is None
    assert "more memory" in str(why_not_again(_attempts(*[Outcome.CRASHED] * MOST_CRASHES, age=month), _NOW))


def test_a_success_in_between_starts_the_count_of_crashes_anew() -> None:
    outcomes = [Outcome.CRASHED] * (MOST_CRASHES - 1) + [Outcome.DONE] + [Outcome.CRASHED] * 3
    assert why_not_again(_attempts(*outcomes, age=timedelta(days=30)), _NOW) is None
