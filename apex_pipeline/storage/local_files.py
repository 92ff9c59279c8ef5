"""File operations of the local store: what it opens, copies, lists and syncs to disk."""

import errno
import hashlib
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from apex_pipeline.storage.file_hashing import BLOCK_BYTES
from apex_pipeline.storage.reflink import share_blocks


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading without waiting for the other end of a pipe.

    Raises:
        FileNotFoundError: There is none, or it is a pipe, a socket or a folder.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in {errno.ENXIO, errno.ELOOP}:  # a socket, or a link that leads to itself
            raise FileNotFoundError(errno.ENOENT, "Not a regular file", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "Not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def copy_content(source: BinaryIO, new: BinaryIO, recorded: str | None) -> str:
    """Copy a file's content and return its digest; shared blocks are the same by definition, and are not read."""
    is_shared = share_blocks(source.fileno(), new.fileno())
    if is_shared and recorded is not None:
        return recorded
    digest = hashlib.sha256()
    while block := source.read(BLOCK_BYTES):
        digest.update(block)
        if not is_shared:
            new.write(block)
    return digest.hexdigest()


def regular_status(path: Path) -> os.stat_result | None:
    """Return the status of an object's file; ``None`` if there is none."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link that leads to itself
            return None
        raise
    return status if stat.S_ISREG(status.st_mode) else None


@contextmanager
def kept_open(file: BinaryIO) -> Generator[int]:
    """Provide a descriptor of an open file that stays valid if its reader closes the file."""
    descriptor = os.dup(file.fileno())
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield everything below ``folder`` except folders; links are not followed."""
    # By default, os.walk skips folders it cannot read, but an incomplete listing must not look complete.
    for parent, _, names in os.walk(folder, onerror=_raise_unless_gone):
        for name in names:
            yield Path(parent, name)


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def create_folder(folder: Path) -> None:
    """Create a folder and its parents so that they survive a power cut."""
    if folder.is_dir():
        return
    create_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_file(file: BinaryIO) -> None:
    """Write what was written to a file to disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Sync the folder's entries to disk; without this, a power cut could undo the rename of a file."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
