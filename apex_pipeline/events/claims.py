"""Moves files: out of the producer's way before they are sent, and to ``done/`` or back afterwards.

A file is claimed by renaming it into ``.claimed/<host>/``: of several shippers one succeeds, and a producer that makes
a file of the same name again makes another file. No move ever overwrites a file. What a killed process leaves claimed,
the next one finds there.
"""

import errno
import hashlib
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from apex_pipeline.errors import ApexError
from apex_pipeline.events.folder import DONE_FOLDER, EventFile, list_folder, look_at
from apex_pipeline.sources.events.rotation import date_of, folder_of, numbered
from apex_pipeline.storage.file_hashing import BLOCK_BYTES, HashingReader
from apex_pipeline.storage.os_errors import from_os_error, translating_os_errors

CLAIMS_FOLDER = ".claimed"
_ALIVE = ".alive"
# A host that has not touched its mark for this time is dead: another one takes its files over.
_DEAD_AFTER_NS = 120 * 1_000_000_000
# The mark is touched this often while a large file is sent.
_MARK_EVERY_S = 10.0
_CANNOT_MOVE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
# File systems without hard links: FAT, and some network shares.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class Claims:
    """The claims of this host in one folder.

    Args:
        folder: The folder.
        is_shared: Whether other machines ship it too. If not, all claims are leftovers, of any host name.
        host: Name of this host.
    """

    def __init__(self, folder: Path, *, is_shared: bool, host: str | None = None) -> None:
        self._folder = folder
        self._all = folder / CLAIMS_FOLDER
        self._host = host or socket.gethostname()
        self._own = self._all / self._host
        self._is_shared = is_shared
        self._marked_s = 0.0

    @property
    def exist(self) -> bool:
        """Whether any file may be claimed, by whatever host."""
        return self._all.is_dir()

    def leftovers(self) -> list[EventFile]:
        """Return claimed files that no process is working on, after taking over those of dead hosts."""
        if not self.exist:
            return []
        if self._is_shared:
            self.mark_alive()
        for other in self._others():
            for file in list_folder(other, is_claimed=True).files:
                with suppress(OSError):  # the host is alive after all, or a third one was faster
                    self._take(file)
            with suppress(OSError):
                (other / _ALIVE).unlink(missing_ok=True)
                other.rmdir()
        return list(list_folder(self._own, is_claimed=True).files) if self._own.is_dir() else []

    def mark_alive(self) -> None:
        """Show other hosts that this one is alive; does nothing if it was shown a moment ago."""
        if self._is_shared and time.monotonic() - self._marked_s >= _MARK_EVERY_S:
            with suppress(OSError):
                self._own.mkdir(parents=True, exist_ok=True)
                (self._own / _ALIVE).touch()
                self._marked_s = time.monotonic()

    def claim(self, file: EventFile) -> EventFile | None:
        """Rename a file out of the producer's way.

        Returns:
            The claimed file; ``None`` if it is gone, or an earlier file of this name is still claimed.

        Raises:
            StorePermissionError: The folder is read-only for this user.
            StoreError: The file system refuses it.
        """
        if file.is_claimed:
            return look_at(file)
        try:
            return self._take(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise from_os_error(error, f"Claiming {file.shown} in {self._folder}") from error

    def _take(self, file: EventFile) -> EventFile | None:
        self._own.mkdir(parents=True, exist_ok=True)
        target = self._own / file.name
        if os.path.lexists(target):
            return None
        file.path.rename(target)
        return look_at(EventFile(file.name, str(target), file.size, file.mtime_ns, file.ctime_ns, is_claimed=True))

    def put_back(self, file: EventFile) -> None:
        """Give a claimed file its place back, under another name if the producer has made a new one of its name."""
        with translating_os_errors(f"Putting {file.shown} back into {self._folder}"):
            for target in _candidates(self._folder / file.name):
                if _move_to(file.path, target, self._folder / self._unfinished_name(file.name)):
                    return

    def move_to_done(self, file: EventFile, sha256: str, delivered_s: float) -> Path:
        """Move a claimed file to ``done/YYYY/MM/DD/`` and return where it lies now.

        A file with the same name and the same content that lies there already is the same file.

        Args:
            file: The file.
            sha256: Digest of its bytes.
            delivered_s: When it was delivered, in seconds since 1970: the date of a file whose name has none.

        Raises:
            ApexError: The file system refuses it; the file stays claimed.
        """
        folder = self._folder / DONE_FOLDER / _date_folder(file.name, delivered_s)
        with translating_os_errors(f"Moving {file.shown} to {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            unfinished = folder / self._unfinished_name(file.name)
            # Of a process that was killed while it copied this file. Nobody else copies a file that this host claims.
            unfinished.unlink(missing_ok=True)
            for target in _candidates(folder / file.name):
                if _move_to(file.path, target, unfinished):
                    return target
                if _has_content(target, file.size, sha256):
                    file.path.unlink()
                    return target
        raise AssertionError("unreachable: there is no end to the names")

    def find_in_done(self, name: str, size: int, sha256: str, delivered_s: float) -> Path | None:
        """Return where a file lies that was moved to ``done/``; ``None`` if it was deleted, or taken from there."""
        for target in _candidates(self._folder / DONE_FOLDER / _date_folder(name, delivered_s) / name):
            if not os.path.lexists(target):
                return None
            if _has_content(target, size, sha256):
                return target
        raise AssertionError("unreachable: there is no end to the names")

    def clean_up(self) -> None:
        """Remove the folders of claims if nothing is claimed."""
        with suppress(OSError):
            (self._own / _ALIVE).unlink(missing_ok=True)
        # Each by itself: a process that was killed here has removed the first.
        for folder in (self._own, self._all):
            with suppress(OSError):
                folder.rmdir()

    def _unfinished_name(self, name: str) -> str:
        """Return the name of a file while it is copied to another file system: the same for every process of a host."""
        digest = hashlib.sha256(os.fsencode(f"{self._host}/{name}")).hexdigest()
        return f".{digest[:16]}.part"

    def _others(self) -> Iterator[Path]:
        """Yield the folders of claims of hosts that are dead."""
        now_ns = self._mark_of(self._own)
        with os.scandir(self._all) as entries:
            folders = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        for folder in sorted(folders):
            # Both times are of the file server's clock, so the clocks of the hosts do not matter.
            if folder != self._own and (not self._is_shared or now_ns - self._mark_of(folder) > _DEAD_AFTER_NS):
                yield folder

    @staticmethod
    def _mark_of(folder: Path) -> int:
        try:
            return (folder / _ALIVE).stat().st_mtime_ns
        except OSError:
            return 0


def is_read_only(error: ApexError) -> bool:
    """Return whether an error says that the folder cannot be changed by this user."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in _CANNOT_MOVE


def _date_folder(name: str, delivered_s: float) -> str:
    """Return the folder of a file's day: the same as that of its records."""
    return folder_of(date_of(name) or datetime.fromtimestamp(delivered_s, UTC).date())


def _candidates(target: Path) -> Iterator[Path]:
    yield target
    for number in count(1):
        yield target.with_name(numbered(target.name, number))


def _move_to(source: Path, target: Path, unfinished: Path) -> bool:
    """Move a file, and return whether that was possible: ``False`` if the target exists.

    Args:
        source: The file.
        target: Where it belongs.
        unfinished: Where it is while it is copied, if the target is on another file system.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno == errno.EXDEV:
            return _copy_to(source, target, unfinished)
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            return False
        source.rename(target)
        return True
    source.unlink()
    return True


def _copy_to(source: Path, target: Path, unfinished: Path) -> bool:
    """Copy a file to another file system, whole or not at all, and remove it here."""
    try:
        with source.open("rb") as reader, unfinished.open("xb") as writer:
            shutil.copyfileobj(reader, writer, BLOCK_BYTES)
            writer.flush()
            os.fsync(writer.fileno())
        shutil.copystat(source, unfinished)
        if not _move_to(unfinished, target, unfinished):
            return False
    finally:
        unfinished.unlink(missing_ok=True)
    source.unlink()
    return True


def _has_content(path: Path, size: int, sha256: str) -> bool:
    if not path.is_file() or path.stat().st_size != size:
        return False
    with HashingReader(path) as reader:
        while reader.read(BLOCK_BYTES):
            pass
        return reader.sha256 == sha256
