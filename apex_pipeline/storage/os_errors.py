"""What the operating system says about a disk, as this project's errors: one table.

Here belongs the translation of ``OSError`` for the lake and for scratch space. Not here: errors of files somebody wants
to copy *into* the lake (``file_hashing.py``), and errors of S3 (``s3/errors.py``).
"""

import errno
from collections.abc import Generator
from contextlib import contextmanager

from apex_pipeline.errors import ApexError, StorageFullError, StoreError, StorePermissionError, StoreUnavailableError

_FULL = (StorageFullError, "Free some space (or raise the quota), then run it again; what was finished is kept.")
_REFUSED = (StorePermissionError, "Give this user the right to write there, or choose another folder.")
_CLASH = (StoreError, "A folder and a file cannot have the same name on a disk: rename one of them.")
_AWAY = (StoreUnavailableError, "Check that the disk or network share is there, then run it again.")

_KNOWN: dict[int, tuple[type[ApexError], str]] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _REFUSED,
    errno.EPERM: _REFUSED,
    errno.EROFS: _REFUSED,
    errno.EISDIR: _CLASH,
    errno.ENOTDIR: _CLASH,
    errno.EEXIST: _CLASH,
    errno.ENAMETOOLONG: (StoreError, "Most disks allow 255 bytes per name: shorten the name of the file or folder."),
    errno.ESTALE: _AWAY,
    errno.ETIMEDOUT: _AWAY,
    errno.EHOSTDOWN: _AWAY,
}
_UNKNOWN = (StoreError, "Check the disk with the tools of the operating system.")


def from_os_error(error: OSError, doing: str) -> ApexError:
    """Return the error to raise instead of ``error``.

    Args:
        error: What the operating system said.
        doing: What was tried, with the key or path: ``"Writing data/x.csv to /lake"``.
    """
    error_type, remedy = _KNOWN.get(error.errno or 0, _UNKNOWN)
    return error_type(f"{doing} failed: {error.strerror or error}.", remedy)


@contextmanager
def translating_os_errors(doing: str) -> Generator[None]:
    """Raise this project's error for every ``OSError`` in the block.

    Args:
        doing: What the block does, with the key or path.
    """
    try:
        yield
    except OSError as error:
        raise from_os_error(error, doing) from error
