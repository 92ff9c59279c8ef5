"""Translates the errors defined in ``errors.py`` into Dagster failures.

Dagster retries only transient errors; the run's page shows the problem and the next step.
"""

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from apex_pipeline.errors import ApexError


@contextmanager
def dagster_failure() -> Generator[None]:
    """Translate exceptions raised inside the block into a :class:`dagster.Failure`.

    Raises:
        dagster.Failure: With the problem and the next step. Retries are allowed only for transient errors, never for
            exceptions other than :class:`~apex_pipeline.errors.ApexError`.
    """
    try:
        yield
    except ApexError as error:
        raise dg.Failure(
            description=str(error),
            metadata={"problem": error.problem, "remedy": error.hint, "error": type(error).__name__},
            allow_retries=not error.is_permanent,
        ) from error
    except (dg.Failure, dg.DagsterError):
        raise
    except Exception as error:
        # An unexpected exception is a bug: retries would only waste time.
        problem = f"{type(error).__name__}: {error}"
        raise dg.Failure(
            description=problem,
            metadata={"problem": problem, "remedy": "This is a bug; please report it and attach the run's log."},
            allow_retries=False,
        ) from error


# Two retries, after 5 and 10 s, are enough to ride out throttling or a store restart.
RETRY_TRANSIENT = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
