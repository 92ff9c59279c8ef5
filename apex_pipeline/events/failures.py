"""What a failure means for a shipper: its class, whether all other files would fail too, and how long to wait.

Contains one table from this project's errors to classes; boto3's errors are translated by ``storage/s3/errors.py``.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from apex_pipeline.errors import (
    ApexError,
    ConfigurationError,
    FileChangedError,
    MalformedFileError,
    SourceError,
    StorageFullError,
    StoreAuthError,
    StoreConfigError,
    StorePermissionError,
    StoreUnavailableError,
)
from apex_pipeline.storage.keys import UnsafeKeyError


class ErrorClass(StrEnum):
    """What is at fault."""

    AUTH = "auth"
    PERMISSION = "permission"
    CONFIG = "config"
    THROTTLE = "throttle"
    NETWORK = "network"
    CLOCK = "clock"
    DATA = "data"
    UNKNOWN = "unknown"


# The first match wins, so subclasses come before their base classes.
_BY_TYPE: tuple[tuple[type[ApexError], ErrorClass], ...] = (
    (UnsafeKeyError, ErrorClass.DATA),
    (FileChangedError, ErrorClass.DATA),
    (SourceError, ErrorClass.DATA),
    (MalformedFileError, ErrorClass.DATA),
    (StoreAuthError, ErrorClass.AUTH),
    (StorePermissionError, ErrorClass.PERMISSION),
    (StoreConfigError, ErrorClass.CONFIG),
    (StorageFullError, ErrorClass.CONFIG),
    (ConfigurationError, ErrorClass.CONFIG),
    (StoreUnavailableError, ErrorClass.NETWORK),
)
_CLOCK_CODES = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_THROTTLE_CODES = frozenset(
    {
        *("SlowDown", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled"),
        *("RequestThrottledException", "RequestLimitExceeded", "BandwidthLimitExceeded", "TooManyRequestsException"),
        *("PriorRequestNotComplete", "ServiceUnavailable", "RequestTimeout", "RequestTimeoutException"),
        *("InternalError", "429", "500", "502", "503", "504"),
    }
)
# With these, every other file would fail the same way, and so would the next attempt.
FAIL_FAST = frozenset({ErrorClass.AUTH, ErrorClass.PERMISSION, ErrorClass.CONFIG, ErrorClass.CLOCK})
# These are not the file's own fault: later files wait, so that the order is kept.
BLOCKING = FAIL_FAST | {ErrorClass.THROTTLE, ErrorClass.NETWORK}
# A store that asks for a longer pause is asked again after this time, in seconds.
LONGEST_PAUSE_S = 60.0


def classify(error: BaseException) -> ErrorClass:
    """Return the class of an error: of this project, or of boto3, however it is wrapped."""
    # Imports boto3, which takes 0.25 s, and only a failure needs it: Dagster imports this module for every sync.
    from apex_pipeline.storage.s3.errors import ErrorContext, error_code, translate  # noqa: PLC0415  -- as above

    known = next((link for link in _chain(error) if isinstance(link, ApexError)), None)
    code = error_code(error)
    if code in _CLOCK_CODES:
        return ErrorClass.CLOCK
    if known is None:
        known = translate(error, ErrorContext("", "", lambda: ""), "Sending")
    found = next((kind for type_, kind in _BY_TYPE if isinstance(known, type_)), ErrorClass.UNKNOWN)
    return ErrorClass.THROTTLE if found is ErrorClass.NETWORK and code in _THROTTLE_CODES else found


def described(error: ApexError) -> str:
    """Return an error's problem; for one of the clock, with the difference to the store's clock."""
    skew_s = clock_skew_s(error) if classify(error) is ErrorClass.CLOCK else None
    if skew_s is None:
        return error.problem
    return f"{error.problem} This machine is {abs(skew_s):,.0f} s {'ahead of' if skew_s > 0 else 'behind'} the store."


def next_step(error: ApexError) -> str:
    """Return an error's next step, with the variable that names the bucket here."""
    return error.hint.replace("; ALLOW_CREATE_BUCKET=true lets a sync create it", "").replace(
        "S3_BUCKET_NAME", "BUCKET_NAME"
    )


def clock_skew_s(error: BaseException) -> float | None:
    """Return how many seconds this machine is ahead of the store, by the reply; ``None`` if it has no date."""
    date = _headers_of(error).get("date")
    try:
        return None if date is None else (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    except (TypeError, ValueError):  # not a date, or one without a time zone
        return None


def retry_after_s(error: BaseException) -> float:
    """Return the pause that the store asks for, at most 60 s; 0 if it asks for none."""
    value = _headers_of(error).get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_PAUSE_S) if seconds == seconds else 0.0  # noqa: PLR0124  -- "nan" is a float


def _headers_of(error: BaseException) -> Mapping[str, str]:
    for link in _chain(error):
        response: Any = getattr(link, "response", None)
        if isinstance(response, dict):
            return response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return {}


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
