"""Retry interrupted and damaged transfers after short pauses.

botocore retries requests that fail (8 attempts, see client.py). It does not retry a reply that breaks off or stalls
after the headers have arrived, or one whose checksum shows damage in transit: those are retried here. Permanent errors
are not retried.

Why not tenacity: three pauses in one function are less code than its configuration.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from apex_pipeline.errors import ApexError, StoreCorruptionError, StoreInterruptedError

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")

# A lost connection comes back within seconds, or after minutes: those outages are left to the next run, which resumes.
PAUSES_S = (0.5, 1.0, 2.0)
# A wrong checksum may be damage in transit or at rest: reading again shows which.
_RETRYABLE = (StoreInterruptedError, StoreCorruptionError)


def retry(attempt: Callable[[], _Result], sleep: Callable[[float], None]) -> _Result:
    """Return the result of ``attempt``, retrying after interruptions and damaged bytes with growing pauses.

    Args:
        attempt: The operation; it starts over on every call.
        sleep: Waits for a number of seconds.

    Raises:
        ApexError: The error of the last attempt, or the first one that is not retryable.
    """
    for pause_s in PAUSES_S:
        try:
            return attempt()
        except _RETRYABLE as error:
            _log_retry(error, pause_s)
            sleep(pause_s)
    return attempt()


def _log_retry(error: ApexError, pause_s: float) -> None:
    _LOG.warning("%s Trying again in %s s.", error.problem, pause_s)
