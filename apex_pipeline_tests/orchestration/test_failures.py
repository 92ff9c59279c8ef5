"""Tests the translation of errors into Dagster failures: retries, and the problem and next step on the run's page."""

import dagster as dg
import pytest

from apex_pipeline.errors import ConfigurationError, StoreUnavailableError
from apex_pipeline.orchestration.failures import dagster_failure


@pytest.mark.parametrize(
    ("error", "is_retried"),
    [
        (ConfigurationError("No header.", "Export it again."), False),
        (StoreUnavailableError("Throttled.", "Try again."), True),
        (ZeroDivisionError("division by zero"), False),
    ],
)
def test_only_a_transient_error_is_retried(error: Exception, is_retried: bool) -> None:  # noqa: FBT001  -- a test parameter
    with pytest.raises(dg.Failure) as failed, dagster_failure():
        raise error
    assert failed.value.allow_retries is is_retried
    assert str(failed.value.metadata["remedy"].value)


def test_a_failure_shows_problem_and_next_step() -> None:
    with pytest.raises(dg.Failure, match=r"No header\. Export it again\.") as failed, dagster_failure():
        raise ConfigurationError("No header.", "Export it again.")
    assert failed.value.metadata["problem"].value == "No header."
    assert failed.value.metadata["error"].value == "ConfigurationError"


def test_a_dagster_failure_is_raised_unchanged() -> None:
    with pytest.raises(dg.Failure, match="unchanged"), dagster_failure():
        raise dg.Failure("unchanged")
