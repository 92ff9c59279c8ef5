"""Translates the errors of ``errors.py`` into Dagster failures.

Dagster retries only transient errors; the page of the run shows the problem and the next step.
"""

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from apex_pipeline.errors import ApexError


@contextmanager
def dagster_failure() -> Generator[None]:
    """Translate exceptions raised inside the block into a :class:`dagster.Failure`.

    Raises:
        dagster.Failure: With the problem and the next step. It allows retries only for transient errors, and not for
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
        # An unexpected exception is a bug: retrying it twice would only cost time.
        problem = f"{type(error).__name__}: {error}"
        raise dg.Failure(
            description=problem,
            metadata={"problem": problem, "remedy": "This is a defect; please report it with the run's log."},
            allow_retries=False,
        ) from error


# Two retries after 5 and 10 s are enough to wait out a throttled or restarting store.
RETRY_TRANSIENT = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
