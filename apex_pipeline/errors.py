"""Defines the exceptions that cross module boundaries, grouped by whether a rerun can succeed.

    ApexError
    ├── PermanentError
    │   ├── ConfigurationError
    │   │   └── MissingExtraError
    │   ├── SourceError
    │   ├── MalformedFileError
    │   │   └── LimitExceededError
    │   ├── ReconciliationError
    │   ├── SchemaViolationError
    │   ├── UnreadableTableError
    │   └── StoreError
    │       ├── StoreAuthError
    │       ├── StorePermissionError
    │       ├── StoreConfigError
    │       ├── ObjectArchivedError
    │       ├── ObjectMissingError
    │       │   └── NotPublishedError
    │       ├── StoreCorruptionError
    │       └── StorageFullError
    └── TransientError
        ├── FileChangedError
        ├── LeaseLostError
        ├── StoreLockedError
        └── StoreUnavailableError
            └── StoreInterruptedError

A *permanent* error recurs on every rerun until the input, a setting or the code changes. A *transient* error may not
recur on the next attempt; Dagster retries only these.

Every message names the file, row, key or setting it concerns and gives the next step; messages never contain secrets.
Library errors are translated at the call site: see ``storage/s3/errors.py`` for boto3.
"""

from collections.abc import Iterable
from difflib import get_close_matches

# Shorter words are in too many names to mean one of them.
_WORD_LENGTH = 4


class ApexError(Exception):
    """Base of every error this project raises on purpose.

    Args:
        problem: What went wrong, naming the file, row, key or setting.
        hint: The reader's next step.
    """

    is_permanent = True

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.problem} {self.hint}"

    def __reduce__(self) -> tuple[type["ApexError"], tuple[str, str]]:
        """Pickle as (problem, hint), because worker processes send errors back to their parent."""
        return (type(self), (self.problem, self.hint))


class PermanentError(ApexError):
    """A rerun will fail the same way until something changes."""


class TransientError(ApexError):
    """A rerun may succeed without changes."""

    is_permanent = False


class ConfigurationError(PermanentError):
    """A setting is missing, misspelled or in conflict with another one (exit code 2)."""


class SettingFileError(ConfigurationError):
    """A file that a setting names cannot be read, or has an invalid entry (exit code 2)."""


class MissingExtraError(ConfigurationError):
    """A library is not installed; the next step names the extra that installs it (exit code 2)."""


class SourceError(PermanentError):
    """The source folder is missing, unreadable or contains no race files (exit code 2)."""


class FileChangedError(TransientError):
    """A listed file was deleted or changed while it was being read; the next sync sees its new state."""


class MalformedFileError(PermanentError):
    """A file cannot be parsed as its kind: it is empty, binary, or lacks a header or a column."""


class LimitExceededError(MalformedFileError):
    """A file exceeds a limit on its size, lines, cells or columns, and is not read; see ``sources/limits.py``."""


class ReconciliationError(PermanentError):
    """Input readings do not equal output cells plus rejects: a bug in the conversion. The table is not published."""


class SchemaViolationError(PermanentError):
    """A table does not match its declared schema; it is not published."""


class UnreadableTableError(PermanentError):
    """A library cannot read a table file that is as it was published: it is too old, or has a bug."""


class StoreError(PermanentError):
    """The object store refused an operation, and retrying will not help."""


class StoreAuthError(StoreError):
    """The store rejected the credentials as unknown or invalid."""


class StorePermissionError(StoreError):
    """The credentials are valid, but the operation is not allowed."""


class StoreConfigError(StoreError):
    """The bucket, region or endpoint is wrong."""


class NameClashError(StoreError):
    """A folder of a local lake has the name of a file, or the other way round."""


class ObjectArchivedError(StoreError):
    """The object is in an archive class of the bucket and must be restored before it can be read."""


class ObjectMissingError(StoreError):
    """The key is not in the store."""


class NotPublishedError(ObjectMissingError):
    """Nothing of this name or kind is published or known; no file that ought to be there is missing."""


class StoreCorruptionError(StoreError):
    """The bytes read do not match the recorded checksum."""


class StorageFullError(StoreError):
    """The disk or quota behind the store is full."""


class LeaseLostError(TransientError):
    """This process was stopped or cut off for so long that another one took over its work; nothing more is written."""


class StoreLockedError(TransientError):
    """Another process holds a lock or a lease of the lake, and did not release it while this one waited."""


class StoreUnavailableError(TransientError):
    """The store throttled the request, timed out or could not be reached; a retry may succeed."""


class StoreInterruptedError(StoreUnavailableError):
    """A transfer was cut off, stalled or damaged in transit; it can be retried at once."""


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """Return ``Did you mean barber? `` with the name most like a text, as the start of a hint; nothing without one.

    A name is also known by its longer words and by their initials, so ``barbr`` is like ``barber_motorsports_park``.
    """
    names: dict[str, str] = {}
    for name in sorted(known, reverse=True):
        words = name.lower().split("_")
        forms = [
            name.lower(),
            *(word for word in words if len(word) >= _WORD_LENGTH),
            "".join(word[:1] for word in words),
        ]
        names |= dict.fromkeys(forms, name)
    close = get_close_matches(text.lower(), names, 1)
    return f"Did you mean {names[close[0]]}? " if close else ""


__all__ = [
    "ApexError",
    "ConfigurationError",
    "FileChangedError",
    "LeaseLostError",
    "LimitExceededError",
    "MalformedFileError",
    "MissingExtraError",
    "NotPublishedError",
    "ObjectArchivedError",
    "ObjectMissingError",
    "PermanentError",
    "ReconciliationError",
    "SchemaViolationError",
    "SettingFileError",
    "SourceError",
    "StorageFullError",
    "StoreAuthError",
    "StoreConfigError",
    "StoreCorruptionError",
    "StoreError",
    "StoreInterruptedError",
    "StoreLockedError",
    "StorePermissionError",
    "StoreUnavailableError",
    "TransientError",
    "UnreadableTableError",
    "did_you_mean",
]
