"""Decides which errors set a single file aside, so that the other files of its session are still used.

A file that is damaged, exceeds a limit or may not be read is left out as a whole and reported with its next step: with
some of its rows, no one would know how much is missing. Every other error stops the derivation: it concerns the store
or this machine, passes by itself, or means that the file is not the one recorded.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from apex_pipeline.errors import (
    ApexError,
    MalformedFileError,
    ObjectMissingError,
    StorageFullError,
    StoreAuthError,
    StoreConfigError,
    StoreCorruptionError,
    StoreError,
)

_OF_ONE_FILE = (MalformedFileError, StoreError)
# The store or this machine as a whole; and files that are not what the catalog says, which the next sync finds out.
_NOT_OF_ONE_FILE = (StoreAuthError, StoreConfigError, StorageFullError, ObjectMissingError, StoreCorruptionError)


@dataclass(frozen=True)
class UnreadableFile:
    """A file that was left out of a derivation; see ``rejects.py`` for its row in the rejects table.

    Attributes:
        path: Path relative to the source folder.
        kind: Kind of the file.
        error: Why it cannot be read.
    """

    path: str
    kind: str
    error: ApexError

    @property
    def problem(self) -> str:
        """What is wrong, naming the file."""
        return self.error.problem

    @property
    def hint(self) -> str:
        """The next step."""
        return self.error.hint

    @property
    def public_reason(self) -> str:
        """Problem and next step without the path, for published tables; continues a sentence that names the file.

        The message of a store is left out: it names the store's address and the source of the credentials.
        """
        if isinstance(self.error, StoreError):
            return f"cannot be read from the lake ({type(self.error).__name__}). {self.hint}"
        return f"{self.problem.removeprefix(self.path).strip()} {self.hint}"


def is_unreadable(error: ApexError) -> bool:
    """Return whether an error concerns only the file that was being read."""
    return isinstance(error, _OF_ONE_FILE) and not isinstance(error, _NOT_OF_ONE_FILE)


def warnings_of(files: Iterable[UnreadableFile]) -> tuple[str, ...]:
    """Return problem and next step of each file, for the log."""
    return tuple(f"{file.path} is left out: {file.error}" for file in files)
