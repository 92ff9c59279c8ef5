"""Tests the translation of errors into Dagster failures: retries, and the problem and next step on the run's page."""

import ast
from pathlib import Path

import dagster as dg
import pytest

import apex_pipeline
from apex_pipeline.errors import ConfigurationError, FileChangedError, StoreUnavailableError
from apex_pipeline.orchestration.failures import RETRY_TRANSIENT, dagster_failure, hint_in_dagster

_PACKAGE = Path(apex_pipeline.__file__).parent


@pytest.mark.parametrize(
    ("error", "is_retried"),
    [
        (ConfigurationError("No header.", "Export it again."), False),
        (StoreUnavailableError("Throttled.", "Try again."), True),
        (FileChangedError("Another file.", "Record it again."), False),
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


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        ("Run `apex sync`, which makes it again.", "Launch the job sync_session for the partition spa/R1."),
        ("Run the sync again.", "Launch the job sync_session for the partition spa/R1."),
        ("Run a sync to derive the session again.", "Launch the job sync_session for the partition spa/R1."),
        (
            "Check the spelling. Then run the sync again.",
            "Check the spelling. Launch the job sync_session for the partition spa/R1.",
        ),
        ("Free space on the disk.", "Free space on the disk."),
    ],
)
def test_a_command_in_a_hint_becomes_the_job_to_launch(hint: str, shown: str) -> None:
    assert hint_in_dagster(hint, "spa/R1") == shown


def test_a_step_without_a_partition_names_the_job_of_the_roll_ups() -> None:
    assert hint_in_dagster("Run `apex sync` again.", None) == "Launch the job refresh_catalog."


def test_no_sentence_of_a_hint_shows_a_command() -> None:
    """Every text of the packages below that mentions a command is taken as a hint; docstrings are longer."""
    texts = [
        node.value
        for package in ("ingest", "lake", "sources", "storage", "tables")
        for file in sorted((_PACKAGE / package).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value
    ]
    hints = [text for text in texts if "`apex " in text]
    assert len(hints) > 5
    assert [hint for hint in hints if "`apex" in hint_in_dagster(hint, "spa/R1")] == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), dg.DagsterExecutionInterruptedError()])
def test_an_interrupted_step_is_not_retried_and_no_other_step_starts(
    interruption: BaseException,
) -> None:
    started: list[str] = []

    @dg.asset(retry_policy=RETRY_TRANSIENT)
    def interrupted(context: dg.AssetExecutionContext) -> None:
        with dagster_failure(context):
            raise interruption

    @dg.asset(retry_policy=RETRY_TRANSIENT)
    def other(context: dg.AssetExecutionContext) -> None:
        with dagster_failure(context):
            started.append("other")

    result = dg.materialize([interrupted, other], raise_on_error=False)
    assert not result.success
    assert not any(event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY for event in result.all_events)
    assert started == []
    # A process may run others after it, as a notebook or a worker does.
    assert dg.materialize([other], raise_on_error=False).success
    assert started == ["other"]


def test_a_full_disk_is_a_problem_with_a_next_step() -> None:
    with (
        pytest.raises(dg.Failure, match=r"No space left on device\. Free some space .*APEX_STATE_DIR") as failed,
        dagster_failure(),
    ):
        raise OSError(28, "No space left on device")
    assert "bug" not in str(failed.value.metadata["remedy"].value)
    assert failed.value.allow_retries is False


def test_a_run_of_the_lake_alone_names_the_job_that_needs_no_source_folder() -> None:
    @dg.op
    def work(context: dg.OpExecutionContext) -> None:
        with dagster_failure(context):
            raise ConfigurationError("It was replaced.", "Run the sync again.")

    definition = dg.GraphDefinition("work", node_defs=[work])
    partitions = dg.StaticPartitionsDefinition(["spa/R1"])
    for job in ("derive_session", "sync_session"):
        result = definition.to_job(job, partitions_def=partitions).execute_in_process(
            partition_key="spa/R1", raise_on_error=False
        )
        (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
        assert failure.user_failure_data is not None
        assert failure.user_failure_data.metadata["remedy"].value == f"Launch the job {job} for the partition spa/R1."
