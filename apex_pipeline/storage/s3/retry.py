"""What is worth another try at once, and how long to wait before it.

A request that got no good answer is repeated by botocore (``client.py``: 8 attempts). It does not repeat a reply
that breaks off or stalls after a good start, nor one that shows the bytes were damaged on the way. Those are repeated
here. Errors that a repetition would meet again are not.

Why not tenacity: three pauses in one function are less code than its configuration.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from apex_pipeline.errors import ApexError, StoreCorruptionError, StoreInterruptedError

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")

# A line that is cut is back after seconds or after minutes; minutes are for the next run, which goes on from there.
PAUSES_S = (0.5, 1.0, 2.0)
# Bytes that differ from those recorded may have been damaged on the way, which the next reading shows.
_WORTH_ANOTHER_TRY = (StoreInterruptedError, StoreCorruptionError)


def retry(attempt: Callable[[], _Result], sleep: Callable[[float], None]) -> _Result:
    """Return what ``attempt`` returns; after an interruption or damaged bytes it is tried again, after each pause.

    Args:
        attempt: May be called several times; each call does the whole again.
        sleep: Waits for seconds.

    Raises:
        ApexError: What the last attempt raised, or the first that another try would not help.
    """
    for pause_s in PAUSES_S:
        try:
            return attempt()
        except _WORTH_ANOTHER_TRY as error:
            _log_retry(error, pause_s)
            sleep(pause_s)
    return attempt()


def _log_retry(error: ApexError, pause_s: float) -> None:
    _LOG.warning("%s Trying again in %s s.", error.problem, pause_s)
