"""Defines the errors of races that callers tell apart: not there, not ready, too large, database or queue away."""

from apex_pipeline.errors import LimitExceededError, PermanentError, TransientError


class RaceNotFoundError(PermanentError):
    """No race, or no lap of it, has this id or number."""


class RaceNotReadyError(TransientError):
    """The race is still being processed, or failed, so it has no laps."""


class RaceFailedError(PermanentError):
    """The race was processed and no lap came out; its row says why."""


class RaceTooLargeError(LimitExceededError):
    """The upload is larger than ``MAX_RACE_MB``."""


class EmptyUploadError(PermanentError):
    """The upload has no bytes."""


class DatabaseUnavailableError(TransientError):
    """The races' database cannot be reached."""


class QueueUnavailableError(TransientError):
    """Redis cannot be reached."""


class AttemptLostError(TransientError):
    """Another attempt has taken the race over, or it was deleted; this one publishes nothing."""
