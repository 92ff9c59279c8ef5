"""Retries: only after interruptions and damaged bytes."""

import pytest

from apex_pipeline.errors import (
    ApexError,
    StoreCorruptionError,
    StoreInterruptedError,
    StorePermissionError,
    StoreUnavailableError,
)
from apex_pipeline.storage.s3.retry import PAUSES_S, retry


class _Failing:
    """Fails a number of times, then succeeds."""

    def __init__(self, error: type[ApexError], times: int) -> None:
        self._error, self._times = error, times

    def __call__(self) -> str:
        self._times -= 1
        if self._times >= 0:
            raise self._error("It broke off.", "Run it again.")
        return "lap"


@pytest.mark.req("A-131", "A-074", "K-05")
@pytest.mark.parametrize("error", [StoreInterruptedError, StoreCorruptionError])
def test_interruptions_and_damage_are_retried_with_growing_pauses(error: type[ApexError]) -> None:
    waited: list[float] = []
    assert retry(_Failing(error, 3), waited.append) == "lap"
    assert tuple(waited) == PAUSES_S == tuple(sorted(PAUSES_S))


def test_the_last_error_is_raised_after_all_retries() -> None:
    waited: list[float] = []
    with pytest.raises(StoreInterruptedError):
        retry(_Failing(StoreInterruptedError, 4), waited.append)
    assert len(waited) == len(PAUSES_S)


@pytest.mark.parametrize("error", [StorePermissionError, StoreUnavailableError])
def test_other_errors_are_raised_at_once(error: type[ApexError]) -> None:
    with pytest.raises(error):
        retry(_Failing(error, 1), lambda _: pytest.fail("it must not pause"))
