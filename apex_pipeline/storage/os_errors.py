"""Translates ``OSError`` into this project's errors, for the lake and for temporary files.

See ``file_hashing.py`` for errors in source files and ``s3/errors.py`` for S3 errors.
"""

import errno
from collections.abc import Generator
from contextlib import contextmanager

from apex_pipeline.errors import (
    ApexError,
    NameClashError,
    StorageFullError,
    StoreError,
    StorePermissionError,
    StoreUnavailableError,
)

_FULL = (StorageFullError, "Free some space or raise the quota, then run it again; finished files are kept.")
_REFUSED = (StorePermissionError, "Grant this user write permission, or choose another folder.")
_NAME_CLASH = (NameClashError, "A folder and a file cannot have the same name on a disk: rename one of them.")
_UNAVAILABLE = (StoreUnavailableError, "Check that the disk or network share is connected, then run it again.")

_KNOWN: dict[int, tuple[type[ApexError], str]] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _REFUSED,
    errno.EPERM: _REFUSED,
    errno.EROFS: _REFUSED,
    errno.EISDIR: _NAME_CLASH,
    errno.ENOTDIR: _NAME_CLASH,
    errno.EEXIST: _NAME_CLASH,
    errno.ENAMETOOLONG: (StoreError, "Most disks allow 255 bytes per name: shorten the name of the file or folder."),
    errno.ESTALE: _UNAVAILABLE,
    errno.ETIMEDOUT: _UNAVAILABLE,
    errno.EHOSTDOWN: _UNAVAILABLE,
}
_UNKNOWN = (StoreError, "Check the disk with your operating system's tools.")


def from_os_error(error: OSError, doing: str, setting: str | None = None) -> ApexError:
    """Return the error to raise instead of ``error``.

    Args:
        error: The error from the operating system.
        doing: The failed operation with its key or path, such as ``"Writing data/x.csv to /lake"``.
        setting: The variable that names the folder, if it is not the lake; added to the hint.
    """
    error_type, hint = _KNOWN.get(error.errno or 0, _UNKNOWN)
    where = "" if setting is None else f" {setting} can name a folder elsewhere."
    return error_type(f"{doing} failed: {error.strerror or error}.", hint + where)


@contextmanager
def translating_os_errors(doing: str, setting: str | None = None) -> Generator[None]:
    """Raise this project's error for every ``OSError`` in the block.

    Args:
        doing: The operation in the block, with its key or path.
        setting: As for :func:`from_os_error`.
    """
    try:
        yield
    except OSError as error:
        raise from_os_error(error, doing, setting) from error


@contextmanager
def translating_state_errors(doing: str) -> Generator[None]:
    """As :func:`translating_os_errors`, for files below the folder of local state.

    Args:
        doing: The operation in the block, with its path.
    """
    with translating_os_errors(doing, "APEX_STATE_DIR"):
        yield
