"""What a loader answers ``None`` for: the typed reason, and how loudly it is logged.

Here belongs the table from this project's errors to the few words an application can act on. What went wrong in the
store is told by ``storage/s3/errors.py``.
"""

import logging
from dataclasses import dataclass
from enum import StrEnum

from apex_pipeline.errors import (
    ApexError,
    ConfigurationError,
    MalformedFileError,
    ObjectMissingError,
    StoreAuthError,
    StoreConfigError,
    StoreCorruptionError,
    StorePermissionError,
    TransientError,
)


class Reason(StrEnum):
    """Why there is no answer."""

    NOT_FOUND = "not_found"
    NOT_FOUND_OR_FORBIDDEN = "not_found_or_forbidden"
    CREDENTIALS = "credentials"
    PERMISSION = "permission"
    CONFIGURATION = "configuration"
    UNAVAILABLE = "unavailable"
    MALFORMED = "malformed"
    DAMAGED = "damaged"
    FAILED = "failed"


class MissingOrForbiddenError(ObjectMissingError):
    """S3 answers 403 for a missing object to those who may not list the bucket: nobody can tell the two apart."""


# The first type that fits counts, so special ones come before their bases.
_REASONS: tuple[tuple[type[ApexError], Reason], ...] = (
    (MissingOrForbiddenError, Reason.NOT_FOUND_OR_FORBIDDEN),
    (ObjectMissingError, Reason.NOT_FOUND),
    (StoreAuthError, Reason.CREDENTIALS),
    (StorePermissionError, Reason.PERMISSION),
    (StoreConfigError, Reason.CONFIGURATION),
    (ConfigurationError, Reason.CONFIGURATION),
    (StoreCorruptionError, Reason.DAMAGED),
    (MalformedFileError, Reason.MALFORMED),
    (TransientError, Reason.UNAVAILABLE),
)


@dataclass(frozen=True)
class LoadFailure:
    """Why a call gave ``None`` or an empty list.

    Attributes:
        reason: One of a few words, for programs.
        error: The whole story: problem and next step.
    """

    reason: Reason
    error: ApexError

    @property
    def level(self) -> int:
        """Level to log it at: what is not there is expected while names are tried, all else is an error."""
        is_missing = self.reason in {Reason.NOT_FOUND, Reason.NOT_FOUND_OR_FORBIDDEN}
        return logging.WARNING if is_missing else logging.ERROR


def failure_of(error: ApexError) -> LoadFailure:
    """Return the failure that an error stands for."""
    for type_, reason in _REASONS:
        if isinstance(error, type_):
            return LoadFailure(reason, error)
    return LoadFailure(Reason.FAILED, error)
