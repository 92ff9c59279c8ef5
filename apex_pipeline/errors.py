"""What can go wrong, typed by what a rerun can do about it.

Here belong the exceptions that cross a module border. Every one names the file, row, key or setting it is about and
gives the next step; none ever holds a secret. Not here: the translation of a library's own errors, which lives beside
the call (``storage/s3/errors.py`` for boto3), and messages for people, which the command line prints from these.

A *permanent* error comes back on every rerun until somebody changes the input, a setting or the code. A *transient*
one may be gone on the next try. Dagster retries the second kind only.
"""


class ApexError(Exception):
    """Base of every error this project raises on purpose.

    Args:
        problem: What is wrong, with the name of the file, row, key or setting.
        remedy: The next step for the person who reads it.
    """

    is_permanent = True

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.problem} {self.hint}"

    def __reduce__(self) -> tuple[type["ApexError"], tuple[str, str]]:
        """Pickle by the two sentences: worker processes send errors back to their parent."""
        return (type(self), (self.problem, self.hint))


class PermanentError(ApexError):
    """A rerun fails the same way until something is changed."""


class TransientError(ApexError):
    """A rerun may succeed with nothing changed."""

    is_permanent = False


class ConfigurationError(PermanentError):
    """A setting is missing, misspelled or contradicts another one (exit code 2)."""


class SourceError(PermanentError):
    """The source folder is missing, unreadable or holds no race files (exit code 2)."""


class FileChangedError(TransientError):
    """A file that was listed is gone or changed while it was read; the next sync sees the new state."""


class MalformedFileError(PermanentError):
    """A file cannot be read as what it should be: empty, binary, no header, a column missing."""


class ReconciliationError(PermanentError):
    """Readings in do not equal cells out plus counted rejects: a defect of ours, never published."""


class SchemaViolationError(PermanentError):
    """A table does not fit its declared schema; it is not published."""


class StoreError(PermanentError):
    """The object store refused an operation for good."""


class StoreAuthError(StoreError):
    """The store does not know or does not believe the credentials."""


class StorePermissionError(StoreError):
    """The credentials are good but the operation is not allowed."""


class StoreConfigError(StoreError):
    """Bucket, region or endpoint are wrong."""


class ObjectMissingError(StoreError):
    """The key is not in the store."""


class StoreCorruptionError(StoreError):
    """Bytes read differ from the bytes recorded."""


class StorageFullError(StoreError):
    """The disk or quota behind the store is full."""


class StoreUnavailableError(TransientError):
    """Throttled, timed out or unreachable: worth another try."""


class StoreInterruptedError(StoreUnavailableError):
    """Bytes broke off, stalled or were damaged on their way: worth another try at once."""


__all__ = [
    "ApexError",
    "ConfigurationError",
    "FileChangedError",
    "MalformedFileError",
    "ObjectMissingError",
    "PermanentError",
    "ReconciliationError",
    "SchemaViolationError",
    "SourceError",
    "StorageFullError",
    "StoreAuthError",
    "StoreConfigError",
    "StoreCorruptionError",
    "StoreError",
    "StoreInterruptedError",
    "StorePermissionError",
    "StoreUnavailableError",
    "TransientError",
]
