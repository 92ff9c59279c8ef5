"""Translates the errors defined in ``errors.py`` into Dagster failures.

Dagster retries only transient errors; the run's page shows the problem and the next step. Where an error's hint is a
command, the failure names the job to launch instead, because its reader is looking at Dagster's UI.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from apex_pipeline.errors import ApexError, FileChangedError, LeaseLostError
from apex_pipeline.library_errors import translate_library_error
from apex_pipeline.orchestration.job_names import CATALOG_JOB, DERIVE_JOB, SESSION_JOB
from apex_pipeline.process.interrupts import raise_if_interrupted

Context = dg.AssetExecutionContext | dg.OpExecutionContext

_SENTENCE_END = re.compile(r"(?<=[.;])\s+")
_COMMAND = re.compile(r"`apex |\b(?:[Rr]un|[Rr]erun) (?:the|a) (?:sync|command)\b")

# What the metadata of a step's failure names as its error if it was stopped from outside.
INTERRUPTED = "Interrupted"
# As its error if a blocking check failed.
CHECK_FAILED = "CheckFailed"
_INTERRUPTED = "The run was stopped before this step ended. The next run continues from here."
# Runs in this process of which a step was interrupted: their other steps do not start. Never more than a few.
_stopped_runs: set[str] = set()


@contextmanager
def dagster_failure(context: Context | None = None) -> Generator[None]:
    """Translate exceptions raised inside the block into a :class:`dagster.Failure`.

    Args:
        context: The step, whose partition the failure names.

    Raises:
        dagster.Failure: With the problem and the next step. Retries are allowed only for transient errors, never for
            exceptions other than :class:`~apex_pipeline.errors.ApexError` and never after an interruption.
    """
    try:
        _raise_if_stopped(context)
        yield
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as interruption:
        # Under a retry policy Dagster would start the step again after a pause, as if it had failed.
        if context is not None:
            _stopped_runs.add(context.run.run_id)
        raise _interrupted() from interruption
    except ApexError as error:
        remedy = hint_in_dagster(error.hint, _partition_of(context), _job_of(context))
        raise dg.Failure(
            description=f"{error.problem} {remedy}",
            metadata={"problem": error.problem, "remedy": remedy, "error": type(error).__name__},
            # A file that is not what was recorded or listed stays so, and a lease stays lost: it takes another run.
            allow_retries=not (error.is_permanent or isinstance(error, FileChangedError | LeaseLostError)),
        ) from error
    except (dg.Failure, dg.DagsterError):
        raise
    except Exception as error:
        raise _unexpected(error) from error


def _interrupted() -> dg.Failure:
    return dg.Failure(description=_INTERRUPTED, metadata={"error": INTERRUPTED}, allow_retries=False)


def _unexpected(error: Exception) -> dg.Failure:
    """Return the failure for an error that have no translation; retries would only waste time."""
    known = translate_library_error(error)
    problem = known.problem if known else f"{type(error).__name__}: {error}"
    remedy = known.hint if known else "This is a bug; please report it and attach the run's log."
    description = f"{problem} {remedy}" if known else problem
    return dg.Failure(description, metadata={"problem": problem, "remedy": remedy}, allow_retries=False)


def hint_in_dagster(hint: str, partition: str | None, job: str = SESSION_JOB) -> str:
    """Return a hint with the job to launch in place of a command.

    Args:
        hint: An error's hint.
        partition: Partition of the step, if it has one.
        job: The job for a partition.
    """
    job = f"{job} for the partition {partition}" if partition else CATALOG_JOB
    instead = f"Launch the job {job}."
    sentences = [instead if _COMMAND.search(sentence) else sentence for sentence in _SENTENCE_END.split(hint)]
    return " ".join(dict.fromkeys(sentences))


def _partition_of(context: Context | None) -> str | None:
    return context.partition_key if context is not None and context.has_partition_key else None


def _job_of(context: Context | None) -> str:
    """Return the job that does the work of a step again: what was derived from the lake alone may have no source."""
    return DERIVE_JOB if context is not None and context.run.job_name == DERIVE_JOB else SESSION_JOB


def _raise_if_stopped(context: Context | None) -> None:
    raise_if_interrupted()
    if _run_of(context) in _stopped_runs:
        raise _interrupted()


def _run_of(context: Context | None) -> str:
    """Return the id of a step's run; empty without a step, whose interruption concerns no run."""
    return context.run.run_id if context is not None else ""


# Two retries, after 5 and 10 s, are enough to ride out throttling or a store restart.
MOST_RETRIES = 2
RETRY_TRANSIENT = dg.RetryPolicy(
    max_retries=MOST_RETRIES, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
