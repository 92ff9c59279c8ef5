"""What earlier runs say about work: each run speaks for itself, although Dagster copies its tags to its retries."""

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from apex_pipeline.ingest.attempts import Outcome
from apex_pipeline.ingest.automation import code_version, version_at
from apex_pipeline.orchestration.attempts import VERSION_TAG, attempts_at, remember_inputs
from apex_pipeline.settings import load_settings


@dg.asset(name="recorded")
def _recorded(context: dg.AssetExecutionContext) -> None:
    remember_inputs(context, "files", load_settings())
    if "good" not in context.run.tags:
        raise ValueError


_assets = dg.Definitions(assets=[_recorded], jobs=[dg.define_asset_job("work", selection=[_recorded])])


@dg.job
def _job() -> None:
    """Do nothing."""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def _outcomes(instance: dg.DagsterInstance, version: str) -> list[Outcome]:
    return [attempt.outcome for attempt in attempts_at(instance, {version}).get(version, ())]


def _work(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    """Run the job, and return its run."""
    run_id = (
        _assets.resolve_job_def("work").execute_in_process(instance=instance, tags=tags, raise_on_error=False).run_id
    )
    found = instance.get_run_by_id(run_id)
    assert found is not None
    return found


def _killed(instance: dg.DagsterInstance, tags: dict[str, str]) -> None:
    """Add a run whose process died, with these tags: as the retry of another one, all that this one has."""
    run = instance.create_run_for_job(_job, tags=tags, status=DagsterRunStatus.STARTED)
    instance.report_run_failed(run, "killed")


def test_a_retry_does_not_inherit_how_its_parent_ended(instance: dg.DagsterInstance) -> None:
    parent = _work(instance, **{VERSION_TAG: "v1"})
    assert _outcomes(instance, "v1") == [Outcome.FAILED]
    inherited = instance.get_run_by_id(parent.run_id)
    assert inherited is not None
    _killed(instance, dict(inherited.tags))
    assert _outcomes(instance, "v1") == [Outcome.CRASHED, Outcome.FAILED]
    assert _outcomes(instance, "v1") == [Outcome.CRASHED, Outcome.FAILED]


def test_the_events_of_a_failed_run_are_read_once(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    _work(instance, **{VERSION_TAG: "v1"})
    assert _outcomes(instance, "v1") == [Outcome.FAILED]
    monkeypatch.setattr("apex_pipeline.orchestration.attempts.step_failures", None)
    assert _outcomes(instance, "v1") == [Outcome.FAILED]


def test_a_retry_that_recorded_no_files_is_no_attempt_at_those_of_its_parent(instance: dg.DagsterInstance) -> None:
    version = version_at("files", code_version(load_settings()))
    parent = _work(instance)
    assert _outcomes(instance, version) == [Outcome.FAILED]
    _killed(instance, dict(parent.tags))
    assert _outcomes(instance, version) == [Outcome.FAILED]
    _work(instance, good="yes")
    assert _outcomes(instance, version) == [Outcome.DONE, Outcome.FAILED]
