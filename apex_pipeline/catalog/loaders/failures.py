"""Defines why a loader returns ``None``, and the level at which each is logged.

A table maps this project's errors to the few reasons an application can act on; see storage/s3/errors.py for the errors
of a store.
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
    """Why a call returned nothing."""

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
    """Missing or forbidden: S3 replies 403 to both if the caller may not list the bucket."""


# The first matching type counts, so subclasses come before their base classes.
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
    """Why a call returned ``None`` or an empty list.

    Attributes:
        reason: The reason, for programs.
        error: The problem and its next step, for people.
    """

    reason: Reason
    error: ApexError

    @property
    def level(self) -> int:
        """Log level: a missing file is a warning, because applications try names; anything else is an error."""
        is_missing = self.reason in {Reason.NOT_FOUND, Reason.NOT_FOUND_OR_FORBIDDEN}
        return logging.WARNING if is_missing else logging.ERROR


def failure_of(error: ApexError) -> LoadFailure:
    """Return the failure for an error."""
    for type_, reason in _REASONS:
        if isinstance(error, type_):
            return LoadFailure(reason, error)
    return LoadFailure(Reason.FAILED, error)
