"""Our errors in Dagster's words: a permanent one is not retried, and both tell the next step on the run's page.

Here belongs the translation only; the errors themselves are in ``errors.py``.
"""

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from apex_pipeline.errors import ApexError


@contextmanager
def dagster_failure() -> Generator[None]:
    """Turn an :class:`~apex_pipeline.errors.ApexError` into the failure Dagster understands.

    Raises:
        dagster.Failure: With problem and remedy; retries are allowed for transient errors only, and not for errors
            that nobody foresaw.
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
        # Nothing we foresaw: a defect. Trying it again twice would only cost time.
        problem = f"{type(error).__name__}: {error}"
        raise dg.Failure(
            description=problem,
            metadata={"problem": problem, "remedy": "This is a defect; please report it with the run's log."},
            allow_retries=False,
        ) from error


# Two more tries after 5 and 10 s outlast a throttled store or a restarted one; permanent errors are never retried.
RETRY_TRANSIENT = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
